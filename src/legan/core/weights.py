"""Weights: safetensors files with JSON metadata, from disk, from the package, or from the Hugging Face hub; nothing is unpickled."""

import json
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legan.core.config import parse_json
from legan.core.errors import WeightsError
from legan.core.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor


# Weights: safetensors files with JSON metadata. The only place that imports safetensors; nothing is ever unpickled.


# What torch.load raises on files that are cut off, overwritten, no pickles, or pickles of more than plain values.
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OSError, AssertionError,
    MemoryError, struct.error,
)  # fmt: skip
ASSETS = Path(__file__).resolve().parent.parent / "assets"
PACKAGED = "packaged"  # what users call weights that come with the package, in every option that takes a weights file
# Further packaged quality models, by the names that users give: adversarially trained, for losses; and of simulated raters.
QUALITY_MODELS = {"robust": "quality-robust", "simulated": "quality-simulated"}
# Kinds of the entries of the metadata; lists are of texts.
_KINDS: dict[str, type] = {
    "model": str, "data": str, "licence": str, "version": str, "commit": str, "steps": int, "seed": int, "known_faults": list,
    "labels": list, "generator": dict, "critic": dict, "network": dict, "lightcnn": dict, "face_resnet": dict, "thresholds": dict,
}  # fmt: skip
_KEY = "legan"  # the one metadata entry; safetensors metadata maps text to text


def asset(name: str) -> Path:
    """Return the path of a packaged file, such as `faces/r000009.png`.

    Raises:
        WeightsError: the package does not hold it.
    """
    path = ASSETS / name
    if not path.exists():
        raise WeightsError(f"the package holds no {name}: install legan again, or name a file of your own")
    return path


def packaged(name: str) -> Path:
    """Return the path of packaged weights by name, such as `editor`.

    Raises:
        WeightsError: the package does not hold them.
    """
    return asset(f"weights/{name}.safetensors")


def weights_file(given: str | Path | None, name: str) -> Path:
    """Return the weights file that a user means: None and the word `packaged` are the package's own weights called `name`.

    Of the quality model there are more, see `QUALITY_MODELS`.

    Raises:
        WeightsError: the package does not hold them.
    """
    if name == "quality" and str(given) in QUALITY_MODELS:
        return packaged(QUALITY_MODELS[str(given)])
    return packaged(name) if given is None or str(given) == PACKAGED else Path(given)


def save_weights(path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, Any], half: bool = False) -> None:
    """Write tensors and JSON metadata to a safetensors file, atomically.

    Args:
        path: the file to write.
        tensors: name to tensor.
        metadata: what the file is: config, data, steps, seed, licence.
        half: store floating-point tensors as float16.
    """
    import torch
    from safetensors.torch import save

    plain = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        plain[name] = tensor.to(torch.float16).clone() if half and tensor.is_floating_point() else tensor.clone()
    write_atomic(path, save(plain, metadata={_KEY: json.dumps(metadata, sort_keys=True)}))


