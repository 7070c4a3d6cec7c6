"""Commands on photos: edit, demo, match."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.commands import options
from legan.commands.options import Device, Force, Json, Measure, MinMatch, Weights, renamed

app = typer.Typer()


@app.command(cls=renamed(weights="editor"))
def edit(
    photos: Annotated[list[Path], typer.Argument(help="Photos, and folders of photos.", show_default=False)],
    expression: Annotated[
        str | None, typer.Option("--expression", "-e", help="smile (or happy), smile:0.7, smile:0.5,squint:0.5")
    ] = None,
    lighting: Annotated[
        list[str] | None,
        typer.Option(
            "--lighting",
            "-l",
            help="left, right, front, top, room; -45, +15, -45,20 (degrees: azimuth,elevation); a class 00..19; several lamps with "
            "factors: '-45 + 0.5*60,20'",
        ),
    ] = None,
    ambient: options.Ambient = None,
    softness: options.Softness = None,
    light_color: options.LightColor = None,
    environment: options.Environment = None,
    light_like: options.LightLike = None,
    strength: Annotated[
        float, typer.Option("--strength", "-s", help="0: the photo as it is; 1: the whole edit; up to 1.5")
    ] = 1.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File, or folder for several photos.")] = None,
    face: Annotated[str, typer.Option(help="largest, 1, 2, ... (1 is the largest), all, or aligned")] = "largest",
    all_faces: Annotated[bool, typer.Option("--all", help="Edit every face: the same as --face all.")] = False,
    masks: Annotated[bool, typer.Option("--masks", help="Also write the two masks as images.")] = False,
    grid: Annotated[bool, typer.Option("--grid", help="One image: all expressions under the lights named.")] = False,
    no_mark: Annotated[bool, typer.Option("--no-mark", help="Do not say in the file that an algorithm edited it.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    force: Force = False,
    readings: Measure = False,
    min_match: MinMatch = None,
    weights: Weights = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Edit the faces in photos.

    An expression or a lighting that is not named stays as it is. Without -o, edits stand beside the photos (photo-edited.jpg).
    The output's ending chooses PNG, JPEG or WebP, with 8 bits a channel. Run again on a folder, outputs that exist are kept.

    Examples:

      legan edit photo.jpg --expression smile --lighting -45 -o edited.jpg

      legan edit photos/ --lighting left --strength 0.8 -o edited/

      legan edit photo.jpg --lighting "-60 + 0.3*45,20" --ambient 0.2 --softness 30 --light-color 3200K

      legan edit photo.jpg --grid --lighting left --lighting right -o grid.png
    """
    from legan.editing.folders import Choice, edit_photos
    from legan.editing.lights import LightWords

    light = LightWords(tuple(lighting or ()), ambient, softness, light_color, environment, light_like)
    face = "all" if all_faces else face
    choice = Choice(*(expression, light.named, strength, face, masks, grid, not no_mark, overwrite, force, readings, min_match))
    report = edit_photos(photos, out, choice, weights, device, light)
    for note in report.messages():
        typer.echo(note, err=True)
    for line in [json.dumps(report.as_json())] if as_json else report.done:
        typer.echo(line)
    raise typer.Exit(1 if report.failed else 0)


@app.command(cls=renamed(weights="editor"))
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")] = Path("demo"),
    weights: Weights = None,
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
def match(
    a: Annotated[Path, typer.Argument(help="Photo or face crop.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another.", show_default=False)],
    identity: Annotated[
        str, typer.Option(help="Embedding: packaged, dlib, lightcnn, lightcnn9, lightcnn29, insightface, or a weights file.")
    ] = "packaged",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say whether two photos show the same person or different people, or that it is unsure; with how often that is wrong.

    Example:

      legan match edited.jpg photo.jpg --identity dlib
    """
    from legan.matching import match_images

    found = match_images(a, b, identity, device=device)
    typer.echo(json.dumps(found.as_json()) if as_json else str(found))
