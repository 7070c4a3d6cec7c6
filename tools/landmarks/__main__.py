"""`python -m tools.landmarks`, from the root of the repository."""

from pathlib import Path
from typing import Annotated

import typer
from tools.landmarks.train import RECIPE

from legan.commands.options import Devices, DryRun, Run, Settings
from legan.commands.train import finish


def main(
    run: Run,
    data: Annotated[Path, typer.Option(help="A set rendered with --view wide.")],
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train the landmark network that faces are aligned with; its weights are landmarks.safetensors in the run folder.

    Example:

      python -m tools.landmarks --data data/wide --run runs/landmarks
    """
    finish(RECIPE.train("default", [data], run, settings or [], devices, dry_run))


if __name__ == "__main__":
    typer.run(main)
