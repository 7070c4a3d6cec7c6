"""Verbs of rating and preference studies."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from legan.commands import options as command
from legan.commands.options import Json
from legan.core.errors import StudyError

_EXTRA = ("fastapi", "sqlalchemy", "jinja2", "itsdangerous", "alembic", "uvicorn", "starlette", "choix")


class Group(command.Group):
    """Names the extra where one of its libraries is missing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in _EXTRA:
                raise
            raise StudyError(f'studies need {error.name}: run `pip install "legan[study]"`') from None


app = typer.Typer(
    help="Let people judge images in the browser: for Q, or which model's edits they prefer.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="Folder of the study.", show_default=False)]


@app.command()
def create(
    source: Annotated[Path, typer.Option("--from", help="Data set folder, folder of images, or one folder a model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make for the study.")],
    kind: Annotated[
        str, typer.Option(help="rating: how natural, 0..10; preference: the best of two to four models.")
    ] = "rating",
    title: Annotated[str, typer.Option(help="Shown on every page.")] = "Face study",
    gold: Annotated[Path | None, typer.Option(help="Items with a known answer: image, low, high; or image, best.")] = None,
    practice: Annotated[Path | None, typer.Option(help="Folder of images to practise on.")] = None,
    n_practice: Annotated[int, typer.Option(help="Items to practise on; taken from the source without --practice.")] = 3,
    n_items: Annotated[int | None, typer.Option(help="Draw so many items from the source.")] = None,
    raters_per_item: Annotated[int, typer.Option(min=1, help="Answers that each item gets.")] = 3,
    database: Annotated[str | None, typer.Option(help="PostgreSQL URL, in place of a file in the folder.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a study from images. Names, formats and metadata, which could tell the models apart, are not copied.

    Examples:

      legan study create --from data/synthesized --kind rating --out studies/natural

      legan study create --from compared/ --kind preference --out studies/models    # compared/stargan, compared/legan, compared/input
    """
    from legan.core.workers import counted_progress
    from legan_study.create import StudyRequest, create_study

    request = StudyRequest(source, kind, out, title, gold, practice, n_practice, n_items, raters_per_item, database, seed)
    with counted_progress("copying images") as progress:
        made = create_study(request, progress)
    typer.echo(json.dumps(made.as_json()) if as_json else str(made))


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    admin: Annotated[str, typer.Option(help="Admin pages: off, on (beside the raters'), only (nothing else).")] = "off",
    public_url: Annotated[str, typer.Option(help="Where raters reach it through a proxy: https://...")] = "",
    proxy: Annotated[str, typer.Option(help="The proxy's address, such as 127.0.0.1: its X-Forwarded-For is believed.")] = "",
) -> None:
    """Serve a study until Ctrl-C. An answer that the page calls saved is on the disk.

    Examples:

      legan study serve studies/natural

      legan study serve studies/natural --admin only --port 8001    # beside it, for yourself; the password is in secrets.toml
    """
    from legan_study.serve import Address, serve_study

    serve_study(folder, Address(host, port, admin, public_url, proxy), say=lambda line: typer.echo(line, err=True))


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """Tell how far a study is: coverage, agreement and noise ceiling so far, and each rater.

    Example:

      legan study status studies/natural
    """
    from legan_study import results as verbs
    from legan_study.study import open_study

    with open_study(folder) as study:
        found = verbs.status(study)
    typer.echo(json.dumps(found) if as_json else verbs.in_words(found))


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
        done = export_study(study, out)
    typer.echo(json.dumps({"files": [str(path) for path in done.files], "n_answers": done.n_answers}) if as_json else str(done))


@app.command()
def check(
    folder: Folder,
    rater: Annotated[str | None, typer.Option(help="Tell about a rater: name, completion code, or the panel's name.")] = None,
    texts: Annotated[bool, typer.Option("--texts", help="List every text that raters read.")] = False,
    as_json: Json = False,
) -> None:
    """Say what is missing before people may take part (exit code 1), or what is known of one rater.

    Examples:

      legan study check studies/natural

      legan study check studies/natural --rater 4WVEJPK2    # is this completion code ours?
    """
    from legan_study import check as verbs

    lines, found = verbs.report(folder, rater, texts)
    typer.echo(json.dumps(found) if as_json else "\n".join(lines))
    raise typer.Exit(1 if isinstance(found, list) and found else 0)


@app.command()
def invite(
    folder: Folder,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many.")],
    url: Annotated[str, typer.Option(help="Where raters reach the study.")] = "http://127.0.0.1:8000",
    days: Annotated[float, typer.Option(min=0.01, help="That the links can be used for.")] = 30,
) -> None:
    """Print invitation links, one a person; they are not stored, so keep them. Needs entry = "invitation" in study.toml.

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
    """Erase a rater and every answer of theirs; other raters then get the items.

    Example:

      legan study forget studies/natural r-k3x9w2ab
    """
    from legan_study.raters import forget_rater

    name, n_answers = forget_rater(folder, rater)
    typer.echo(f"{name} is forgotten: {n_answers} answers erased; erase them from earlier exports and backups too")