def load_weights(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Read a safetensors file; floating-point tensors come back as float32.

    Returns:
        name to tensor, and the metadata (empty for files of other makers).

    Raises:
        WeightsError: no such file, not a safetensors file (pickles are refused unread), or a truncated one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    metadata = load_metadata(path)
    try:
        tensors = load(Path(path).read_bytes())
    except SafetensorError as error:
        raise WeightsError(f"weights file {path} is damaged ({error}): download or export it again") from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, metadata


def load_state(path: Path, what: str, advice: str) -> Mapping[str, Any]:
    """Read what `torch.save` wrote elsewhere, a dict of tensors perhaps with other plain values; nothing in it is run.

    Args:
        path: the file.
        what: it should be, for the message.
        advice: what to do where it is something else.

    Raises:
        WeightsError: no such file, a damaged one, or one that only running code could read.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{what} {path} does not exist")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = re.split(r"[.\n]", str(error))[0].strip() or type(error).__name__
        raise WeightsError(f"{path} cannot be read without running code from it ({reason}): {advice}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds no state dict: {advice}")
    return state


def is_state_dict(state: Mapping[Any, Any]) -> bool:
    """Whether all entries are tensors under names."""
    from torch import Tensor

    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items())


def load_metadata(path: Path) -> dict[str, Any]:
    """Read only the metadata of a safetensors file, without torch.

    Raises:
        WeightsError: as `load_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist")
    with open(path, "rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(100_000_000, path.stat().st_size - 8):
            _refuse_pickle(path, head)  # only here: a header of 640 bytes begins as pickles do
            raise WeightsError(f"{path} is not a safetensors file: give one that `legan export` wrote")
        text = file.read(length)
    try:
        metadata = parse_json(parse_json(text).get("__metadata__", {}).get(_KEY, "{}"))
    except (ValueError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} is not a safetensors file: give one that `legan export` wrote") from error
    _check_metadata(path, metadata)
    return {name: value for name, value in metadata.items() if value is not None}


def _check_metadata(path: Path, metadata: Any) -> None:
    """Entries that are read somewhere have the kind that is expected there."""
    if not isinstance(metadata, dict):
        raise WeightsError(f"the metadata of {path} is damaged (a {type(metadata).__name__}): export the weights again")
    for name, kind in _KINDS.items():
        value = metadata.get(name)
        is_right = value is None or (isinstance(value, kind) and value is not True and value is not False)
        if isinstance(value, list):
            is_right = is_right and all(isinstance(item, str) for item in value)
        if not is_right:
            raise WeightsError(f"the metadata of {path} is damaged ({name}={str(value)[:60]!r}): export the weights again")
    if isinstance(metadata.get("steps"), int) and metadata["steps"] < 0:
        raise WeightsError(f"the metadata of {path} is damaged (steps={metadata['steps']}): export the weights again")


def _refuse_pickle(path: Path, head: bytes) -> None:
    # A zip archive (torch.save) or a pickle protocol marker.
    if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise WeightsError(
            f"{path} is a pickle, which can run code when it is opened: convert it to safetensors where you trust it"
        )


# An editor by name: a file, or the id of a model on the Hugging Face hub, `owner/name` or `owner/name@revision`.
#
# The hub is asked only for a name that is no file here; huggingface_hub caches what was fetched, also for work offline.


HUB_FILE = "editor.safetensors"
_WORD = r"[A-Za-z0-9][\w.-]*"
_HUB_ID = re.compile(rf"(?P<repository>{_WORD}/{_WORD})(@(?P<revision>[\w./-]+))?")
_FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".tar", ".ckpt", ".bin", ".onnx")


def editor_file(name: str | Path) -> Path:
    """Return the weights file that `name` means: the packaged editor for `packaged`, else `name` itself, or the file fetched from the
    hub where `name` is an id of it.

    Raises:
        WeightsError: an id, but huggingface_hub is not installed, the hub is out of reach and the file was never fetched, or the hub
            has no such model, revision or file.
    """
    path = weights_file(name, "editor")
    parts = _HUB_ID.fullmatch(path.as_posix())
    if path.exists() or parts is None or path.suffix in _FILE_ENDINGS:
        return path
    return _fetched(parts["repository"], parts["revision"])


def _fetched(repository: str, revision: str | None) -> Path:
    called = repository if revision is None else f"{repository}@{revision}"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise WeightsError(
            f"there is no file {called}; if it is a model on the Hugging Face hub, run `pip install legan[hub]` first"
        ) from error
    try:
        return Path(hf_hub_download(repository, HUB_FILE, revision=revision))
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"there is no file {called}, and the Hugging Face hub cannot be reached: check the name or the connection, or fetch "
            f"{HUB_FILE} of {called} elsewhere and give its path"
        ) from error
    except GatedRepoError as error:
        raise WeightsError(f"{repository} asks for consent: accept its terms on the hub, then run `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise WeightsError(
            f"{repository} on the Hugging Face hub has no revision '{revision}': leave it out or check it"
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"there is no file {called}, and no model {repository} on the Hugging Face hub: check the name; for a private one, run "
            "`hf auth login`"
        ) from error
    except EntryNotFoundError as error:
        raise WeightsError(f"{called} on the Hugging Face hub holds no {HUB_FILE}: not a LEGAN editor") from error
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{called} cannot be fetched from the Hugging Face hub ({reason}): try again later") from error
