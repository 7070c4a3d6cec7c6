"""Editors by name: one loader for the packaged network, the fitted head, a weights file, a run folder and a model on the hub."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from legan.core.device import check_device
from legan.core.errors import WeightsError
from legan.core.files import sha256_of
from legan.core.weights import PACKAGED, editor_file
from legan.models.editors import CropEditor, load_networks

FITTED = "fitted"  # what users call the editor without a network, in every option that takes an editor


def load_crop_editor(
    name: str | Path | None = None, device: str = "cpu", precision: str = "auto", known_faults: Sequence[str] = ()
) -> CropEditor:
    """Return the editor called `name`.

    Args:
        name: None or `packaged`: the package's own network; `fitted`: the fitted head instead of a network (`legan.editing.fitted`,
            extra `render`, on the CPU); a weights file of `legan export`; a run folder, of which the newest checkpoint is taken; or
            `owner/name` of a model on the Hugging Face hub.
        device, precision: of a network, as for `Networks`.
        known_faults: of a run folder, as for `export_run`.

    Raises:
        LeganError: `fitted` without the extra `render`.
        WeightsError: a missing or damaged file, a pickle, weights of something else, or a model that cannot be fetched.
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    check_device(device)
    if str(name) == FITTED:
        from legan.editing.fitted import load_fitted

        return load_fitted()
    if not is_run(name):
        return load_networks(name, device, precision)
    with tempfile.TemporaryDirectory() as folder:
        return load_networks(editor_path(name, Path(folder) / "editor.safetensors", known_faults), device, precision)


def editor_path(name: str | Path | None, exported: Path, known_faults: Sequence[str] = ()) -> Path:
    """Return the weights file of the editor called `name`, or the path `fitted`: what `load_crop_editor` opens in any process alike.

    Args:
        name, known_faults: as for `load_crop_editor`.
        exported: where the newest checkpoint of a run folder is exported to.

    Raises:
        WeightsError: no such file, or a run of something else.
    """
    if str(name) == FITTED:
        return Path(FITTED)
    if name is not None and is_run(name):
        from legan.train.recipes import export_run

        if "generator" not in export_run(Path(name), exported, known_faults):
            raise WeightsError(f"{name} is not a run of an editor: name one of `legan train legan`, `stargan` or `starganv2`")
        return exported
    path = editor_file(PACKAGED if name is None else name)
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist: name a file of `legan export`, a run folder, or '{PACKAGED}'")
    return path


def editor_checksum(path: Path) -> str:
    """Return `CropEditor.checksum` of what `editor_path` returned, without loading it.

    Raises:
        LeganError: `fitted` without the extra `render`.
    """
    if str(path) == FITTED:
        from legan.editing.fitted import fitted_checksum

        return fitted_checksum()
    return sha256_of(path)


def is_run(name: str | Path | None) -> bool:
    """Whether `name` is a folder, which is then taken for a run folder."""
    return name is not None and str(name) not in (PACKAGED, FITTED) and Path(name).is_dir()
