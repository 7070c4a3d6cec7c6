"""`legan study`: rating and preference studies."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from legan.commands import options as command
from legan.commands.options import Json
from legan.core.errors import StudyError

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
def create(
    source: Annotated[Path, typer.Option("--from", help="Data set folder, folder of images, or a folder for each model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the study.")],
    kind: Annotated[
        str, typer.Option(help="rating: how natural, 0..10; preference: the best of two to four models.")
    ] = "rating",
    title: Annotated[str, typer.Option(help="Shown on every page.")] = "Face study",
    gold: Annotated[Path | None, typer.Option(help="Items with a known answer: image, low, high; or image, best.")] = None,
    practice: Annotated[Path | None, typer.Option(help="Folder of practice images.")] = None,
    n_practice: Annotated[int, typer.Option(help="Practice items; drawn from the source without --practice.")] = 3,
    n_items: Annotated[int | None, typer.Option(help="Number of items to draw from the source; default: all.")] = None,
    raters_per_item: Annotated[int, typer.Option(min=1, help="Answers that each item gets.")] = 3,
    database: Annotated[str | None, typer.Option(help="PostgreSQL URL, instead of a file in the folder.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Create a study from images. Names, formats and metadata, which could reveal the model, are not copied.

    Examples:

      legan study create --from data/synthesized --kind rating --out studies/natural

      legan study create --from compared/ --kind preference --out studies/models    # compared/stargan, compared/legan, compared/input
    """
    from legan.core.workers import counted_progress
    from legan_study.create import StudyRequest, create_study

    request = StudyRequest(source, kind, out, title, gold, practice, n_practice, n_items, raters_per_item, database, seed)
    with counted_progress("copying images") as progress:
        created = create_study(request, progress)
    typer.echo(json.dumps(created.as_json()) if as_json else str(created))


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    admin: Annotated[str, typer.Option(help="Admin pages: off, on (in addition to the raters'), only.")] = "off",
    public_url: Annotated[str, typer.Option(help="Address for raters, through a proxy: https://...")] = "",
    proxy: Annotated[str, typer.Option(help="The proxy's address, such as 127.0.0.1: its X-Forwarded-For is trusted.")] = "",
) -> None:
    """Serve a study until Ctrl-C. An answer that the page accepts is on the disk.

    Examples:

      legan study serve studies/natural

      legan study serve studies/natural --admin only --port 8001    # for yourself; the password is in secrets.toml
    """
    from legan_study.serve import Address, serve_study

    serve_study(folder, Address(host, port, admin, public_url, proxy), say=lambda line: typer.echo(line, err=True))


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
    typer.echo(json.dumps(figures) if as_json else results.in_words(figures))


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
    typer.echo(json.dumps(files) if as_json else str(exported))


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
    typer.echo(json.dumps(values) if as_json else "\n".join(lines))
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
