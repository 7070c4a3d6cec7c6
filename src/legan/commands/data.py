"""Verbs that make images to rate: from data sets of faces, and from published sets."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Json

app = typer.Typer()


@app.command()
def synthesize(
    renders: Annotated[list[Path], typer.Option(help="Data set folder of `legan render`; may be repeated.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Data set folder.")],
    photos: Annotated[list[Path] | None, typer.Option(help="Data set folder of photos; may be repeated.")] = None,
    editors: Annotated[Path | None, typer.Option(help="Folder of editors, snapshots of a training, for GAN edits.")] = None,
    n: Annotated[int, typer.Option("--n", help="Images.")] = 8000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    kinds: Annotated[str, typer.Option(help="Kinds of fakes, with commas.")] = "graded,relit,warp,swap,edit,sample",
    as_json: Json = False,
) -> None:
    """Make images from plausible to bad, to be rated, from data sets of faces; run again, it continues.

    Example:

      legan synthesize --renders data/rendered --photos data/photos --workers 2 --out data/to-rate
    """
    from legan.core.workers import counted_progress
    from legan_faces3d.fakes.build import Request, in_words
    from legan_faces3d.fakes.build import synthesize as build

    request = Request(tuple(renders), tuple(photos or ()), editors, n, seed, tuple(kinds.split(",")))
    with counted_progress("making images") as progress:
        found = build(request, out, workers, progress)
    typer.echo(json.dumps(found) if as_json else in_words(found))


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(metavar="NAME=DIR", help="photo, faceforensics, progan, stylegan, or a name of yours.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Data set folder.")],
    limit: Annotated[int | None, typer.Option(help="Images to take, spread evenly; all by default.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the images, for the manifest.")] = "unknown",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Align the faces of a public set, or of any folder of images, and write a data set; run again, it continues.

    Examples:

      legan import photo=holiday/ --out data/photos

      legan import stylegan=100k-generated-images/ --limit 2000 --out data/stylegan
    """
    from legan.core.workers import counted_progress
    from legan.data.import_faces import import_faces, parse_source

    name, folder = parse_source(source)
    with counted_progress("aligning faces") as progress:
        found = import_faces(name, folder, out, limit, workers, licence, progress)
    typer.echo(
        json.dumps(found) if as_json else f"{found['n_images']} faces, left out: {found['left_out']}\n{found['manifest']}"
    )
