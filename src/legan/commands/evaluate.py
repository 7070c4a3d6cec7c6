"""`legan evaluate`, `verify`, `recognize` and `augment`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Device, Json, renamed
from legan.commands.quality import FacesOption
from legan.core.errors import ConfigError

# The verb that compares models of face editing by all metrics.


app = typer.Typer()


@app.command(cls=renamed(report="out"))
def evaluate(
    data: Annotated[
        list[str],
        typer.Option(metavar="DIR[:SPLIT]", help="Data set; may be repeated. With --results: folder of input images."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report: a new one, or one of an earlier report.")],
    editor: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="Weights file, run folder, `packaged` or `fitted`; may be repeated."),
    ] = None,
    results: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="Folder of a model's results, named as their inputs.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="With --results: folder of true edits, named as their inputs.")] = None,
    real: Annotated[Path | None, typer.Option(help="With --results: folder of real images.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test, where --data does not say.")] = "test",
    n: Annotated[int, typer.Option("--n", help="Edits drawn from each data set.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same edits.")] = 0,
    fid_network: Annotated[str, typer.Option(help="lightcnn, lightcnn9, lightcnn29, inception, or a file.")] = "lightcnn",
    lpips_network: Annotated[str, typer.Option(help="lightcnn, lightcnn9, lightcnn29, alex, vgg, or a file.")] = "lightcnn",
    identity: Annotated[str, typer.Option(help="Embedding of the match score, as in `legan match`.")] = "packaged",
    quality: Annotated[Path | None, typer.Option(help="Weights of Q, instead of the packaged ones.")] = None,
    preference: Annotated[Path | None, typer.Option(help="preference.json of `legan study export`.")] = None,
    resamples: Annotated[int, typer.Option(help="Resamples of the intervals; 0 for none.")] = 1000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Images that go through a network together.")] = 16,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Compare editors, or folders of their results: FID, KID, LPIPS, SSIM, PSNR, match, quality, precision and recall.

    Writes report.json, table.md, table.tex, table.csv, images.csv and report.html; run again, it continues.

    Examples:

      legan evaluate --editor packaged --editor runs/lite --data data/rendered -o out/

      legan evaluate --results a=a/ --results b=b/ --data inputs/ --truth truth/ -o out/
    """
    from legan.core.workers import counted_progress
    from legan.evaluation import benchmark as build
    from legan.evaluation.evaluators import Choice
    from legan.evaluation.report import markdown

    chosen = build.Request(
        tuple(data), tuple(editor or ()), tuple(results or ()), truth, real, split, n, seed, preference, resamples
    )
    choice = Choice(fid_network, lpips_network, identity, quality, device)
    with counted_progress("measuring images") as progress:
        found = build.evaluate(chosen, out, choice, workers, batch_size, progress)
    typer.echo(json.dumps(found) if as_json else f"{markdown(found)}\n{out / 'report.html'}")


# Verbs of recognition: more training faces, verification of people, recognition of expressions.


