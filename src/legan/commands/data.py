"""Commands that write data sets of faces: rendered, relit, with other expressions, fakes to rate, imported."""

from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Json, Workers, options, show
from legan.requests import Engine, Option, Seed, SynthesisRequest

app = typer.Typer()

DataFolder = Annotated[Path, Option("Data set folder to write.", "-o")]
PhotoFolder = Annotated[
    str,
    typer.Argument(
        help="Folder of frontal, evenly lit photos; or a .tar shard, a .parquet manifest, or an address such as s3://bucket/faces/."
    ),
]
IdentityFromName = Annotated[
    str | None,
    Option("Regular expression for file names: a group `identity`, and perhaps `expression`.", metavar="REGEX"),
]
FaceTable = Annotated[Path | None, Option("CSV: file, identity, expression, and perhaps split, source, licence.", "--manifest")]
Source = Annotated[str | None, Option("Source of the photos, if the manifest does not name it.")]
Licence = Annotated[str | None, Option("Licence of the photos, if the manifest does not name it.")]


@app.command()
@options
def render(
    identities: Annotated[int, Option("Number of people; each gives 6 expressions x 20 lights.")],
    out: DataFolder,
    workers: Workers = 1,
    seed: Seed = 0,
    view: Annotated[
        str,
        Option(
            "crop: aligned faces; turned: heads turned up to 30 degrees; wide: larger images to train the landmark network on."
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
@options
def relight(
    photos: PhotoFolder,
    out: DataFolder,
    identity_from_name: IdentityFromName = None,
    manifest: FaceTable = None,
    workers: Workers = 1,
    source: Source = None,
    licence: Licence = None,
    *,
    engine: Engine,
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
        driver = engine.driver()
        report = relight_folder(photos, out, identity_from_name, manifest, workers, source, licence, progress, driver)
    show(report, as_json, "\n".join(report.lines()))


@app.command()
@options
def reexpress(
    photos: PhotoFolder,
    out: DataFolder,
    identity_from_name: IdentityFromName = None,
    manifest: FaceTable = None,
    workers: Workers = 1,
    source: Source = None,
    licence: Licence = None,
    even_only: Annotated[bool, Option("Only under the photo's own light.", "--even-only")] = False,
    broad_smiles: Annotated[bool, Option("Smiles show the teeth.", "--broad-smiles")] = False,
    *,
    engine: Engine,
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
        report = reexpress_folder(
            photos,
            out,
            identity_from_name,
            manifest,
            workers,
            source,
            licence,
            even_only,
            broad_smiles,
            progress,
            engine.driver(),
        )
    show(report, as_json, "\n".join(report.lines()))


@app.command()
@options
def synthesize(
    request: SynthesisRequest,
    out: DataFolder,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Synthesize images from natural to bad, to be rated, from data sets of faces; run again, it continues.

    Example:

      legan synthesize --renders data/rendered --photos data/photos --workers 2 --out data/to-rate
    """
    from legan.core.workers import counted_progress
    from legan_faces3d.fakes import build

    with counted_progress("synthesizing images") as progress:
        counts = build.synthesize(request, out, workers, progress)
    show(counts, as_json, build.in_words(counts))


@app.command("import")
@options
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME=DIR",
            help="multipie, rafd, celeba, photo, conditions, faceforensics, progan, stylegan, or a name of yours.",
        ),
    ],
    out: DataFolder,
    limit: Annotated[int | None, Option("Images to take, spread evenly; all by default.")] = None,
    licence: Annotated[str, Option("Licence of the images, for the manifest.")] = "unknown",
    workers: Workers = 1,
    *,
    engine: Engine,
    as_json: Json = False,
) -> None:
    """Align the faces of a public set, or of any folder of images, and write a data set; run again, it continues.

    Examples:

      legan import multipie=Multi-Pie/data --workers 8 --licence CMU --out data/multipie

      legan import photo=holiday/ --out data/photos

      legan import photo=s3://bucket/faces/ --engine ray --workers 64 --out data/photos

      legan import stylegan=100k-generated-images/ --limit 2000 --out data/stylegan
    """
    from legan.core.workers import counted_progress
    from legan.data.import_faces import import_faces, parse_source

    name, folder = parse_source(source)
    with counted_progress("aligning faces") as progress:
        counts = import_faces(name, folder, out, limit, workers, licence, progress, engine.driver())
    show(counts, as_json, f"{counts['n_images']} faces, left out: {counts['left_out']}\n{counts['manifest']}")
