"""Exporting a trained StarGAN or StarGAN v2, by the model's name in a run's `config.toml`. Metadata as for `export_editor`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from legan.core.config import config_to_dict, load_config
from legan.train.export import check_name, write_editor
from legan.train.run import CONFIG
from legan.train.stargan_config import StarGANConfig
from legan.train.starganv2_config import StarGANv2TrainingConfig


def export_stargan(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged generator and the critic, whose class head tells a face's own expression and lighting."""
    check_name(out)
    config = load_config(StarGANConfig, run / CONFIG)
    shapes = {"generator": config_to_dict(config.generator), "critic": config_to_dict(config.critic)}
    return write_editor(run, out, config, {"model": "stargan", **shapes}, ("critic",), known_faults)


def export_starganv2(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the averaged generator, mapping network and style encoder, as `generator.generator.*` and so on."""
    check_name(out)
    config = load_config(StarGANv2TrainingConfig, run / CONFIG)
    shape = {"generator": config_to_dict(config.network)}
    return write_editor(run, out, config, {"model": "starganv2", **shape}, known_faults=known_faults)


BASELINES = {"stargan": export_stargan, "starganv2": export_starganv2}