@app.command(cls=renamed(weights="editor"))
def augment(
    data: Annotated[
        str,
        typer.Argument(help="Data set folder, or NAME=DIR: people, expressions, affectnet, casia-webface.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new data set.")],
    policy: Annotated[str, typer.Option(help="balance-expressions; relight:N; both, both:N")],
    ratio: Annotated[float | None, typer.Option(help="At most this many synthetic images for each training image.")] = None,
    min_quality: Annotated[
        float | None, typer.Option(help="Least score of Q, 0..10; others are made again, at most thrice.")
    ] = None,
    min_match: Annotated[float | None, typer.Option(help="Least similarity to the source, -1..1; likewise.")] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="LABEL=EXPRESSION", help="What the editor calls a label; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    editor: Annotated[Path | None, typer.Option(help="Weights of the editor, as in `legan edit`.")] = None,
    quality: Annotated[Path | None, typer.Option(help="Weights of Q, instead of the packaged ones.")] = None,
    identity: Annotated[str, typer.Option(help="Embedding for the match, as in `legan match`.")] = "packaged",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Add synthetic images to the training people of a data set: rare expressions, other lights; run again, it continues.

    Images of the splits val and test are taken over as they are and never edited.

    Examples:

      legan augment data/faces --policy relight:2 --min-quality 4 --min-match 0.85 --workers 2 -o data/more

      legan augment affectnet=AffectNet/ --policy balance-expressions --ratio 1.0 -o data/balanced
    """
    from legan.augmentation import Request
    from legan.augmentation import augment as make
    from legan.core.workers import counted_progress

    request = Request(policy, ratio, min_quality, min_match, tuple(names or ()), seed, editor, quality, identity, device)
    with counted_progress("augmenting") as progress:
        done = make(data, out, request, workers, progress)
    typer.echo(json.dumps(done.as_json()) if as_json else str(done))


@app.command()
def verify(
    protocol: Annotated[str, typer.Argument(help="lfw, bin, ijbb or people.", show_default=False)],
    place: Annotated[Path, typer.Argument(help="Folder of the data, or a .bin file.", show_default=False)],
    identity: Annotated[
        str, typer.Option(help="Embedding: packaged, dlib, lightcnn9, lightcnn29, insightface, or a weights file.")
    ] = "packaged",
    fars: Annotated[list[float] | None, typer.Option("--far", help="Tell TAR at this FAR; may be repeated.")] = None,
    n_pairs: Annotated[int, typer.Option("--pairs", help="people: pairs to draw, half of one person.")] = 6000,
    seed: Annotated[int, typer.Option(help="people: of the pairs.")] = 0,
    split: Annotated[str, typer.Option(help="people: of a data set folder.")] = "test",
    pairs_file: Annotated[Path | None, typer.Option(help="lfw: another list than pairs.txt in the folder.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for features: run again, it continues.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file for the ROC.")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure how well an embedding tells people apart: LFW, insightface's .bin files, IJB-B 1:1, or a folder of people.

    Examples:

      legan verify lfw lfw/ --identity runs/identity/identity.safetensors

      legan verify people photos/ --pairs 2000 --plot roc.png
    """
    from legan.core.workers import counted_progress
    from legan.evaluation.verification import FARS, Options
    from legan.evaluation.verification import verify as measure

    options = Options(identity, tuple(fars or FARS), n_pairs, seed, split, pairs_file, cache, device)
    with counted_progress("embedding images") as progress:
        found = measure(protocol, place, options, plot, progress)
    typer.echo(json.dumps(found.as_json()) if as_json else str(found))


@app.command()
def recognize(
    weights: Annotated[Path, typer.Option(help="expression.safetensors of `legan train expression`.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Images, and folders of images.", show_default=False)] = None,
    data: Annotated[Path | None, typer.Option(help="A data set folder instead: AUC of each expression.")] = None,
    split: Annotated[str, typer.Option(help="Of the data set.")] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file, written as it goes; run again, it continues.")
    ] = None,
    faces: FacesOption = "auto",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say which expression each face shows; or measure the classifier on a labelled data set.

    Examples:

      legan recognize photos/ --weights runs/expression/expression.safetensors

      legan recognize --data data/affectnet --split val --weights runs/expression/expression.safetensors
    """
    from legan.evaluation import expression as verbs

    if (data is None) == (not images):
        raise ConfigError("name images to recognize, or a data set to measure on with --data")
    if data is not None:
        figures = verbs.evaluate_expressions(data, weights, split, device)
        typer.echo(json.dumps(figures.as_json()) if as_json else str(figures))
        return
    found = verbs.recognize_images(images or [], weights, device, faces, out)  # type: ignore[arg-type]  # checked there
    typer.echo(json.dumps([one.as_json() for one in found]) if as_json else "\n".join(map(str, found)))
    raise typer.Exit(0 if all(one.readable for one in found) else 1)
