"""Commands that train networks by the recipes of `train.recipes`, and `legan export`, which writes their weights to one file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from legan.commands.options import Devices, DryRun, Group, Json, Run, Settings

app = typer.Typer()
train_app = typer.Typer(
    cls=Group, help="Train a model; the same command again continues a run that was stopped.", no_args_is_help=True
)
app.add_typer(train_app, name="train")

Data = Annotated[list[Path] | None, typer.Option(help="Data set folder with manifest.parquet; may be repeated.")]
Preset = Annotated[str, typer.Option(help="lite: for a laptop; paper: as published.")]

FEATURES = "features"  # the preset of Q that is solved, not trained step by step


def train(
    name: str,
    run: Path,
    data: list[Path] | None,
    preset: str,
    settings: list[str] | None,
    devices: int,
    dry_run: bool,
    **others: Path | None,
) -> None:
    """Train by a recipe and print how it ended."""
    from legan.train.recipes import RECIPES

    finish(RECIPES[name].train(preset, data or [], run, settings or [], devices, dry_run, **others))


def finish(outcome: Any) -> None:
    """Print how a training ended, or what it would be, in the first of several processes; the exit code is 130 where it was stopped."""
    if outcome is not None and getattr(outcome, "rank", 0) == 0:
        typer.echo(str(outcome))
    raise typer.Exit(0 if getattr(outcome, "finished", True) else 130)


@train_app.command("legan")
def train_legan(
    run: Run,
    data: Data = None,
    preset: Annotated[
        str, typer.Option(help="lite: for a laptop; paper: as published; fields: for any photo, keeps what is not named.")
    ] = "lite",
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
    train("legan", run, data, preset, settings, devices, dry_run, init=init)


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
    train("stargan", run, data, preset, settings, devices, dry_run)


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
    train("starganv2", run, data, preset, settings, devices, dry_run)


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

      legan train quality --data data/people --ratings people.csv --run runs/q2 --init runs/q/quality.safetensors \
          --set optimizer.lr=2e-4
    """
    if preset == FEATURES:
        from legan.core.errors import ConfigError
        from legan.train.quality_features import train_features

        if init is not None or devices != 1 or dry_run:
            raise ConfigError("the preset features solves one linear system: leave out --init, --devices and --dry-run")
        typer.echo(str(train_features(data or [], ratings, run, settings or [])))
        return
    train("quality", run, data, preset, settings, devices, dry_run, init=init, labels=ratings)


@train_app.command("identity")
def train_identity(
    run: Run,
    data: Data = None,
    preset: Annotated[str, typer.Option(help="lite: for a laptop; lightcnn9, lightcnn29: as published.")] = "lite",
    settings: Settings = None,
    devices: Devices = 1,
    dry_run: DryRun = False,
) -> None:
    """Train the identity network, whose features say whether two crops show one person.

    Its weights are identity.safetensors in the run folder.

    Example:

      legan train identity --data data/rendered --data data/relit --run runs/identity
    """
    train("identity", run, data, preset, settings, devices, dry_run)


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
    train("expression", run, data, preset, settings, devices, dry_run)


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
    """Write the weights of a trained network to one file, with what they were made from.

    A name that ends in .onnx gives an editor for programs without PyTorch (extra `onnx`), compared with the network by onnxruntime.

    Examples:

      legan export runs/lite -o editor.safetensors

      legan export packaged -o editor.onnx
    """
    if out.suffix == ".onnx":
        from legan.editing.onnx import export_onnx

        metadata = export_onnx(source, out, faults or ())
    else:
        from legan.train.recipes import export_run

        metadata = export_run(source, out, faults or ())
    steps, licence = metadata.get("steps", "unknown"), metadata.get("licence", "unknown")
    typer.echo(json.dumps(metadata) if as_json else f"{out}: {steps} steps, licence of the data: {licence}")
