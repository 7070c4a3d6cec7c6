"""Trains the editor on a machine with a GPU that is at hand for half an hour, in pieces of a few minutes, and brings it back.

    python experiments/default-editor/gpu.py pack  OUT --data DIR --data DIR --mb 25 [--format webp] [--init EDITOR]
    python experiments/default-editor/gpu.py whole OUT --data DIR --data DIR [--quality 75] [--init EDITOR]
    python experiments/default-editor/gpu.py train --pack OUT --run RUN --out BACK --minutes 7 [--preset NAME] [--set KEY=VALUE]
                                                   [--checkpoint [--parts 1-3]]
    python experiments/default-editor/gpu.py bring --run RUN --out BACK [--parts 4-8]
    python experiments/default-editor/gpu.py join  BACK [BACK ...] --run RUN --pack OUT [--set KEY=VALUE]

`pack` makes small copies of data sets, `whole` copies all of them with each image once, however many sets hold it; `train` trains on
them for some minutes and goes on when it is called again, `bring` gives more parts of the checkpoint, `join` makes a run folder of the
parts, from which the same `train` goes on, here or there. Nothing of legan has to be installed (PYTHONPATH=src); what is missing
beside it is named.
"""

import argparse
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from legan.data.faces import FaceDataset
    from legan.train.legan import LeganConfig

STARTED = time.monotonic()
# Import name and distribution of what the training imports, and what those import that comes with nothing else.
NEEDED = {
    "torch": "torch", "numpy": "numpy", "pandas": "pandas", "pyarrow": "pyarrow", "PIL": "pillow", "pillow_heif": "pillow-heif",
    "cv2": "opencv-python-headless", "rich": "rich", "safetensors": "safetensors", "tensorboard": "tensorboard",
    "lightning_fabric": "lightning-fabric", "lightning_utilities": "lightning-utilities", "pydantic": "pydantic",
    "pydantic_core": "pydantic-core", "annotated_types": "annotated-types", "typing_inspection": "typing-inspection",
    "defusedxml": "defusedxml",
}  # fmt: skip
MB = 1_000_000
LARGEST, PART = 16 * MB, 15 * MB  # bytes of a file that comes back whole, and of a part of a larger one
ROW_BYTES = 200  # of a manifest, an image
START, PERCEPTUAL, INDEX = "start.safetensors", "perceptual.pt", "parts.json"
QUALITY = {"jpeg": 90, "webp": 90}


class Group(NamedTuple):
    """A take with one expression: rows of its twenty lightings, and of the photo under its own light where there is one."""

    take: int
    expression: int
    folder: int
    rows: "np.ndarray"


class Packed(NamedTuple):
    """A group's images and mattes as they are written, and for each image the number of its matte, -1 without."""

    group: Group
    images: list[bytes]
    mattes: list[bytes]
    matte_of: list[int]

    @property
    def n_bytes(self) -> int:
        """What it takes, its rows of the manifest included."""
        return sum(map(len, self.images)) + sum(map(len, self.mattes)) + ROW_BYTES * len(self.images)


def check_modules() -> None:
    """Say what the training needs and this machine lacks."""
    missing = [distribution for module, distribution in NEEDED.items() if importlib.util.find_spec(module) is None]
    if importlib.util.find_spec("legan") is None:
        sys.exit("error: legan cannot be imported: set PYTHONPATH=src in the repository's root")
    if missing:
        sys.exit(
            f"error: missing here: {', '.join(missing)}; bring their wheels and install them with pip --no-index --no-deps"
        )


# Packing.


def pack(out: Path, folders: Sequence[Path], words: argparse.Namespace) -> None:
    """Write small data sets of the same names under `out`, and what the training starts from, in at most `words.mb` megabytes.

    Raises:
        DataError: `out` holds files, two folders have one name, or the budget does not even hold a group of every folder.
    """
    from legan.core.errors import DataError
    from legan.core.files import make_folder
    from legan.data.faces import FaceDataset

    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
    if len({folder.resolve().name for folder in folders}) < len(folders):
        raise DataError("two data set folders have the same name: rename one, the copies lie beside each other")
    make_folder(out)
    others = [*_pack_weights(out, words.init), *words.beside]
    left = words.mb * MB - sum(_size(path) for path in others)
    chosen: dict[str, list[Packed]] = {}
    # Held-out people first: without any of a folder the loader refuses it.
    for split, share in (("val", words.val), ("train", 1.0)):
        dataset = FaceDataset(folders, split, size=words.size, memory_gb=0.0)
        chosen[split] = _choose(dataset, left * share, words)
        left -= sum(packed.n_bytes for packed in chosen[split])
        rows = _rows_of(folders, split)
        _write_shards(out, dataset, rows, split, chosen[split], words.format)
    _write_manifests(out, folders, chosen)
    _print_packed(out, folders, chosen, words)


