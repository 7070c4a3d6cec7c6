"""Editors by name: one loader for the packaged network, the fitted head, a weights file, a run folder and a model on the hub."""

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from legan.core.conditions import STANDARD, Classes
from legan.core.config import read_toml
from legan.core.device import check_device
from legan.core.errors import WeightsError
from legan.core.files import sha256_of
from legan.core.weights import PACKAGED, editor_file, load_metadata
from legan.editing.editor import Editor, Face, Input
from legan.models.editors import FITTED, CropEditor, ExpressionSpec, LightingSpec, classes_of, load_networks


def load_editor(weights: str | Path | None = None, device: str = "cpu", precision: str = "auto") -> Editor:
    """Return an editor with the packaged weights, or with those of a file that `legan export` wrote; `precision` as for `Networks`.

    `"fitted"` edits with the fitted head instead of a network (`legan.editing.fitted`; extra `render`), on the CPU.

    Raises:
        LeganError: the extra `render` is not installed.
        WeightsError: a missing or damaged file, a pickle, or weights of something else.
        ConfigError: a device that this machine does not have, or an unknown precision.

    Example:
        >>> editor = legan.load_editor()
        >>> crops = torch.rand(2, 3, 128, 128)  # aligned faces in [0, 1]
        >>> editor(crops, expression="surprise").shape
        torch.Size([2, 3, 128, 128])
    """
    networks = load_crop_editor(weights, device, precision)
    if str(weights) == FITTED:
        from legan.editing.fitted import FittedEditor

        return FittedEditor(networks)
    return Editor(networks)


def edit(
    image: Input | Sequence[Input] | Tensor,
    expression: ExpressionSpec | None = None,
    lighting: LightingSpec | None = None,
    strength: float = 1.0,
    face: Face = "largest",
    weights: str | Path | None = None,
    force: bool = False,
    min_match: float | None = None,
) -> Any:
    """Edit with an editor that is loaded once and kept; arguments and result as in `Editor.__call__` and `load_editor`.

    Example:
        >>> edited = legan.edit("photo.jpg", expression="smile:0.7", lighting=-45)
        >>> edited.mark.edit
        'expression=smile:0.7 lighting=-45 strength=1'
    """
    return _kept_editor(weights)(image, expression, lighting, strength, face, force, min_match)


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
    return _existing_file(name)


def _existing_file(name: str | Path | None) -> Path:
    path = editor_file(PACKAGED if name is None else name)
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist: name a file of `legan export`, a run folder, or '{PACKAGED}'")
    return path


def editor_classes(name: str | Path | None) -> Classes:
    """Return the expressions and lightings that the editor called `name` knows, without loading it.

    Raises:
        WeightsError: no such file, or one whose classes cannot be read.
        ConfigError: a folder that is no run.
    """
    if str(name) == FITTED:
        return STANDARD
    if name is not None and is_run(name):
        from legan.train.config import parse_config
        from legan.train.recipes import recipe_of
        from legan.train.run_folder import CONFIG

        config: Any = parse_config(recipe_of(Path(name)).config, read_toml(Path(name) / CONFIG))
        return getattr(config.data, "classes", STANDARD)  # other trainings than editors' declare none
    path = _existing_file(name)
    return classes_of(load_metadata(path), path)


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


@lru_cache(maxsize=1)
def _kept_editor(weights: str | Path | None) -> Editor:
    return load_editor(weights)
