"""Commands that train networks, and `legan export`, which writes their weights to one file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.commands.options import Devices, DryRun, Group, Json, Run, Settings

app = typer.Typer()
train_app = typer.Typer(
    cls=Group, help="Train a model; the same command again continues a run that was stopped.", no_args_is_help=True
)
app.add_typer(train_app, name="train")

Data = Annotated[list[Path] | None, typer.Option(help="Data set folder with manifest.parquet; may be repeated.")]
Preset = Annotated[str, typer.Option(help="lite: for a laptop; paper: as published.")]


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


@train_app.command("quality")
def train_quality(
    run: Run,
    data: Annotated[list[Path] | None, typer.Option(help="Data set folder that was rated; may be repeated.")] = None,
    ratings: Annotated[Path | None, typer.Option(help="Labels (name,mean,std,split) or ratings.csv.")] = None,
    preset: Annotated[
        str, typer.Option(help="features: 100 to 150 rated images do; lite: a small network; paper: the paper's.")
    ] = "lite",
    init: Annotated[Path | None, typer.Option(help="Weights to start from, fine-tuning: a file or `packaged`.")] = None,
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train the quality model on rated images; its weights are written to quality.safetensors in the run folder.

    Examples:

      legan train quality --preset features --data data/rated --ratings ratings.csv --run runs/q

      legan train quality --data data/synthesized --ratings labels.csv --run runs/q

      legan train quality --data data/people --ratings people.csv --run runs/q2 --init runs/q/quality.safetensors --set lr=2e-4
    """
    from legan.train import quality as training

    outcome = training.train_quality(preset, data or [], ratings, run, settings or [], init, devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("expression")
def train_expression(
    run: Run,
    data: Annotated[list[Path] | None, typer.Option(help="Data set folder with expressions; may be repeated.")] = None,
    preset: Annotated[str, typer.Option(help="lite: for a laptop; paper: LightCNN-29.")] = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train a classifier of expressions on whatever labels the data has; its weights are expression.safetensors in the run folder.

    Example:

      legan train expression --data data/affectnet --run runs/expression
    """
    from legan.train import expression as training

    outcome = training.train_expression(preset, data or [], run, settings or [], devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("stargan")
def train_stargan(
    run: Run,
    data: Data = None,
    preset: Preset = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train StarGAN on expression and lighting together; with --set loss.quality=0.1, beside the quality model.

    Example:

      legan train stargan --data data/rendered --run runs/stargan --set loss.quality=0.1
    """
    from legan.train import stargan as training

    outcome = training.train_stargan(preset, data or [], run, settings or [], devices, dry_run)
    typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("starganv2")
def train_starganv2(
    run: Run,
    data: Data = None,
    preset: Preset = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train StarGAN v2; a domain is an expression under a lighting, or with --set network.domains=expression that alone.

    Example:

      legan train starganv2 --data data/rendered --run runs/starganv2
    """
    from legan.train import starganv2 as training

    outcome = training.train_starganv2(preset, data or [], run, settings or [], devices, dry_run)
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
