"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result for programs.")]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, cuda:1, mps.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
Run = Annotated[Path, typer.Option(help="Folder of the run: logs, samples, checkpoints.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the settings, sizes and time; write nothing.")]
Devices = Annotated[int, typer.Option(help="Processes to train in, one to a GPU.")]
