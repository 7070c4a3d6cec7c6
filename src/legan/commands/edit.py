"""Commands on photos: `legan edit`, `app`, `demo`, `match`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import IMAGES, Json, Workers, options, renamed, show
from legan.requests import AppRequest, Device, EditorWeights, EditRequest, Engine, Identity, Option

app = typer.Typer()


@app.command(cls=renamed(weights="editor"))
@options
def edit(
    photos: Annotated[list[str], typer.Argument(help=IMAGES, show_default=False)],
    request: EditRequest,
    out: Annotated[Path | None, Option("File, or folder for several photos.", "-o")] = None,
    all_faces: Annotated[bool, Option("Edit every face: the same as --face all.", "--all")] = False,
    weights: EditorWeights = None,
    device: Device = "cpu",
    workers: Workers = 1,
    *,
    engine: Engine,
    as_json: Json = False,
) -> None:
    """Edit the faces in photos.

    An expression or a lighting that is not named stays as it is. Without -o, edits stand beside the photos (photo-edited.jpg).
    The output's ending chooses PNG, JPEG, WebP or TIFF. A photo of 16 bits a channel (PNG, TIFF, PPM) keeps them and its colour
    profile in PNG and TIFF. Run again on a folder, outputs that exist are kept.

    Examples:

      legan edit photo.jpg --expression smile --lighting -45 -o edited.jpg

      legan edit photos/ --lighting left --strength 0.8 -o edited/

      legan edit photo.jpg --lighting "-60 + 0.3*45,20" --ambient 0.2 --softness 30 --light-color 3200K

      legan edit photo.jpg --grid --lighting left --lighting right -o grid.png
    """
    from legan.editing.folders import edit_photos

    request = replace(request, face="all") if all_faces else request
    report = edit_photos(photos, out, request, weights, device, workers, engine.driver())
    for message in report.messages():
        typer.echo(message, err=True)
    if as_json or report.done:
        show(report, as_json, "\n".join(map(str, report.done)))
    raise typer.Exit(1 if report.failed else 0)


@app.command("app")
@options
def run_app(
    request: AppRequest,
    weights: EditorWeights = None,
    device: Device = "cpu",
) -> None:
    """Open the editor as a page in the browser, for your own photos, until Ctrl-C (extra `app`).

    Nothing is sent anywhere, and nothing is kept: photos stand in memory and in a temporary folder, which goes with the page.

    Examples:

      legan app

      legan app --host 0.0.0.0 --max-megapixels 12    # for others on the network too
    """
    from legan_app import check_extra

    check_extra()
    from legan_app.serve import serve_app

    serve_app(request, weights, device, say=lambda line: typer.echo(line, err=True))


@app.command(cls=renamed(weights="editor"))
@options
def demo(
    out: Annotated[Path, Option("Folder for the page.", "-o")] = Path("demo"),
    weights: EditorWeights = None,
    device: Device = "cpu",
) -> None:
    """Make a page that shows what the packaged editor does on packaged faces: needs no photo and no download.

    Example:

      legan demo
    """
    from legan.editing.demo import make_demo

    page = make_demo(out, weights, device)
    typer.echo(f"{page}\nopen it in a browser: {page.resolve().as_uri()}")


@app.command()
@options
def match(
    a: Annotated[Path, typer.Argument(help="Photo or face crop.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another.", show_default=False)],
    identity: Identity = "packaged",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say whether two photos show the same person or different people, or that it is unsure; with how often that is wrong.

    Example:

      legan match edited.jpg photo.jpg --identity dlib
    """
    from legan.matching import match_images

    show(match_images(a, b, identity, device=device), as_json)
