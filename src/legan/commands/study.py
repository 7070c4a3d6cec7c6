"""`legan study`: rating and preference studies."""

from pathlib import Path
from typing import Annotated, Any

import typer

from legan.commands import options as command
from legan.commands.options import Json, options, show
from legan.core.errors import StudyError
from legan.requests import Address, StudyRequest

_EXTRA = ("fastapi", "sqlalchemy", "itsdangerous", "uvicorn", "starlette", "choix")


class Group(command.Group):
    """Names the extra to install if one of its libraries is missing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in _EXTRA:
                raise
            raise StudyError(f'studies need {error.name}: run `pip install "legan[study]"`') from None


app = typer.Typer(
    help="Studies in the browser: people rate images (for Q), or choose between models' edits.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="Folder of the study.", show_default=False)]


@app.command()
@options
def create(
    request: StudyRequest,
    as_json: Json = False,
) -> None:
    """Create a study from images. Names, formats and metadata, which could reveal the model, are not copied.

    Examples:

      legan study create --from data/synthesized --kind rating --out studies/natural

      legan study create --from compared/ --kind preference --out studies/models    # compared/stargan, compared/legan, compared/input
    """
    from legan.core.workers import counted_progress
    from legan_study.create import create_study

    with counted_progress("copying images") as progress:
        created = create_study(request, progress)
    show(created, as_json)


@app.command()
@options
def serve(
    folder: Folder,
    address: Address,
) -> None:
    """Serve a study until Ctrl-C. An answer that the page accepts is on the disk.

    Examples:

      legan study serve studies/natural

      legan study serve studies/natural --admin only --port 8001    # for yourself; the password is in secrets.toml
    """
    from legan_study.serve import serve_study

    serve_study(folder, address, say=lambda line: typer.echo(line, err=True))


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """Show the progress of a study: answers, agreement and noise ceiling so far, and each rater.

    Example:

      legan study status studies/natural
    """
    from legan_study import results
    from legan_study.study import open_study

    with open_study(folder) as study:
        figures = results.status(study)
    show(figures, as_json, results.in_words(figures))


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    as_json: Json = False,
) -> None:
    """Write the answers: ratings.csv for `legan ratings`, or preference.json for `legan evaluate`; and answers.csv with all details.

    Example:

      legan study export studies/natural -o exported/
    """
    from legan_study.export import export_study
    from legan_study.study import open_study

    with open_study(folder) as study:
        exported = export_study(study, out)
    files = {"files": [str(path) for path in exported.files], "n_answers": exported.n_answers}
    show(files, as_json, str(exported))


@app.command()
def check(
    folder: Folder,
    rater: Annotated[str | None, typer.Option(help="Show one rater: name, completion code, or the panel's name.")] = None,
    texts: Annotated[bool, typer.Option("--texts", help="List every text that raters read.")] = False,
    as_json: Json = False,
) -> None:
    """List what is missing before people may take part (exit code 1), or show one rater.

    Examples:

      legan study check studies/natural

      legan study check studies/natural --rater 4WVEJPK2    # whose completion code is this?
    """
    from legan_study.check import report

    lines, values = report(folder, rater, texts)
    show(values, as_json, "\n".join(lines))
    raise typer.Exit(1 if isinstance(values, list) and values else 0)


@app.command()
def invite(
    folder: Folder,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Number of links.")],
    url: Annotated[str, typer.Option(help="Address of the study for raters.")] = "http://127.0.0.1:8000",
    days: Annotated[float, typer.Option(min=0.01, help="Days for which the links are valid.")] = 30,
) -> None:
    """Print invitation links, one for each person; they are not stored, so keep them. Needs entry = "invitation" in study.toml.

    Example:

      legan study invite studies/natural -n 20 --url https://study.example.org > links.txt
    """
    from legan_study.raters import make_links

    typer.echo("\n".join(make_links(folder, n, url, days)))


@app.command()
def forget(
    folder: Folder,
    rater: Annotated[str, typer.Argument(help="Name (r-...), completion code, or the panel's name.", show_default=False)],
) -> None:
    """Erase a rater with all answers; other raters then get the items.

    Example:

      legan study forget studies/natural r-k3x9w2ab
    """
    from legan_study.raters import forget_rater

    name, n_answers = forget_rater(folder, rater)
    typer.echo(f"{name}: {n_answers} answers erased; erase them from earlier exports and backups too")
