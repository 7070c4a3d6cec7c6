"""Commands of evaluation: `legan evaluate`, `verify`, `recognize`, and `augment`."""

from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Json, Workers, options, renamed, show
from legan.core.errors import ConfigError
from legan.requests import (
    AugmentationRequest,
    Device,
    Engine,
    EvaluationNetworks,
    EvaluationRequest,
    FaceSearch,
    Option,
    VerificationRequest,
)

app = typer.Typer()


@app.command(cls=renamed(report="out"))
@options
def evaluate(
    request: EvaluationRequest,
    out: Annotated[Path, Option("Folder for the report: a new one, or one of an earlier report.", "-o")],
    networks: EvaluationNetworks,
    workers: Workers = 1,
    batch_size: Annotated[int, Option("Images that go through a network together.")] = 16,
    *,
    engine: Engine,
    as_json: Json = False,
) -> None:
    """Compare editors, or folders of their results: FID, KID, LPIPS, SSIM, PSNR, match, quality, precision and recall.

    Writes report.json, table.md, table.tex, table.csv, images.csv and report.html; run again, it continues.

    Examples:

      legan evaluate --editor packaged --editor runs/lite --data data/rendered -o out/

      legan evaluate --results a=a/ --results b=b/ --data inputs/ --truth truth/ -o out/

      legan evaluate --editor ours=ours.safetensors --editor packaged --data data/relit:val -o out/ --study out/study
    """
    from legan.core.workers import counted_progress
    from legan.evaluation import benchmark
    from legan.evaluation.report import markdown

    with counted_progress("measuring images") as progress:
        report = benchmark.evaluate(request, out, networks, workers, batch_size, progress, engine.driver())
    text = f"{markdown(report)}\n{out / 'report.html'}"
    if request.study is not None:
        text += (
            f"\n{report['study']['n_items']} edits and {report['study']['n_checks']} attention checks; next:\n"
            f"legan study create --from {request.study}/compared --kind preference --gold {request.study}/gold.csv --out STUDY"
        )
    show(report, as_json, text)


@app.command(cls=renamed(weights="editor"))
@options
def augment(
    data: Annotated[
        str,
        typer.Argument(
            help="Data set folder, also at an address such as s3://bucket/set; or NAME=DIR: people, expressions, affectnet, casia-webface.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, Option("Folder for the new data set.", "-o")],
    request: AugmentationRequest,
    workers: Workers = 1,
    *,
    engine: Engine,
    as_json: Json = False,
) -> None:
    """Add synthetic images to the training people of a data set: rare expressions, other lights; run again, it continues.

    Images of validation and test identities are copied unchanged and never edited.

    Examples:

      legan augment data/faces --policy relight:2 --min-quality 4 --min-match 0.85 --workers 2 -o data/more

      legan augment affectnet=AffectNet/ --policy balance-expressions --ratio 1.0 -o data/balanced
    """
    from legan import augmentation
    from legan.core.workers import counted_progress

    with counted_progress("augmenting") as progress:
        show(augmentation.augment(data, out, request, workers, progress, engine.driver()), as_json)


@app.command()
@options
def verify(
    protocol: Annotated[str, typer.Argument(help="lfw, bin, ijbb or people.", show_default=False)],
    place: Annotated[Path, typer.Argument(help="Folder of the data, or a .bin file.", show_default=False)],
    request: VerificationRequest,
    plot: Annotated[Path | None, Option("PNG file for the ROC.")] = None,
    as_json: Json = False,
) -> None:
    """Measure verification by an identity embedding: LFW, insightface's .bin files, IJB-B 1:1, or a folder of people.

    Examples:

      legan verify lfw lfw/ --identity runs/identity/identity.safetensors

      legan verify people photos/ --pairs 2000 --plot roc.png
    """
    from legan.core.workers import counted_progress
    from legan.evaluation import verification

    with counted_progress("embedding images") as progress:
        result = verification.verify(protocol, place, request, plot, progress)
    show(result, as_json)


@app.command()
@options
def recognize(
    weights: Annotated[Path, Option("expression.safetensors of `legan train expression`.")],
    images: Annotated[list[Path] | None, typer.Argument(help="Images, and folders of images.", show_default=False)] = None,
    data: Annotated[Path | None, Option("A data set folder instead: AUC of each expression.")] = None,
    split: Annotated[str, Option("Split of the data set.")] = "test",
    out: Annotated[Path | None, Option("CSV file, written as it goes; run again, it continues.", "-o")] = None,
    faces: FaceSearch = "auto",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Classify the expression of each face; or measure the classifier on a labelled data set.

    Examples:

      legan recognize photos/ --weights runs/expression/expression.safetensors

      legan recognize --data data/affectnet --split val --weights runs/expression/expression.safetensors
    """
    from legan.evaluation import expression

    if (data is None) == (not images):
        raise ConfigError("name images to recognize, or a data set to measure on with --data")
    if data is not None:
        show(expression.evaluate_expressions(data, weights, split, device), as_json)
        return
    results = expression.recognize_images(images or [], weights, device, faces, out)
    show(results, as_json, "\n".join(map(str, results)))
    raise typer.Exit(0 if all(one.readable for one in results) else 1)