def pack_whole(out: Path, folders: Sequence[Path], words: argparse.Namespace) -> None:
    """Write all of the data sets under `out`, numbered, as WebP.

    The bytes of all lie in one file, which `train` links into each set. Packs whose sets have other numbers may be copied into one
    folder afterwards.

    Raises:
        DataError: `out` holds files.
    """
    from legan.core.errors import DataError
    from legan.core.files import make_folder

    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} holds other files: choose an empty or a new folder")
    make_folder(out)
    _pack_weights(out, words.init)
    with open(out / f"whole-{words.first:02d}.tar", "wb") as file:
        places: dict[str, tuple[int, int, str]] = {}
        for number, folder in enumerate(folders, words.first):
            place = make_folder(out / f"{number:02d}-{folder.resolve().name}")
            n_images = _copy_set(folder, place, file, places, words.quality)
            print(f"{place.name}: {n_images} images, {file.tell() / MB:.1f} MB so far", flush=True)


def _copy_set(folder: Path, out: Path, file: IO[bytes], places: dict[str, tuple[int, int, str]], quality: int) -> int:
    """Write a set's manifest under `out`, and into `file` what `places` does not hold yet; returns the number of images.

    `places` has offset, length and checksum of what was written, by the checksum of the image or matte that it was made of.
    """
    import cv2
    import pandas as pd

    from legan.data.manifest import (
        COLUMNS,
        MATTE_COLUMNS,
        matte_columns,
        read_bytes,
        read_manifest,
        read_pixels,
        write_manifest,
    )

    def write(digest: str, data: bytes) -> None:
        places[digest] = (file.tell(), len(data), hashlib.sha256(data).hexdigest())
        file.write(data)

    rows, mattes = [], {}
    for row in read_manifest(folder).to_dict("records"):
        if row["sha256"] not in places:
            image = read_pixels(folder, row)[..., ::-1]
            write(row["sha256"], cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes())
        offset, n_bytes, digest = places[row["sha256"]]
        numbers = {
            name: None if row[name] is None else [float(value) for value in row[name]] for name in ("alignment", "landmarks")
        }
        at, length = (row.get(name) for name in MATTE_COLUMNS)
        matte = None
        if pd.notna(at):
            key = (row["path"], int(at))
            if key not in mattes:
                data = read_bytes(folder, {"path": row["path"], "offset": int(at), "n_bytes": int(length)})
                mattes[key] = hashlib.sha256(data).hexdigest()
                if mattes[key] not in places:
                    write(mattes[key], data)
            matte = places[mattes[key]][:2]
        rows.append({
            **{name: row[name] for name in COLUMNS}, **numbers,
            "path": f"shards/{Path(file.name).name}", "offset": offset, "n_bytes": n_bytes,
            "key": f"{Path(row['path']).stem}/{row['key']}", "sha256": digest, **matte_columns(matte),
        })  # fmt: skip
    write_manifest(rows, out, MATTE_COLUMNS)
    return len(rows)


def link_whole(pack: Path) -> None:
    """Link the files of `whole` into the sets of a pack, where that is still to be done."""
    from legan.core.files import make_folder
    from legan.data.manifest import MANIFEST

    for whole in pack.glob("whole-*.tar"):
        for manifest in pack.glob(f"*/{MANIFEST}"):
            shard = make_folder(manifest.parent / "shards") / whole.name
            if not shard.exists():
                os.link(whole, shard)


