"""An editor by name: a file, or the id of a model on the Hugging Face hub, `owner/name` or `owner/name@revision`.

The hub is asked only for a name that is no file here; what was fetched once is kept by huggingface_hub and found again offline.
"""

import re
from pathlib import Path

from legan.core.errors import WeightsError
from legan.core.weights import weights_file

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
        raise WeightsError(f"{called} on the Hugging Face hub holds no {HUB_FILE}: it is no editor of legan") from error
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{called} cannot be fetched from the Hugging Face hub ({reason}): try again later") from error
