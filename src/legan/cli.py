"""The command `legan`. Each verb calls one function of apply/, train/ or synthesis/ and prints what it gave.

Results go to stdout, progress and notes to stderr. What a user can put right is one line, `error: ...`, and exit code 2; a folder
of which some photos failed gives exit code 1; Ctrl-C gives 130. Heavy imports stand inside the verbs, so that `--help` is quick.
"""

import errno
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from legan import __version__
from legan.commands import data as images
from legan.commands import evaluate, options, quality, study
from legan.commands import evaluate as recognition
from legan.commands import train as baselines
from legan.commands.options import (
    Device,
    Devices,
    DryRun,
    Force,
    Group,
    Json,
    Measure,
    MinMatch,
    Run,
    Settings,
    Weights,
    allow_all_names,
    renamed,
    set_classes,
    show_notes,
)
from legan.core.errors import LeganError


class _Group(Group):
    """Turns expected errors into one line and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LeganError as error:
            message = str(error)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            message = "no space left on the disk: free some space and run the same command again"
        typer.echo(f"error: {message}", err=True)
        raise typer.Exit(2)


app = typer.Typer(
    cls=_Group,
    help="Edit the lighting and the expression of faces in photos, and train the models that do it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(
    cls=Group, help="Train a model; the same command again continues a run that was stopped.", no_args_is_help=True
)
app.add_typer(train_app, name="train")
app.add_typer(quality.app)
app.add_typer(images.app)
app.add_typer(evaluate.app)
app.add_typer(study.app, name="study", cls=study.Group)
app.add_typer(recognition.app)
train_app.add_typer(quality.train_app)
train_app.add_typer(baselines.train_app)
train_app.add_typer(recognition.train_app)


def main() -> None:
    """Run the command."""
    allow_all_names()
    app(prog_name="legan")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"legan {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Edit the lighting and the expression of faces in photos, and train the models that do it."""
    show_notes()


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
        str, typer.Option(help="Embedding: packaged, dlib, lightcnn9, lightcnn29, insightface, or a weights file.")
    ] = "packaged",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say how alike the faces of two photos are: the cosine of their identity embeddings, higher for one person.

    Example:

      legan match edited.jpg photo.jpg --identity dlib
    """
    from legan.matching import match_images

    found = match_images(a, b, identity, device=device)
    typer.echo(json.dumps(found.as_json()) if as_json else str(found))


@app.command()
def models(as_json: Json = False) -> None:
    """List presets with their cost, and the weights that come with the package."""
    from legan.commands.catalogue import catalogue, tables

    found = catalogue()
    typer.echo(json.dumps(found) if as_json else tables(found))


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


@train_app.command("legan")
def train_legan(
    run: Run,
    data: Annotated[list[Path] | None, typer.Option(help="Data set folder with manifest.parquet; may be repeated.")] = None,
    preset: Annotated[str, typer.Option(help="lite: for a laptop; paper: as published; fields: see README.")] = "lite",
    init: Annotated[Path | None, typer.Option(help="Editor to start from, fine-tuning: a file or `packaged`.")] = None,
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train the editor. Ctrl-C saves a checkpoint; the same command again continues.

    Examples:

      legan train legan --preset lite --data data/rendered --run runs/lite

      legan train legan --data data/rendered --run runs/x --set loss.pair=10 --set loop.n_steps=5000 --dry-run

      legan train legan --init packaged --data data/mine --run runs/mine --set loop.n_steps=1000
    """
    from legan.train import legan as training

    outcome = training.train_legan(preset, data or [], run, settings or [], devices, dry_run, init)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("landmarks")
def train_landmarks(
    run: Run,
    data: Annotated[Path, typer.Option(help="A set rendered with --view wide.")],
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train the landmark network that faces are aligned with.

    Example:

      legan train landmarks --data data/wide --run runs/landmarks
    """
    from legan.train import landmarks as training

    outcome = training.train_landmarks(data, run, settings or [], devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("identity")
def train_identity(
    run: Run,
    data: Annotated[list[Path] | None, typer.Option(help="Data set folder with manifest.parquet; may be repeated.")] = None,
    preset: Annotated[str, typer.Option(help="lite: for a laptop; lightcnn9, lightcnn29: as published.")] = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train the identity network, which says whether two crops show one person.

    Example:

      legan train identity --data data/rendered --data data/relit --run runs/identity
    """
    from legan.train import identity as training

    outcome = training.train_recognition(preset, data or [], run, settings or [], devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of a run; for .onnx also an editor's weights file, or `packaged`.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: weights, .safetensors, or an editor as .onnx.")],
    faults: Annotated[
        list[str] | None, typer.Option("--fault", help="A known fault, kept in the file; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the weights of a trained editor or quality model to one file, with what they were made from.

    A name that ends in .onnx gives an editor for programs without PyTorch (extra `onnx`), compared with the network by onnxruntime.

    Examples:

      legan export runs/lite -o editor.safetensors

      legan export packaged -o editor.onnx
    """
    if out.suffix == ".onnx":
        from legan.editing.onnx import export_onnx

        metadata = export_onnx(source, out, faults or ())
    else:
        from legan.train.export import export_run

        metadata = export_run(source, out, faults or ())
    steps, licence = metadata.get("steps", "unknown"), metadata.get("licence", "unknown")
    typer.echo(json.dumps(metadata) if as_json else f"{out}: {steps} steps, licence of the data: {licence}")


set_classes(app)

if __name__ == "__main__":
    main()