def _pack_weights(out: Path, init: Path | None) -> list[Path]:
    """Write the editor to start from, as float16, and the few layers of the perceptual network that the training uses."""
    import torch

    from legan.core.errors import WeightsError
    from legan.core.weights import load_weights, save_weights
    from legan.models.efficientnet import STAGES, efficientnet_file
    from legan.train.gan import N_PERCEPTUAL_STAGES

    written = []
    if init is not None:
        tensors, metadata = load_weights(init)
        save_weights(out / START, tensors, metadata, half=True)
        written.append(out / START)
    try:
        state = torch.load(efficientnet_file(), map_location="cpu", weights_only=True)
    except WeightsError as error:
        print(f"no {PERCEPTUAL} ({error}): train with --set loss.perceptual=0", file=sys.stderr)
        return written
    n_blocks = sum(stage.n_blocks for stage in STAGES[:N_PERCEPTUAL_STAGES])
    wanted = ("_conv_stem.", "_bn0.", *(f"_blocks.{number}." for number in range(n_blocks)))
    torch.save({name: tensor.clone() for name, tensor in state.items() if name.startswith(wanted)}, out / PERCEPTUAL)
    return [*written, out / PERCEPTUAL]


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size


def _rows_of(folders: Sequence[Path], split: str) -> "pd.DataFrame":
    """The manifests' rows of a split, in the order of `FaceDataset`."""
    import pandas as pd

    from legan.data.manifest import read_manifest

    frame = pd.concat([read_manifest(folder) for folder in folders], ignore_index=True)
    frame["key"] = frame["key"].fillna("")
    return frame[frame["split"] == split].reset_index(drop=True)


def _choose(dataset: "FaceDataset", budget: float, words: argparse.Namespace) -> list[Packed]:
    """Groups in turns until the next one does not fit.

    Raises:
        DataError: a folder has no complete group, or got none.
    """
    from legan.core.errors import DataError

    groups, found, used = find_groups(dataset), [], 0
    for group in in_turns(dataset, groups, words.expressions, words.seed):
        packed = _encode(dataset, group, words.format, words.quality or QUALITY[words.format])
        if used + packed.n_bytes > budget:
            break
        found.append(packed)
        used += packed.n_bytes
    for index, folder in enumerate(dataset.folders):
        if not any(group.folder == index for group in groups):
            raise DataError(f"{folder} has no face under all twenty lightings in one of the splits: leave it out")
        if not any(packed.group.folder == index for packed in found):
            raise DataError(f"the budget holds no group of {folder} in one of the splits: give more --mb, or a larger --val")
    return found


def find_groups(dataset: "FaceDataset") -> list[Group]:
    """All takes with an expression under all twenty lightings, which mixtures of lamps are made of."""
    import numpy as np

    own = defaultdict(list)
    for row in np.flatnonzero(dataset.lighting < 0):
        own[dataset.take[row], dataset.expression[row]].append(row)
    groups = []
    for take, expression in np.argwhere((dataset.truth >= 0).all(axis=2)):
        rows = np.array([*dataset.truth[take, expression], *own[take, expression]], np.int64)
        groups.append(Group(int(take), int(expression), int(dataset.folder[rows[0]]), rows))
    return groups


