"""The command `legan`: its groups, and errors in one line.

Results go to stdout, progress and notes to stderr. What a user can put right is one line, `error: ...`, and exit code 2; a folder
of which some photos failed gives exit code 1; Ctrl-C gives 130. Heavy imports stand inside the commands, so that `--help` is quick.
"""

import errno
from typing import Annotated, Any

import typer

from legan import __version__
from legan.commands import data, edit, evaluate, models, quality, study, train
from legan.commands.options import Group, allow_all_names, set_classes, show_notes
from legan.core.errors import LeganError


class _Group(Group):
    """Turns expected errors into one line and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LeganError as error:
            message = str(error)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            message = "no space left on the disk: free some space and run the same command again"
        typer.echo(f"error: {message}", err=True)
        raise typer.Exit(2)


app = typer.Typer(
    cls=_Group,
    help="Edit the lighting and the expression of faces in photos, and train the models that do it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (edit, models, data, train, quality, evaluate):
    app.add_typer(commands.app)
app.add_typer(study.app, name="study", cls=study.Group)


def main() -> None:
    """Run the command."""
    allow_all_names()
    app(prog_name="legan")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"legan {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Edit the lighting and the expression of faces in photos, and train the models that do it."""
    show_notes()


set_classes(app)

if __name__ == "__main__":
    main()
