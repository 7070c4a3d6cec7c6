"""Options and behaviour that commands share: one declaration each, errors in one line, notes on stderr."""

import io
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

# Options that several verbs share.


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


# The classes of all commands: help is shown as it is written, and former names of options go on working.
#
# Rich would take what stands in square brackets, such as `[a-z]`, for its own markup and leave it out.


class Group(TyperGroup):
    """A group of commands whose help is shown as it is written."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        _escape_help(self)


class Command(TyperCommand):
    """A command whose help is shown as it is written. `former` maps a former name of an option to today's; no help shows it."""

    former: dict[str, str] = {}  # noqa: RUF012  # a class's constant

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        _escape_help(self)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line, former names as today's."""
        return super().parse_args(ctx, [self._renamed(word) for word in args])

    def _renamed(self, word: str) -> str:
        name, equals, value = word.partition("=")
        return f"{self.former.get(name, name)}{equals}{value}"


def renamed(**names: str) -> type[Command]:
    """Return a class of commands that takes options under former names too: `renamed(embedding="identity")`."""
    return type("Command", (Command,), {"former": {f"--{old}": f"--{new}" for old, new in names.items()}})


def set_classes(app: typer.Typer) -> None:
    """Give all commands of an app, and of its groups, these classes, where they have none of their own."""
    for command in app.registered_commands:
        if not issubclass(command.cls or TyperCommand, Command):
            command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            set_classes(group.typer_instance)


def _escape_help(command: Any) -> None:
    for thing in (command, *command.params):
        if getattr(thing, "help", None):
            thing.help = escape(thing.help)


# What the command line says beside results: notes of the package's log on stderr, names of any encoding on stdout.


class _Notes(logging.Handler):
    """Prints what readers of folders leave out, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line to stderr."""
        typer.echo(f"note: {record.getMessage()}", err=True)


def show_notes() -> None:
    """Print the notes that reading logs; once for all commands of a process."""
    log = logging.getLogger("legan.core")
    if not any(isinstance(handler, _Notes) for handler in log.handlers):
        log.addHandler(_Notes())


def allow_all_names() -> None:
    """Print file names that are not UTF-8 as the bytes they are, as `ls` does into a pipe, where Python would raise an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
