"""Verbs that train the editors that LEGAN is compared with."""

from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Devices, DryRun, Run, Settings

train_app = typer.Typer()

Data = Annotated[list[Path] | None, typer.Option(help="Data set folder with manifest.parquet; may be repeated.")]
Preset = Annotated[str, typer.Option(help="lite: for a laptop; paper: as published.")]


@train_app.command("stargan")
def train_stargan(
    run: Run,
    data: Data = None,
    preset: Preset = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train StarGAN on expression and lighting together; with --set loss.quality=0.1, beside the quality model.

    Example:

      legan train stargan --data data/rendered --run runs/stargan --set loss.quality=0.1
    """
    from legan.train import stargan as training

    outcome = training.train_stargan(preset, data or [], run, settings or [], devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("starganv2")
def train_starganv2(
    run: Run,
    data: Data = None,
    preset: Preset = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train StarGAN v2; a domain is an expression under a lighting, or with --set network.domains=expression that alone.

    Example:

      legan train starganv2 --data data/rendered --run runs/starganv2
    """
    from legan.train import starganv2 as training

    outcome = training.train_starganv2(preset, data or [], run, settings or [], devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)