def in_turns(dataset: "FaceDataset", groups: Sequence[Group], n_expressions: int, seed: int) -> Iterator[Group]:
    """Yield the groups in the order in which they are packed.

    Folders take turns, and in a folder its people; a take gives `n_expressions` of its expressions, drawn by `seed`, before any gives
    more. A take that lies in several folders gives of the folder whose turn it is first.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    of_take, takes_of = defaultdict(list), defaultdict(dict)
    for index in rng.permutation(len(groups)):
        group = groups[index]
        of_take[group.take].append(group)
        takes_of[group.folder][group.take] = int(dataset.person[group.rows[0]])
    given: defaultdict[int, int] = defaultdict(int)
    for limit in range(n_expressions, len(groups) + n_expressions, n_expressions):
        waiting = {folder: deque(_people_in_turns(takes)) for folder, takes in sorted(takes_of.items())}
        while any(waiting.values()):
            for folder, takes in waiting.items():
                turn: list[Group] = []
                while takes and not turn:
                    take = takes.popleft()
                    rest = sorted(of_take[take], key=lambda group: group.folder != folder)
                    turn = rest[: max(limit - given[take], 0)]
                    of_take[take] = rest[len(turn) :]
                    given[take] += len(turn)
                yield from turn
        if not any(of_take.values()):
            return


def _people_in_turns(takes: Mapping[int, int]) -> list[int]:
    """Takes (take to person), everybody's first before anybody's second."""
    seen: defaultdict[int, int] = defaultdict(int)
    ranks = {}
    for take, person in takes.items():
        ranks[take] = seen[person]
        seen[person] += 1
    return sorted(takes, key=ranks.__getitem__)


def _encode(dataset: "FaceDataset", group: Group, image_format: str, quality: int) -> Packed:
    from PIL import Image

    from legan.data.manifest import read_bytes

    options: dict[str, Any] = {"optimize": True, "subsampling": 2} if image_format == "jpeg" else {"method": 6}
    images, mattes, matte_of, numbers = [], [], [], {}
    for row, image in zip(group.rows, dataset.images(group.rows), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, image_format, quality=quality, **options)
        images.append(buffer.getvalue())
        place = dataset.mattes[row]
        if place is None:
            matte_of.append(-1)
            continue
        key = (int(dataset.folder[row]), *place.values())
        if key not in numbers:
            numbers[key] = len(mattes)
            mattes.append(read_bytes(dataset.folders[key[0]], place))
        matte_of.append(numbers[key])
    return Packed(group, images, mattes, matte_of)


def _write_shards(
    out: Path, dataset: "FaceDataset", frame: "pd.DataFrame", split: str, chosen: Sequence[Packed], image_format: str
) -> None:
    """Write one shard of every folder's groups, and its rows beside it until the manifest is written.

    A group is one file of the tar, its images and mattes one after the other: a header for each would take a fifth of the whole.
    """
    from legan.core.files import make_folder
    from legan.data.shards import ShardWriter

    for index, folder in enumerate(dataset.folders):
        place, rows = make_folder(out / folder.resolve().name / "shards") / f"{split}.tar", []
        with ShardWriter(place) as shard:
            for packed in (packed for packed in chosen if packed.group.folder == index):
                data = b"".join([*packed.images, *packed.mattes])
                name = f"{packed.group.take:05d}_{packed.group.expression}.{image_format}s"
                rows += _manifest_rows(frame, packed, shard.add(name, data)[0], split, image_format)
        (out / folder.resolve().name / f"{split}.json").write_text(json.dumps(rows))


def _manifest_rows(
    frame: "pd.DataFrame", packed: Packed, start: int, split: str, image_format: str
) -> Iterator[dict[str, object]]:
    """Rows of a group whose first byte lies at `start` of its shard: those of the whole set but for where and what the bytes are."""
    import numpy as np

    from legan.data.manifest import COLUMNS, matte_columns

    places, at = [], start
    for data in (*packed.images, *packed.mattes):
        places.append((at, len(data)))
        at += len(data)
    for number, (row, data) in enumerate(zip(packed.group.rows, packed.images, strict=True)):
        old = frame.iloc[int(row)]
        values = {name: old[name] for name in COLUMNS}
        for name in ("alignment", "landmarks"):
            has_numbers = isinstance(values[name], (np.ndarray, list))  # None, or NaN of folders read together
            values[name] = [float(value) for value in values[name]] if has_numbers else None
        shard = Path(old["path"])
        values |= {
            "path": f"shards/{split}.tar", "offset": places[number][0], "n_bytes": places[number][1],
            "key": f"{shard.stem}/{Path(old['key'] or shard.name).with_suffix(f'.{image_format}')}",
            "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        matte = packed.matte_of[number]
        yield {**values, **matte_columns(places[len(packed.images) + matte] if matte >= 0 else None)}


def _write_manifests(out: Path, folders: Sequence[Path], splits: Mapping[str, object]) -> None:
    from legan.data.manifest import MATTE_COLUMNS, write_manifest

    for folder in folders:
        place, rows = out / folder.resolve().name, []
        for split in splits:
            part = place / f"{split}.json"
            rows += json.loads(part.read_text())
            part.unlink()
        write_manifest(rows, place, MATTE_COLUMNS)


def _print_packed(out: Path, folders: Sequence[Path], chosen: Mapping[str, list[Packed]], words: argparse.Namespace) -> None:
    """Print what went in.

    Raises:
        DataError: it takes more than the budget, since the manifests were larger than expected.
    """
    from legan.core.conditions import EXPRESSIONS
    from legan.core.errors import DataError

    for index, folder in enumerate(folders):
        for split, packed in chosen.items():
            groups = [one.group for one in packed if one.group.folder == index]
            n_takes, n_images = len({group.take for group in groups}), sum(len(group.rows) for group in groups)
            counts = [f"{sum(g.expression == e for g in groups)} {name}" for e, name in enumerate(EXPRESSIONS)]
            print(f"{folder.resolve().name} {split}: {n_images} images, {n_takes} takes ({', '.join(counts)})")
    others = [path for path in (out / START, out / PERCEPTUAL) if path.exists()]
    words_of = [f"{path.name} {_size(path) / MB:.1f}" for path in (*others, *words.beside)]
    total = _size(out) + sum(_size(path) for path in words.beside)
    print(
        f"{total / MB:.1f} of {words.mb:g} MB, of these {', '.join(words_of) or 'nothing but data'}; the working tree comes on top"
    )
    if total > words.mb * MB:
        raise DataError(f"{out} is {total / MB:.2f} MB, more than --mb {words.mb:g}: pack again with a little less")


# Training, and bringing back.


def train(words: argparse.Namespace) -> None:
    """Train, or go on, until the time is up, and write what comes back.

    Raises:
        LeganError: as `Recipe.train`, or the time was up before the first step.
    """
    from legan.core.errors import LeganError
    from legan.data.manifest import MANIFEST
    from legan.train.recipes import RECIPES

    place = words.pack.resolve()
    link_whole(place)
    folders = sorted(path.parent for path in place.glob(f"*/{MANIFEST}"))
    settings = [
        f"{name}={place / file}" for name, file in (("init", START), ("perceptual", PERCEPTUAL)) if (place / file).exists()
    ]
    try:
        with interrupted_after(60 * words.minutes - (time.monotonic() - STARTED)):
            outcome = RECIPES["legan"].train(words.preset, folders, words.run, [*settings, *words.set])
    except KeyboardInterrupt:
        raise LeganError("the time was up before the training had begun: give more --minutes") from None
    print(outcome)
    bring(words, newest=True)


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Do to this process what Ctrl-C does, after so many seconds: a training writes a checkpoint and ends."""
    # A process that a shell put into the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(max(seconds, 0.0), os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def bring(words: argparse.Namespace, newest: bool) -> None:
    """Write what comes back of a run into `words.out`: with `newest` its editor, log, samples; the parts asked for of its checkpoint."""
    from legan.core.errors import WeightsError
    from legan.core.files import make_folder, write_atomic
    from legan.train.recipes import export_run
    from legan.train.run_folder import CONFIG, list_checkpoints

    run, out = words.run.resolve(), make_folder(words.out)
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        raise WeightsError(f"{run} has no checkpoint yet: train first")
    # What an earlier call left: parts of other checkpoints go, a split editor stays until there is a newer one.
    for old in out.glob("*.part*" if newest else "step_*.part*"):
        old.unlink()
    before = json.loads((out / INDEX).read_text(encoding="utf-8"))["files"] if (out / INDEX).exists() and not newest else []
    files = [entry for entry in before if not entry["name"].endswith(".pt")]
    if newest:
        editor = out / "editor.safetensors"
        export_run(run, editor)
        if editor.stat().st_size > LARGEST:
            files.append(split_file(editor, out, None))
            editor.unlink()
        shutil.copyfile(run / "log.jsonl", out / "log.jsonl")
        samples = sorted((run / "samples").glob("step_*.png"))
        if samples:
            shutil.copyfile(samples[-1], out / "sample.png")
        else:
            print("no sample image yet: lower loop.sample_every for an earlier one", file=sys.stderr)
    if words.checkpoint:
        files.append(split_file(checkpoints[-1], out, words.parts))
    index = {"files": files, "config": (run / CONFIG).read_text(encoding="utf-8")}
    write_atomic(out / INDEX, json.dumps(index, indent=1).encode())
    for path in sorted(out.iterdir()):
        print(f"{path.name}: {path.stat().st_size / MB:.2f} MB")


