"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result for programs.")]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, cuda:1, mps.")]
Force = Annotated[
    bool, typer.Option("--force", help="Edit faces too that are turned too far, cut, covered or too small for it.")
]
Measure = Annotated[
    bool,
    typer.Option("--readings", help="Measure each edit: match with the photo, naturalness, what the critic sees; takes time."),
]
MinMatch = Annotated[
    float | None,
    typer.Option(help="The least match with the photo, -1 to 1: where an edit is below, a lower strength is tried."),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--editor",
        metavar="PATH|ID",
        help="A file that `legan export` wrote, `packaged`, `fitted` (the head model instead of a network: extra `render`), or a model "
        "on the Hugging Face hub, owner/name[@revision] (extra `hub`).",
    ),
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
Run = Annotated[Path, typer.Option(help="Folder of the run: logs, samples, checkpoints.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the settings, sizes and time; write nothing.")]
Devices = Annotated[int, typer.Option(help="Processes to train in, one to a GPU.")]

# What a light is, beside its directions.
Ambient = Annotated[
    float | None, typer.Option(help="Share of the room's light, 0 (the lamps alone, in the dark) to 1 (as it is without it).")
]
Softness = Annotated[float | None, typer.Option(metavar="DEGREES", help="Angular size of the lamps, 0 (as without it) to 120.")]
LightColor = Annotated[str | None, typer.Option(metavar="COLOR", help="Of the lamps: 3200K, #ffd0a0.")]
Environment = Annotated[
    Path | None,
    typer.Option(help="Light from an equirectangular map, its middle where the face looks: room.hdr, instead of --lighting."),
]
LightLike = Annotated[
    Path | None, typer.Option(help="The light of another photo, as the editor's critic sees it, instead of --lighting.")
]
