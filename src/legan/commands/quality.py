"""Commands of image quality: `legan score`, `filter`, and `legan ratings`."""

from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import IMAGES, Group, Json, Settings, Workers, options, renamed, show
from legan.core.errors import ConfigError
from legan.requests import Device, Engine, FaceSearch, FilterRequest, Option, QualityWeights, Seed

app = typer.Typer()
ratings_app = typer.Typer(
    cls=Group, help="Ratings of images by people: what they say, cleaned, as labels for training.", no_args_is_help=True
)
app.add_typer(ratings_app, name="ratings")

Ratings = Annotated[Path, typer.Argument(help="ratings.csv: rater, image, rating (0..10), seconds, order.", show_default=False)]
RatedSet = Annotated[Path | None, Option("Data set folder that was rated: checks names, gives splits and kinds.", "--data")]
Gold = Annotated[Path | None, Option("Gold items: image, low, high.")]
MinSeconds = Annotated[float, Option("Answers given faster are left out.")]
Table = Annotated[Path, Option("CSV file to write.", "--out", "-o")]


@ratings_app.command("summary")
@options
def summarise(
    ratings: Ratings, data: RatedSet = None, gold: Gold = None, min_seconds: MinSeconds = 1.0, as_json: Json = False
) -> None:
    """Summarize answers: how many are usable, how far raters agree, and the noise ceiling (needs the extra `ratings`).

    Example:

      legan ratings summary ratings.csv --data data/synthesized
    """
    from legan.quality import ratings as answers

    figures = answers.summary(ratings, answers.Rules(min_seconds=min_seconds), data, gold)
    show(figures, as_json, answers.in_words(figures))


@ratings_app.command("clean")
@options
def clean(
    ratings: Ratings, out: Table, data: RatedSet = None, gold: Gold = None, min_seconds: MinSeconds = 1.0, as_json: Json = False
) -> None:
    """Leave out duplicate, skipped and too fast answers, constant raters and those who failed gold items; count each.

    Example:

      legan ratings clean ratings.csv -o cleaned.csv --gold gold.csv
    """
    from legan.quality import ratings as answers

    kept = answers.write_clean(ratings, out, answers.Rules(min_seconds=min_seconds), data, gold)
    show(kept, as_json, answers.counts_in_words(kept, out))


@ratings_app.command("export")
@options
def export_labels(
    ratings: Ratings, out: Table, data: RatedSet = None, gold: Gold = None, min_seconds: MinSeconds = 1.0, as_json: Json = False
) -> None:
    """Write each image's label, name,mean,std,split, from cleaned ratings.

    Example:

      legan ratings export ratings.csv --data data/synthesized -o labels.csv
    """
    from legan.quality import ratings as answers

    labels = answers.write_labels(ratings, out, answers.Rules(min_seconds=min_seconds), data, gold)
    splits = labels["split"].value_counts().to_dict()
    show({"out": str(out), **splits}, as_json, f"{out}: {len(labels)} images {splits}")


@ratings_app.command("import")
@options
def import_ratings(
    source: Annotated[str, typer.Argument(help="lago2022", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder of the data as published.", show_default=False)],
    out: Table,
) -> None:
    """Convert the ratings of a public data set to ratings.csv and the scale 0..10, cleaned as its authors do.

    Example:

      legan ratings import lago2022 lago2022/ -o ratings.csv
    """
    from legan.quality import ratings as answers

    typer.echo(answers.counts_in_words(answers.import_ratings(source, folder, out), out))


@ratings_app.command("simulate")
@options
def simulate(
    data: Annotated[Path, typer.Argument(help="Data set folder that `legan synthesize` made.", show_default=False)],
    out: Table,
    seed: Seed = 0,
    settings: Settings = None,
) -> None:
    """Rate a data set by SIMULATED raters, in place of people until people have rated it (needs the extra `ratings`).

    Example:

      legan ratings simulate data/synthesized -o simulated.csv --set icc=0.3
    """
    from legan.quality import ratings as answers

    ratings = answers.simulate(data, out, settings or [], seed)
    typer.echo(f"{out}: {len(ratings)} ratings of {ratings['image'].nunique()} images by simulated raters")


@app.command(cls=renamed(weights="quality"))
@options
def score(
    images: Annotated[list[str], typer.Argument(help=IMAGES, show_default=False)],
    out: Annotated[Path | None, Option("CSV file, written as it goes; run again, it continues.", "-o")] = None,
    parts: Annotated[
        Path | None, Option("Folder for Parquet files instead, for any number of images; run again, it continues.")
    ] = None,
    as_csv: Annotated[bool, Option("Print CSV.", "--csv")] = False,
    plot: Annotated[Path | None, Option("PNG file for a histogram.")] = None,
    faces: FaceSearch = "auto",
    quality: QualityWeights = None,
    device: Device = "cpu",
    workers: Workers = 1,
    *,
    engine: Engine,
    as_json: Json = False,
) -> None:
    """Score how natural people would find the face in each image: 0 (unnatural) to 10, and how far raters would differ.

    Examples:

      legan score photo.jpg

      legan score generated/ -o scores.csv --plot scores.png

      legan score s3://bucket/faces/manifest.parquet --parts scores/ --engine ray --workers 64
    """
    from legan.core.workers import counted_progress
    from legan.quality import scorer

    if parts is not None:
        if out is not None or plot is not None or as_csv:
            raise ConfigError("--parts writes Parquet files: leave out --out, --csv and --plot")
        with counted_progress("scoring") as progress:
            driver = engine.driver()
            show(scorer.score_in_parts(images, parts, quality, device, faces, workers, driver, progress), as_json)
        return
    results = scorer.score_images(images, out, quality, device, faces, plot, workers, engine.driver())
    for result in results:
        if not result.readable:
            typer.echo(f"error: {result.reason}", err=True)
    show(results, as_json, scorer.as_csv(results) if as_csv else scorer.in_words(results))
    raise typer.Exit(0 if all(result.readable for result in results) else 1)


@app.command("filter", cls=renamed(weights="quality", embedding="identity"))
@options
def filter_faces(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder of images; or a .tar shard, a .parquet manifest, or an address such as s3://bucket/faces/.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, Option("Folder for the images that pass, the decisions and a page.", "-o")],
    request: FilterRequest,
    reference: Annotated[
        str | None, Option("Images of the same people, by folder or file name, or of one person.", metavar="DIR")
    ] = None,
    quality: QualityWeights = None,
    device: Device = "cpu",
    workers: Workers = 1,
    *,
    engine: Engine,
    as_json: Json = False,
) -> None:
    """Keep the faces that look natural and still show the same person; near-duplicates are left out.

    Examples:

      legan filter generated/ --keep 0.7 -o kept/

      legan filter generated/ --min-quality 5 --min-match 0.85 --reference photos/ -o matched/
    """
    from legan.quality.filter import filter_images

    driver = engine.driver()
    show(filter_images(folder, out, request, reference, quality, device, n_workers=workers, run=driver), as_json)
