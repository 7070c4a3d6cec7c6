"""Weights files from run folders: what the exports of all trainings share."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import legan
from legan.core.config import config_to_dict
from legan.core.errors import WeightsError
from legan.core.weights import save_weights
from legan.train.run_folder import join_licences, newest_checkpoint, training_length


def write_editor(
    run: Path,
    out: Path,
    config: Any,
    what: Mapping[str, Any],
    others: Sequence[str] = (),
    known_faults: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the averaged generator of a run's newest checkpoint as float16 safetensors and return the metadata.

    The metadata holds `model` and the configs of the networks (`what`), `expressions` and `lightings` where the data has classes of its own
    (`Classes.as_words`), `training` (all settings, data folders by name only), `steps`,
    `n_steps_before` (of the trainings that `init` comes from) and `images_seen` (in all of them), `seed`, `data` (in words),
    `data_folders` (for each: name, sources, licences, numbers of people and images), `init` (what it was fine-tuned from), `judges`
    (files and checksums of the frozen networks), `licence` (of all data), `known_faults`, `version`, and `commit` where the software
    runs from its repository.

    Args:
        run: the run folder.
        out: file to write.
        config: the run's; it has `loop` and `data`, and perhaps paths `init`, `identity`, `quality`, `perceptual`.
        what: the metadata that says which networks these are.
        others: networks of the checkpoint that are written too.
        known_faults: sentences, kept in the metadata.

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
        **config.data.classes.as_words(),
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


def write_network(
    out: Path,
    config: Any,
    state: Mapping[str, Any],
    what: Mapping[str, Any],
    known_faults: Sequence[str] = (),
    without: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Write the averaged network `ema` of a checkpoint as float16 safetensors and return the metadata.

    The metadata is that of `write_editor` without `init` and `judges`; `known_faults` stands in it where there are some.

    Args:
        out: file to write.
        config: the run's; it has `loop` and `data`.
        state: the checkpoint, as `trained_state` gives it.
        what: the metadata that says which network this is.
        known_faults: sentences, kept in the metadata.
        without: tensors whose names begin so are left out.

    Raises:
        LeganError: `out` cannot be written.
    """
    training = config_to_dict(config)
    paths = {name: value for name, value in vars(config.data).items() if isinstance(value, Path)}
    training["data"] |= {name: path.name for name, path in paths.items()}
    training["data"]["folders"] = [Path(folder).name for folder in config.data.folders]
    metadata = {
        **what,
        "training": training,
        **training_length(state["n_steps_done"], config.data.batch_size, None),
        "seed": config.loop.seed,
        **data_facts(state["extra"]["data"]),
        **({"known_faults": list(known_faults)} if known_faults else {}),
        **provenance(),
    }
    tensors = {name: tensor for name, tensor in state["networks"]["ema"].items() if not name.startswith(without)}
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
