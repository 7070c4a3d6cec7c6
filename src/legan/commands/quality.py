"""Verbs of the quality model: ratings, training, scoring, filtering."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Device, Group, Json, Settings, renamed

app = typer.Typer()
ratings_app = typer.Typer(
    cls=Group, help="Ratings of images by people: what they say, cleaned, as labels for training.", no_args_is_help=True
)
app.add_typer(ratings_app, name="ratings")

Ratings = Annotated[Path, typer.Argument(help="ratings.csv: rater, image, rating (0..10), seconds, order.", show_default=False)]
RatedSet = Annotated[
    Path | None, typer.Option("--data", help="Data set folder that was rated: checks names, gives splits and kinds.")
]
Gold = Annotated[Path | None, typer.Option(help="Gold items: image, low, high.")]
MinSeconds = Annotated[float, typer.Option(help="Answers given faster are left out.")]
Table = Annotated[Path, typer.Option("--out", "-o", help="CSV file to write.")]
QualityWeights = Annotated[
    Path | None,
    typer.Option(
        "--quality", help="Weights of Q: a file that `legan train quality` wrote, or `simulated`, instead of the packaged ones."
    ),
]
FacesOption = Annotated[
    str,
    typer.Option(
        "--faces", help="auto: 128x128 images are crops, others are searched; aligned: all are crops; detect: none is."
    ),
]


@ratings_app.command("summary")
def summarise(
    ratings: Ratings, data: RatedSet = None, gold: Gold = None, min_seconds: MinSeconds = 1.0, as_json: Json = False
) -> None:
    """Tell how many answers are usable, how far raters agree, and the noise ceiling (needs the extra `ratings`).

    Example:

      legan ratings summary ratings.csv --data data/synthesized
    """
    from legan.quality import ratings as verbs

    found = verbs.summary(ratings, verbs.Rules(min_seconds=min_seconds), data, gold)
    typer.echo(json.dumps(found) if as_json else verbs.in_words(found))


@ratings_app.command("clean")
def clean(
    ratings: Ratings, out: Table, data: RatedSet = None, gold: Gold = None, min_seconds: MinSeconds = 1.0, as_json: Json = False
) -> None:
    """Leave out duplicate, skipped and too fast answers, constant raters and those who failed gold items; count each.

    Example:

      legan ratings clean ratings.csv -o cleaned.csv --gold gold.csv
    """
    from legan.quality import ratings as verbs

    kept = verbs.write_clean(ratings, out, verbs.Rules(min_seconds=min_seconds), data, gold)
    typer.echo(json.dumps(kept.as_json()) if as_json else verbs.counts_in_words(kept, out))


@ratings_app.command("export")
def export_labels(
    ratings: Ratings, out: Table, data: RatedSet = None, gold: Gold = None, min_seconds: MinSeconds = 1.0, as_json: Json = False
) -> None:
    """Write each image's label, name,mean,std,split, from cleaned ratings.

    Example:

      legan ratings export ratings.csv --data data/synthesized -o labels.csv
    """
    from legan.quality import ratings as verbs

    labels = verbs.write_labels(ratings, out, verbs.Rules(min_seconds=min_seconds), data, gold)
    splits = labels["split"].value_counts().to_dict()
    typer.echo(json.dumps({"out": str(out), **splits}) if as_json else f"{out}: {len(labels)} images {splits}")


@ratings_app.command("import")
def import_ratings(
    source: Annotated[str, typer.Argument(help="lago2022", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder of the data as published.", show_default=False)],
    out: Table,
) -> None:
    """Bring the ratings of a public data set to our form and scale, cleaned as its authors do.

    Example:

      legan ratings import lago2022 lago2022/ -o ratings.csv
    """
    from legan.quality import ratings as verbs

    typer.echo(verbs.counts_in_words(verbs.import_ratings(source, folder, out), out))


@ratings_app.command("simulate")
def simulate(
    data: Annotated[Path, typer.Argument(help="Data set folder that `legan synthesize` made.", show_default=False)],
    out: Table,
    seed: Annotated[int, typer.Option(help="The same seed gives the same ratings.")] = 0,
    settings: Settings = None,
) -> None:
    """Let SIMULATED raters rate a data set: what stands in for people until people have rated (needs the extra `ratings`).

    Example:

      legan ratings simulate data/synthesized -o ratings.csv --set icc=0.3
    """
    from legan.quality import ratings as verbs

    ratings = verbs.simulate(data, out, settings or [], seed)
    typer.echo(f"{out}: {len(ratings)} ratings of {ratings['image'].nunique()} images by simulated raters")


@app.command(cls=renamed(weights="quality"))
def score(
    images: Annotated[list[Path], typer.Argument(help="Images, and folders of images.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file, written as it goes; run again, it continues.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG file for a histogram.")] = None,
    faces: FacesOption = "auto",
    quality: QualityWeights = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Score how natural people would find the face in each image: 0 (unnatural) to 10, and how far raters would differ.

    Examples:

      legan score photo.jpg

      legan score generated/ -o scores.csv --plot scores.png
    """
    from legan.quality import scorer as verbs

    found = verbs.score_images(images, out, quality, device, faces, plot)  # type: ignore[arg-type]  # checked there
    for scored in found:
        if not scored.readable:
            typer.echo(f"error: {scored.reason}", err=True)
    typer.echo(
        json.dumps([s.as_json() for s in found]) if as_json else verbs.as_csv(found) if as_csv else verbs.in_words(found)
    )
    raise typer.Exit(0 if all(scored.readable for scored in found) else 1)


@app.command("filter", cls=renamed(weights="quality", embedding="identity"))
def filter_faces(
    folder: Annotated[Path, typer.Argument(help="Folder of images.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what passes, the decisions and a page.")],
    keep: Annotated[float | None, typer.Option(help="Share to keep, the most natural first.")] = None,
    min_quality: Annotated[float | None, typer.Option(help="Least score, 0..10.")] = None,
    min_match: Annotated[float | None, typer.Option(help="Least similarity to the reference, -1..1.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Images of the same people, by folder or file name, or of one person.")
    ] = None,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Keep near-duplicates too.")] = False,
    identity: Annotated[str, typer.Option(help="Embedding for the match, as in `legan match`.")] = "packaged",
    link: Annotated[bool, typer.Option("--link", help="Make hard links in place of copies.")] = False,
    faces: FacesOption = "auto",
    quality: QualityWeights = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Keep the faces that look natural and still show the same person; near-duplicates are left out.

    Examples:

      legan filter generated/ --keep 0.7 -o kept/

      legan filter generated/ --min-quality 5 --min-match 0.5 --reference photos/ -o kept/
    """
    from legan.quality.filter import Choice, filter_images

    choice = Choice(keep, min_quality, min_match, duplicates, link, faces, identity)  # type: ignore[arg-type]  # checked there
    done = filter_images(folder, out, choice, reference, quality, device)
    typer.echo(json.dumps(done.as_json()) if as_json else str(done))
