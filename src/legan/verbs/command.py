"""The classes of all commands: help is shown as it is written, and former names of options go on working.

Rich would take what stands in square brackets, such as `[a-z]`, for its own markup and leave it out.
"""

from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup


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
