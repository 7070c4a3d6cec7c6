"""Weights files from run folders, for every model that is trained here."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import legan
from legan.core.config import config_to_dict, load_config, read_toml
from legan.core.errors import ConfigError, WeightsError
from legan.core.weights import PACKAGED, save_weights, weights_file
from legan.train.legan import LeganConfig
from legan.train.run_folder import CONFIG, join_licences, newest_checkpoint, training_length
from legan.train.stargan import StarGANConfig
from legan.train.starganv2 import StarGANv2TrainingConfig

# Exporting a trained editor: the averaged generator and the critic of a run's newest checkpoint, and what they were made from.
#
# The critic goes along because its class heads tell a face's own expression and lighting.


def export_run(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the weights of an editor's or a quality model's run; arguments, result and errors as for `export_editor`."""
    from legan.train.quality import export_quality

    run = Path(run)
    settings = read_toml(run / CONFIG) if (run / CONFIG).is_file() else {}
    model = settings.get("model")
    if isinstance(model, str) and model in BASELINES:
        return BASELINES[model](run, Path(out), known_faults)
    if settings and not {"labels", "generator"} & set(settings):
        raise ConfigError(
            f"{run} is no run of an editor or of Q: other trainings leave their weights in their folders, *.safetensors"
        )
    return export_quality(Path(run), Path(out), known_faults) if "labels" in settings else export_editor(run, out, known_faults)


def export_editor(run: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write the editor of a run as float16 safetensors and return its metadata.

    Tensors are named `generator.*` and `critic.*`; a training without a critic leaves none of the latter. The metadata holds `model`
    ("legan-editor"), the configs `generator` and `critic`, `training` (all settings, data folders by name only), `steps`,
    `n_steps_before` (of the trainings that led to `init`) and `images_seen` (in all of them), `seed`, `data` (in words),
    `data_folders` (for each: name, sources, licences, numbers of people and images), `init` (what it was fine-tuned from, or None),
    `judges` (files and checksums of the frozen networks), `licence` (of all data), `known_faults` (sentences, as given), `version`,
    and `commit` where the software runs from its repository.

    Raises:
        ConfigError: `run` is no run folder of LEGAN.
        WeightsError: it has no checkpoint yet, or none that can be read.
        LeganError: `out` cannot be written.
    """
    run, out = Path(run), Path(out)
    check_name(out)
    if str(run) == PACKAGED or run.is_file():
        raise ConfigError(
            f"{run} is exported already ({weights_file(run, 'editor')}): copy that file, or name a file that ends in .onnx with -o"
        )
    if not (run / CONFIG).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {CONFIG}; name the folder given to `legan train legan --run`")
    config = load_config(LeganConfig, run / CONFIG)
    shapes = {"generator": config_to_dict(config.generator)}
    # A critic that no loss term needed was not trained.
    others = ("critic",) if config.loss.needs_critic else ()
    if others:
        shapes["critic"] = config_to_dict(config.critic)
    return write_editor(run, out, config, {"model": "legan-editor", **shapes}, others, known_faults)


def write_editor(
    run: Path,
    out: Path,
    config: Any,
    what: Mapping[str, Any],
    others: Sequence[str] = (),
    known_faults: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the averaged generator of a run's newest checkpoint as float16 safetensors and return the metadata.

    Args:
        run, out, known_faults: as for `export_editor`.
        config: the run's; it has `loop` and `data`, and perhaps paths `init`, `identity`, `quality`, `perceptual`.
        what: the metadata that says which networks these are.
        others: networks of the checkpoint that go along.

    Raises:
        WeightsError: no checkpoint yet, or none that can be read.
        LeganError: `out` cannot be written.
    """
    state = trained_state(run)
    training = config_to_dict(config)
    training["data"]["folders"] = [Path(folder).name for folder in config.data.folders]
    for name in ("init", "identity", "quality", "perceptual"):
        path = getattr(config, name, None)
        training[name] = path and path.name
    facts, init = data_facts(state["extra"]["data"]), state["extra"].get("init")
    metadata = {
        **what,
        "training": training,
        **training_length(state["n_steps_done"], config.data.batch_size, init),
        "seed": config.loop.seed,
        **facts,
        "init": init,
        "licence": join_licences([facts["licence"], init["licence"] if init else None]),
        "judges": state["extra"].get("judges", {}),
        "known_faults": list(known_faults),
        **provenance(),
    }
    metadata = {name: value for name, value in metadata.items() if value is not None}  # as it is read back
    networks = {"generator": state["networks"]["ema"], **{name: state["networks"][name] for name in others}}
    tensors = {f"{network}.{name}": tensor for network, states in networks.items() for name, tensor in states.items()}
    save_weights(out, tensors, metadata, half=True)
    return metadata


def trained_state(run: Path) -> dict[str, Any]:
    """Return the newest checkpoint of a run.

    Raises:
        WeightsError: there is none yet, or none that can be read.
    """
    state = newest_checkpoint(run)
    if state is None:
        raise WeightsError(f"{run} has no checkpoint yet: train first")
    return state


def data_facts(folders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata `data`, `data_folders` and `licence` of weights that were trained on these folders."""
    words = (
        f"{', '.join(folder['source'])}: {folder['n_identities']} people, {folder['n_images']} images" for folder in folders
    )
    licences = sorted({licence for folder in folders for licence in folder["licence"]})
    return {"data": "; ".join(words), "data_folders": list(folders), "licence": ", ".join(licences)}


def check_name(out: Path) -> None:
    """Check the name of a weights file to write.

    Raises:
        WeightsError: it does not end in .safetensors.
    """
    if out.suffix != ".safetensors":
        raise WeightsError(f"cannot export to {out}: give a name that ends in .safetensors")


def provenance() -> dict[str, str]:
    """Return the `version` of the software and, where it runs from its repository, the `commit`."""
    commit = _commit()
    return {"version": legan.__version__, **({} if commit is None else {"commit": commit})}


def _commit() -> str | None:
    """The commit of the repository that tracks this file, with `+` for local changes; None for an installed package."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    here = Path(__file__).resolve()
    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    return f"{commit}+" if commit and git("status", "--porcelain", "--untracked-files=no", "..") else commit


# Exporting a trained StarGAN or StarGAN v2, by the model's name in a run's `config.toml`. Metadata as for `export_editor`.


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
