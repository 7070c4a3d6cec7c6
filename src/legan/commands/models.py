"""`legan models`: presets with their cost, and the weights that come with the package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from legan.commands.options import Json, show

if TYPE_CHECKING:
    import torch

app = typer.Typer()


@app.command()
def models(as_json: Json = False) -> None:
    """List presets with their cost, and the weights that come with the package."""
    found = catalogue()
    show(found, as_json, tables(found))


class PresetSummary(TypedDict):
    """One line of `legan models`."""

    preset: str
    network: str
    n_parameters: int
    gflop_per_image: float


def summary() -> list[PresetSummary]:
    """Return parameters and GFLOP (two per multiply-add) of one forward pass for each preset's networks."""
    import torch

    from legan.models import critic, generator, quality

    rows = []
    for name, config in generator.PRESETS.items():
        g = generator.Generator(config).eval()
        rows.append(_row(name, "generator", g, *generator.example_inputs(config)))
    for name, critic_config in critic.PRESETS.items():
        d = critic.Critic(critic_config).eval()
        rows.append(_row(name, "critic", d, torch.zeros(1, 3, critic_config.size, critic_config.size)))
    for name, quality_config in quality.PRESETS.items():
        with torch.device("meta"):  # shapes are enough to count, and 45 million weights take long to draw
            q = quality.QualityModel(quality_config).eval()
            rows.append(_row(name, "quality", q, torch.zeros(1, 3, quality_config.size, quality_config.size)))
    with torch.device("meta"):
        on_features = quality.FeatureQuality(quality.FeatureQualityConfig(eyes=True)).eval()
        rows.append(
            _row("features", "quality", on_features, torch.zeros(1, 3, on_features.config.size, on_features.config.size))
        )
    return [*rows, *_baselines()]


def _baselines() -> list[PresetSummary]:
    import torch

    from legan.models import stargan, starganv2

    rows = []
    with torch.device("meta"):
        for name, (g_config, d_config) in stargan.PRESETS.items():
            x, label = torch.zeros(1, 3, d_config.size, d_config.size), torch.zeros(1, g_config.n_labels)
            rows.append(_row(name, "stargan generator", stargan.StarGANGenerator(g_config).eval(), x, label))
            rows.append(_row(name, "stargan critic", stargan.StarGANCritic(d_config).eval(), x))
        for name, config in starganv2.PRESETS.items():
            x, style = torch.zeros(1, 3, config.size, config.size), torch.zeros(1, config.n_style)
            domain = torch.zeros(1, dtype=torch.long)
            rows.append(_row(name, "starganv2 generator", starganv2.StarGANv2Generator(config).eval(), x, style))
            noise = torch.zeros(1, config.n_latent)
            rows.append(_row(name, "starganv2 mapping", starganv2.Mapping(config).eval(), noise, domain))
            rows.append(_row(name, "starganv2 encoder", starganv2.StyleEncoder(config).eval(), x, domain))
            rows.append(_row(name, "starganv2 discriminator", starganv2.Discriminator(config).eval(), x, domain))
    return rows


def _row(name: str, network: str, net: "torch.nn.Module", *inputs: "torch.Tensor") -> PresetSummary:
    from legan.models.blocks import count_gflop, count_parameters

    return PresetSummary(
        preset=name, network=network, n_parameters=count_parameters(net), gflop_per_image=count_gflop(net, *inputs)
    )


# What a list of weights shows of each file's metadata: steps and images of all trainings behind it.
SHOWN = ("steps", "images_seen", "data", "licence")


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Return presets (parameters and GFLOP an image, counted on the networks) and packaged weights (size and metadata)."""
    return {"presets": [dict(row) for row in summary()], "weights": packaged_weights()}


def packaged_weights() -> list[dict[str, Any]]:
    """Return what `describe_weights` says of each packaged weights file."""
    from legan.core.weights import ASSETS

    return [describe_weights(path) for path in sorted((ASSETS / "weights").glob("*.safetensors"))]


def describe_weights(path: Path) -> dict[str, Any]:
    """Return name, bytes and, where the file says them, steps, images_seen, data and licence; None where it does not.

    `steps` counts all trainings that wrote the file, and `n_steps_last` the last of them, for files that tell no more.
    """
    from legan.core.weights import load_metadata
    from legan.train.run_folder import total_steps

    metadata = load_metadata(path)
    facts = {key: metadata.get(key) for key in SHOWN}
    total = {"steps": total_steps(metadata), "n_steps_last": metadata.get("steps")}
    return {"name": path.stem, "n_bytes": path.stat().st_size, **facts, **total}


def tables(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return what `catalogue` gave as text for people."""
    presets = Table("preset", "network", "parameters", "GFLOP an image", title="presets", title_justify="left")
    for row in found["presets"]:
        presets.add_row(row["preset"], row["network"], f"{row['n_parameters']:,}", f"{row['gflop_per_image']:.2f}")
    weights = Table("weights", "MB", *(key.replace("_", " ") for key in SHOWN), title="packaged weights", title_justify="left")
    for row in found["weights"]:
        shown = [_steps_in_words(row), *(_in_words(row[key]) for key in SHOWN[1:])]
        weights.add_row(row["name"], f"{row['n_bytes'] / 1e6:.1f}", *map(escape, shown))
    console = Console()
    with console.capture() as text:
        console.print(presets, weights)
    return text.get().rstrip()


def _steps_in_words(row: dict[str, Any]) -> str:
    if row["steps"] is None and isinstance(row["n_steps_last"], int):
        return f"{row['n_steps_last']:,} in its last training; the file does not tell those before"
    return _in_words(row["steps"] if row["steps"] is not None else row["n_steps_last"])


def _in_words(fact: Any) -> str:
    """A metadata entry in a cell of a table; one of several facts as `name value, name value`."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_in_words(value)}" for name, value in fact.items())
    if isinstance(fact, list):
        return ", ".join(map(_in_words, fact))
    if isinstance(fact, int):
        return f"{fact:,}"
    return "-" if fact is None else str(fact)
