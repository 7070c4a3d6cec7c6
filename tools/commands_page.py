"""Writes docs/commands.md from the command line itself; a test compares the two.

python tools/commands_page.py
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from legan.cli import app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """# Commands

Made by `python tools/commands_page.py` from the help texts; `legan COMMAND --help` prints the same. Results go to stdout, with `--json`
for programs; progress and notes go to stderr. Exit codes: 0, 1 (some of several images failed), 2 (one line, `error: ...`, names
the remedy), 130 (Ctrl-C). A command that writes a folder continues where it stopped when it is run again.
"""


def commands_page(command_line: typer.Typer = app) -> str:
    """Return the page as Markdown.

    Raises:
        ValueError: a command, argument or option without a help text.
    """
    return "\n".join([HEAD, *(_section(name, command) for name, command in _commands(typer.main.get_command(command_line)))])


def _commands(group: Any, words: str = "legan") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        path = f"{words} {name}"
        yield from _commands(command, path) if hasattr(command, "commands") else [(path, command)]


def _section(name: str, command: Any) -> str:
    about = inspect.cleandoc(command.callback.__doc__ or "")
    if not about:
        raise ValueError(f"{name} has no docstring: it is the help")
    # Lines that call legan are indented in a docstring, and a block of code on the page.
    text, _, examples = about.replace("Examples:", "Example:").partition("Example:")
    calls = [line.strip() for line in examples.splitlines() if line.strip()]
    blocks = [f"## {name}", text.strip()]
    blocks += ["```bash\n" + "\n".join(calls) + "\n```"] if calls else []
    blocks.append("\n".join(_line(name, one) for one in command.params if one.name != "help"))
    return "\n\n".join(blocks) + "\n"


def _line(command: str, parameter: Any) -> str:
    """One argument or option: its names, default and help."""
    is_option = parameter.param_type_name == "option"
    names = ", ".join(f"`{name}`" for name in parameter.opts) if is_option else f"`{parameter.name.upper()}`"
    if not parameter.help:
        raise ValueError(f"{command} {names} has no help: give its declaration one")
    facts = ["required"] if is_option and parameter.required else []
    if (
        isinstance(parameter.default, (str, int, float, Path))
        and not isinstance(parameter.default, bool)
        and parameter.default != ""
    ):
        facts.append(f"default `{parameter.default}`")
    in_brackets = f" ({', '.join(facts)})" if facts else ""
    return f"- {names}{in_brackets}: " + parameter.help.replace("\\[", "[")  # Rich's markup is escaped in the help


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
    print(PAGE)