def split_file(path: Path, out: Path, wanted: range | None) -> dict[str, Any]:
    """Write the parts of a file whose numbers, from 1, are wanted, all for None, and return its name, checksum and all parts' checksums."""
    whole, parts = hashlib.sha256(), []
    with open(path, "rb") as file:
        while data := file.read(PART):
            whole.update(data)
            name = f"{path.name}.part{len(parts) + 1:02d}"
            parts.append({"file": name, "sha256": hashlib.sha256(data).hexdigest()})
            if wanted is None or len(parts) in wanted:
                (out / name).write_bytes(data)
    return {"name": path.name, "sha256": whole.hexdigest(), "parts": parts}


# Putting together again.


def join(words: argparse.Namespace) -> None:
    """Put the parts of a checkpoint together, and verified into a run folder whose config names the packed data here.

    Raises:
        WeightsError: parts are missing, damaged or of different checkpoints, or the run folder has gone on further.
    """
    from legan.core.errors import WeightsError
    from legan.core.files import make_folder
    from legan.train.run_folder import FOLDER, held_run, list_checkpoints, open_run

    index, files = _read_indices(words.back)
    run = make_folder(words.run.resolve())
    checkpoints = [name for name in files if name.endswith(".pt")]
    if not checkpoints:
        raise WeightsError(f"no checkpoint came with {words.back[0]}: train there with --checkpoint")
    config = _config_here(index, words)
    with held_run(run):
        step = int(Path(checkpoints[0]).stem.removeprefix("step_"))
        newer = [path.name for path in list_checkpoints(run) if int(path.stem.removeprefix("step_")) > step]
        if newer:
            raise WeightsError(f"{run} has gone on to {newer[-1]}, beyond {checkpoints[0]}: choose another folder")
        open_run(run, config)
        for name in files:
            if name not in checkpoints:
                _join_file(files[name], words.back, run / name)
                print(f"{run / name} is whole")
        place = make_folder(run / FOLDER) / checkpoints[0]
        _join_file(files[checkpoints[0]], words.back, place)
    for back in words.back:
        if (back / "log.jsonl").exists() and not (run / "log.jsonl").exists():
            shutil.copyfile(back / "log.jsonl", run / "log.jsonl")
    print(f"{place} is whole: train with --run {words.run} and the same settings goes on from it")


