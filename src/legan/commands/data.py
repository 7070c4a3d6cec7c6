"""Commands that write data sets of faces: rendered, relit, with other expressions, fakes to rate, imported."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Json

app = typer.Typer()


@app.command()
def render(
    identities: Annotated[int, typer.Option(help="Number of people; each gives 6 expressions x 20 lights.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Data set folder.")],
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    view: Annotated[
        str,
        typer.Option(
            help="crop: aligned faces; turned: heads turned up to 30 degrees; wide: larger images to train the landmark network on."
        ),
    ] = "crop",
) -> None:
    """Render a data set of synthetic faces (needs the extra `render`); run again, it continues.

    Example:

      legan render --identities 250 --workers 2 --out data/rendered
    """
    from legan.core.workers import counted_progress
    from legan_faces3d.render.dataset import render_set
    from legan_faces3d.render.renderer import View

    with counted_progress("rendering people") as progress:
        typer.echo(render_set(out, identities, workers, seed, View(view), progress))


@app.command()
def relight(
    photos: Annotated[Path, typer.Argument(help="Folder of frontal, evenly lit photos; walked with its subfolders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Data set folder.")],
    identity_from_name: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Finds the person in a file's name: a group `identity`, and perhaps `expression`."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV: file, identity, expression, and perhaps split, source, licence.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    source: Annotated[str | None, typer.Option(help="Where the photos come from, if the manifest does not say.")] = None,
    licence: Annotated[str | None, typer.Option(help="Their licence, if the manifest does not say.")] = None,
    as_json: Json = False,
) -> None:
    """Relight photos: twenty crops of each, one a lighting, as a data set (needs the extra `render`); run again, it continues.

    Photos that cannot be used are dropped; why stands in the output and in dropped.csv.

    Examples:

      legan relight photos/ --manifest photos/faces.csv --workers 2 --out data/relit

      legan relight photos/ --identity-from-name '(?P<identity>\\d+)_(?P<expression>[a-z]+)' --out data/relit
    """
    from legan.core.workers import counted_progress
    from legan_faces3d.photos import relight_folder

    with counted_progress("relighting people") as progress:
        report = relight_folder(photos, out, identity_from_name, manifest, workers, source, licence, progress)
    for line in [json.dumps(report.as_json())] if as_json else report.lines():
        typer.echo(line)


@app.command()
def reexpress(
    photos: Annotated[Path, typer.Argument(help="Folder of frontal, evenly lit photos; walked with its subfolders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Data set folder.")],
    identity_from_name: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Finds the person in a file's name: a group `identity`, and perhaps `expression`."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV: file, identity, expression, and perhaps split, source, licence.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    source: Annotated[str | None, typer.Option(help="Where the photos come from, if the manifest does not say.")] = None,
    licence: Annotated[str | None, typer.Option(help="Their licence, if the manifest does not say.")] = None,
    even_only: Annotated[bool, typer.Option("--even-only", help="Only under the photo's own light.")] = False,
    as_json: Json = False,
) -> None:
    """Give photos other expressions: a neutral face all five, any other one neutral, each under every lighting.

    The result is a data set (needs the extra `render`); run again, it continues. Photos that cannot be used are dropped; why
    stands in the output and in dropped.csv.

    Example:

      legan reexpress photos/ --manifest photos/faces.csv --workers 2 --out data/reexpressed
    """
    from legan.core.workers import counted_progress
    from legan_faces3d.photos import reexpress_folder

    with counted_progress("re-expressing people") as progress:
        report = reexpress_folder(photos, out, identity_from_name, manifest, workers, source, licence, even_only, progress)
    for line in [json.dumps(report.as_json())] if as_json else report.lines():
        typer.echo(line)


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
