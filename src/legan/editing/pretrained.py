"""An editor as a folder with its weights and a model card, and as a model on the Hugging Face hub (extra `hub`)."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legan.core.errors import WeightsError
from legan.core.files import sha256_of, write_atomic
from legan.core.weights import HUB_FILE
from legan.models.editors import CropEditor

CARD = "README.md"
# Licences that have an id on the hub; all others are `other` there, with their name.
_LICENCE_IDS = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0", "CC-BY-NC-4.0": "cc-by-nc-4.0", "CC0-1.0": "cc0-1.0"}
_TITLE = "# A face editor of legan"
_FACTS = ("model", "data", "steps", "seed", "licence", "version", "commit")


def save_pretrained(networks: CropEditor, folder: str | Path) -> Path:
    """Copy an editor's weights file to `editor.safetensors` in a folder, with a model card README.md beside it; return the folder.

    Raises:
        WeightsError: an editor of no weights file (the fitted head, a run folder), or whose file has changed since; or the folder has
            a README.md of something else.
    """
    source = getattr(networks, "file", None)
    if source is None:
        raise WeightsError("this editor was not opened from a weights file: write one with `legan export`, and open that")
    if not source.is_file() or sha256_of(source) != networks.checksum:
        raise WeightsError(
            f"the weights file {source} is gone or has changed since it was opened: open it again, or for a run folder write one "
            "with `legan export`, and open that"
        )
    folder = Path(folder)
    card = folder / CARD
    if card.exists() and _TITLE not in card.read_text(errors="replace").splitlines():
        raise WeightsError(f"{card} is no model card of an editor, and would be overwritten: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if source.resolve() != (folder / HUB_FILE).resolve():
        shutil.copyfile(source, folder / HUB_FILE)
    write_atomic(card, model_card(networks.metadata, networks.checksum).encode())
    return folder


def push_to_hub(networks: CropEditor, repo_id: str, private: bool = True) -> str:
    """Upload an editor and its model card to the hub as `owner/name`, which is created where it does not exist; return its address.

    Raises:
        WeightsError: as `save_pretrained`; huggingface_hub is not installed, or the upload failed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise WeightsError("uploading needs huggingface_hub: run `pip install legan[hub]` first") from error
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(networks, folder)
        try:
            api = HfApi()
            address = str(api.create_repo(repo_id, private=private, exist_ok=True))
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Editor of legan")
        except (OSError, ValueError) as error:  # all of the package's own errors are one of these
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{repo_id} cannot be uploaded to the Hugging Face hub ({reason}): check the name and the connection, and "
                "run `hf auth login`"
            ) from error
    return address


def model_card(metadata: Mapping[str, Any], checksum: str) -> str:
    """Return a model card in Markdown, with the hub's header, of what a weights file says about itself."""
    licence = str(metadata.get("licence") or "not stated")
    hub_id = _LICENCE_IDS.get(licence)
    header = [f"license: {hub_id}"] if hub_id else ["license: other", f"license_name: {json.dumps(licence)}"]
    facts = [f"- {name}: {metadata[name]}" for name in _FACTS if metadata.get(name) not in (None, "")]
    faults = [f"- {fault}" for fault in metadata.get("known_faults", [])] or ["- none stated"]
    lines = [
        "---", *header, "library_name: legan", "pipeline_tag: image-to-image", "tags: [face-editing, relighting, facial-expression]", "---",
        "", _TITLE, "",
        f"Edits the lighting and the expression of faces in photos. `{HUB_FILE}` has the SHA-256 `{checksum}`.", "",
        "```python", "import legan", "",
        'editor = legan.Editor.from_pretrained("owner/name")  # this repository, or a folder',
        'editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")', "```", "",
        "## Training", "", *facts, "", "## Known faults", "", *faults, "",
        "## Use", "", "For photographs of people who agreed. Not for deceiving, and not for judging or identifying a person.", "",
    ]  # fmt: skip
    return "\n".join(lines)