def _read_indices(folders: Sequence[Path]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The first index, and all files by name.

    Raises:
        WeightsError: no index, or two checkpoints.
    """
    from legan.core.errors import WeightsError

    indices, files = [], {}
    for folder in folders:
        if not (folder / INDEX).is_file():
            raise WeightsError(f"{folder} holds no {INDEX}: name the folder that `train` or `bring` wrote")
        indices.append(json.loads((folder / INDEX).read_text(encoding="utf-8")))
        for entry in indices[-1]["files"]:
            if files.setdefault(entry["name"], entry) != entry:
                raise WeightsError(f"{folder} holds parts of another {entry['name']}: bring all parts of one checkpoint")
    if sum(name.endswith(".pt") for name in files) > 1:
        raise WeightsError("the folders hold parts of different checkpoints: bring all parts of one")
    return indices[0], files


def _join_file(entry: Mapping[str, Any], folders: Sequence[Path], place: Path) -> None:
    from legan.core.errors import WeightsError
    from legan.core.files import atomic_write

    found = {
        part["file"]: [folder / part["file"] for folder in folders if (folder / part["file"]).is_file()]
        for part in entry["parts"]
    }
    missing = [name for name, places in found.items() if not places]
    if missing:
        raise WeightsError(f"parts are missing: {', '.join(missing)}; `bring --parts` gives them")
    whole = hashlib.sha256()
    with atomic_write(place) as file:
        for part in entry["parts"]:
            data = found[part["file"]][0].read_bytes()
            if hashlib.sha256(data).hexdigest() != part["sha256"]:
                raise WeightsError(f"{found[part['file']][0]} is damaged: bring it again")
            whole.update(data)
            file.write(data)
        if whole.hexdigest() != entry["sha256"]:
            raise WeightsError(f"the parts of {entry['name']} do not give the file that they came from: bring them again")


def _config_here(index: Mapping[str, Any], words: argparse.Namespace) -> "LeganConfig":
    """The run's config with the packed folders and weights at their places on this machine, and `words.set` on top."""
    import tomllib

    from legan.train.config import change_settings, parse_config
    from legan.train.legan import LeganConfig

    config = parse_config(LeganConfig, tomllib.loads(index["config"]))
    there, here = Path(config.data.folders[0]).parent, words.pack.resolve()  # packed folders lie beside each other

    def moved(path: str | Path) -> Path:
        return here / Path(path).relative_to(there) if Path(path).is_relative_to(there) else Path(path)

    names = ("init", "identity", "quality", "perceptual")
    weights = {name: moved(path) for name in names if (path := getattr(config, name)) is not None}
    data = replace(config.data, folders=tuple(str(moved(folder)) for folder in config.data.folders))
    return change_settings(replace(config, data=data, **weights), words.set)


# The command line.


def _part_numbers(text: str) -> range:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not found or int(found[1]) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': write a number from 1, or two such as 1-3")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)

    packing = verbs.add_parser("pack", help="small copies of data sets, and start weights")
    packing.add_argument("out", type=Path)
    packing.add_argument(
        "--data", type=Path, action="append", required=True, help="a data set folder; may be given several times"
    )
    packing.add_argument("--mb", type=float, default=25.0, help="megabytes (10^6 bytes) of all that is packed")
    packing.add_argument("--beside", type=Path, action="append", default=[], help="what travels too and counts, such as wheels")
    packing.add_argument("--init", type=Path, help="an exported editor that the training starts from")
    packing.add_argument("--format", choices=QUALITY, default="jpeg", help="webp takes a quarter less at the same error")
    packing.add_argument("--quality", type=int, help="of the format; 90 by default")
    packing.add_argument("--val", type=float, default=0.08, help="share of the data's bytes for held-out people")
    packing.add_argument(
        "--expressions",
        type=int,
        choices=range(1, 7),
        default=3,
        help="expressions of a take that go in before another take's turn",
    )
    packing.add_argument("--size", type=int, default=128, help="side of the crops in pixels")
    packing.add_argument("--seed", type=int, default=0)

    copying = verbs.add_parser("whole", help="copies of whole data sets, and start weights")
    copying.add_argument("out", type=Path)
    copying.add_argument(
        "--data", type=Path, action="append", required=True, help="a data set folder; may be given several times"
    )
    copying.add_argument("--init", type=Path, help="an exported editor that the training starts from")
    copying.add_argument("--quality", type=int, default=75, help="of WebP")
    copying.add_argument("--first", type=int, default=0, help="number of the first set, where another pack has those before it")

    training = verbs.add_parser("train", help="train for some minutes, or go on")
    training.add_argument("--pack", type=Path, required=True, help="what `pack` or `whole` made")
    training.add_argument("--preset", default="fields-paired")
    training.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the training")
    training.add_argument("--minutes", type=float, default=7.0, help="from the start of this command to the end of training")
    training.add_argument("--checkpoint", action="store_true", help="bring the checkpoint too, in parts")

    bringing = verbs.add_parser("bring", help="bring parts of the checkpoint, without training")
    bringing.set_defaults(checkpoint=True)
    for verb in (training, bringing):
        verb.add_argument("--run", type=Path, required=True, help="the run folder")
        verb.add_argument("--out", type=Path, required=True, help="what comes back lies here")
        verb.add_argument("--parts", type=_part_numbers, help="only these parts of the checkpoint, such as 1-3")

    joining = verbs.add_parser("join", help="a run folder of the parts of a checkpoint")
    joining.add_argument("back", type=Path, nargs="+", help="folders that came back")
    joining.add_argument("--run", type=Path, required=True)
    joining.add_argument("--pack", type=Path, required=True, help="what `pack` made, on this machine")
    joining.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting that is another from here on"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and do what it asks for."""
    words = _parser().parse_args(arguments)
    check_modules()
    from legan.core.errors import LeganError

    try:
        if words.verb == "pack":
            pack(words.out, words.data, words)
        elif words.verb == "whole":
            pack_whole(words.out, words.data, words)
        elif words.verb == "train":
            train(words)
        elif words.verb == "bring":
            bring(words, newest=False)
        else:
            join(words)
    except LeganError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
