"""What all commands share: options from the requests' declarations, results as text or JSON, help as written, notes on stderr."""

import inspect
import io
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ForwardRef, get_args, get_origin

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from legan.requests import Option

# Options that several commands have, beside those of `legan.requests`.
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
IMAGES = "Images; folders; .tar shards; .parquet manifests with a column `path`; addresses such as s3://bucket/faces/ of these."
Workers = Annotated[int, Option("Processes.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
Run = Annotated[Path, typer.Option(help="Folder of the run: logs, samples, checkpoints.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the settings, sizes and time; write nothing.")]
Devices = Annotated[int, typer.Option(help="Processes to train in, one to a GPU; not with torchrun, which starts them.")]


def options(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command's signature from declarations: a parameter that is a request becomes one option for each of its fields.

    Other parameters become options where they are annotated with an `Option`, and are left to typer where they are not.
    """
    requests: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(parameter.annotation):
            requests[name] = parameter.annotation
            parameters += [_parameter(one.name, one.type, one.default) for one in fields(parameter.annotation)]
        else:
            parameters.append(_parameter(name, parameter.annotation, parameter.default))

    @wraps(function)
    def command(**values: Any) -> None:
        for name, request in requests.items():
            given = {field.name: values.pop(field.name) for field in fields(request)}
            # Of an option that may be repeated typer makes a list: empty, or None, where it is not given.
            given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
            values[name] = request(**{key: value for key, value in given.items() if value not in (None, ())})
        function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """Return a parameter for typer; by keyword, since one without a default may follow one with a default."""
    default = inspect.Parameter.empty if default is MISSING else default
    option = next((one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, Option)), None)
    if option is not None:
        kind = get_args(annotation)[0]
        if get_origin(kind) is tuple:
            item = _in_words(get_args(kind)[0])
            kind, default = (list[item], default) if default is inspect.Parameter.empty else (list[item] | None, None)  # type: ignore[valid-type]
        long = [one for one in option.names if one.startswith("--")] or ["--" + name.replace("_", "-")]
        short = [one for one in option.names if not one.startswith("--")]
        declared = typer.Option(*long, *short, help=option.help, metavar=option.metavar, min=option.min)
        annotation = Annotated[_in_words(kind), declared]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _in_words(kind: Any) -> Any:
    """A type whose name is quoted, since its module is heavy, is given as text on the command line."""
    return str if isinstance(kind, (str, ForwardRef)) else kind


def show(result: Any, as_json: bool = False, text: str | None = None) -> None:
    """Print a result to stdout: as JSON of its `as_json()` or of plain values, or as `text`, `str(result)` if None."""
    typer.echo(json.dumps(result, default=lambda part: part.as_json()) if as_json else str(result) if text is None else text)


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
