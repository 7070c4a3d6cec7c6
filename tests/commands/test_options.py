"""Options from requests: the command line of a dataclass, and the request that a command gets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from legan.commands.options import options
from legan.requests import Option


@dataclass(frozen=True)
class BoxRequest:
    """A request with an option of each kind."""

    folder: Annotated[Path, Option("Folder.", "-f")]
    labels: Annotated[tuple[str, ...], Option("Label.", "--label", metavar="NAME")]
    rates: Annotated[tuple[float, ...], Option("Rate.", "--rate")] = (0.5,)
    n_boxes: Annotated[int, Option("Boxes.", min=1)] = 3
    open_: Annotated[bool, Option("Open them.", "--open")] = False
    words: Annotated["str | Path", Option("A type in quotes is text.")] = "none"
    reference: Annotated[Path | None, Option("Reference.")] = None


@pytest.fixture
def received() -> list[tuple[BoxRequest, int]]:
    return []


@pytest.fixture
def command_line(received: list[tuple[BoxRequest, int]]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @options
    def boxes(request: BoxRequest, seed: Annotated[int, Option("Seed.")] = 7) -> None:
        """Make boxes."""
        received.append((request, seed))

    return app


def test_a_request_is_made_of_its_options(command_line: typer.Typer, received: list[tuple[BoxRequest, int]]) -> None:
    least = ["--folder", "a", "--label", "x"]
    assert CliRunner().invoke(command_line, least).exit_code == 0
    more = ["-f", "a", "--label", "x", "--label", "y", "--rate", "1", "--rate", "2", "--n-boxes", "5", "--open", "--words", "w"]
    assert CliRunner().invoke(command_line, [*more, "--reference", "b", "--seed", "0"]).exit_code == 0
    assert received == [
        (BoxRequest(Path("a"), ("x",)), 7),
        (BoxRequest(Path("a"), ("x", "y"), (1.0, 2.0), 5, True, "w", Path("b")), 0),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "x"], "--folder"),
        (["-f", "a"], "--label"),
        (["-f", "a", "--label", "x", "--n-boxes", "0"], "--n-boxes"),
        (["-f", "a", "--label", "x", "--no-open"], "--no-open"),
    ],
)
def test_what_a_field_does_not_allow(command_line: typer.Typer, words: list[str], message: str) -> None:
    result = CliRunner().invoke(command_line, words)
    assert result.exit_code == 2 and message in result.stderr


def test_the_help_is_that_of_the_field(command_line: typer.Typer) -> None:
    (command,) = (typer.main.get_command(command_line),)
    facts = {option.opts[0]: (option.help, option.default) for option in command.params}  # type: ignore[attr-defined]
    assert facts["--n-boxes"] == ("Boxes.", 3)
    assert facts["--rate"][0] == "Rate." and list(facts)[:3] == ["--folder", "--label", "--rate"]
