"""experiments/default-editor/gpu.py: what is packed trains, comes back in parts, and goes on somewhere else bit for bit."""

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.face_sets import draw_face, make_face_set
from tests.train.tasks import same

from legan.core.conditions import LIGHTINGS
from legan.core.weights import load_weights, save_weights
from legan.data.batches import DataConfig
from legan.data.edits import EditBatches, EditsConfig
from legan.data.faces import FaceDataset
from legan.train.run_folder import list_checkpoints, newest_checkpoint

SCRIPT = Path(__file__).parents[2] / "experiments" / "default-editor" / "gpu.py"
TINY = [
    *("critic.size=32", "critic.width=4", "critic.n_layers=3"),
    *("generator.width=4", "generator.n_residual=1", "generator.mask_channels=4"),
    *("loss.perceptual=0", "data.batch_size=4", "loop.log_every=3", "loop.sample_every=6", "loop.n_checkpoints=9"),
]
SMALL = ["--size", "32", "--expressions", "2"]


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PART, module.LARGEST = 30_000, 300_000
    return module


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    matte = np.zeros((32, 32), np.uint8)
    matte[4:28, 4:28] = 255
    root = tmp_path_factory.mktemp("data")
    everything = tuple(range(len(LIGHTINGS)))
    return [
        make_face_set(root / "one", 10, lightings=everything, matte=matte),
        make_face_set(root / "two", 9, lightings=everything),
    ]


@pytest.fixture(scope="module")
def packed(gpu: ModuleType, sets: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "pack"
    gpu.main(["pack", str(out), *_data(sets), *SMALL, "--mb", "1.4", "--val", "0.15"])
    return out


def _data(sets: list[Path]) -> list[str]:
    return [word for folder in sets for word in ("--data", str(folder))]


def _settings(*settings: str) -> list[str]:
    return [word for setting in (*TINY, *settings) for word in ("--set", setting)]


def _train(
    gpu: ModuleType, pack: Path, run: Path, out: Path, *settings: str, minutes: float = 600, more: tuple[str, ...] = ()
) -> None:
    places = ["--pack", str(pack), "--run", str(run), "--out", str(out), "--minutes", str(minutes)]
    gpu.STARTED = gpu.time.monotonic()
    gpu.main(["train", *places, *more, *_settings(*settings)])


def test_packed_groups_are_whole_and_spread(packed: Path, sets: list[Path]) -> None:
    assert sum(path.stat().st_size for path in packed.rglob("*") if path.is_file()) <= 1_400_000
    for split in ("train", "val"):
        whole, small = (FaceDataset(folders, split, size=32) for folders in (sets, [packed / s.name for s in sets]))
        complete = (small.truth >= 0).all(axis=2)
        assert complete.sum() * len(LIGHTINGS) == len(small), "nothing but whole groups"
        if split == "train":
            assert len(small) < len(whole), "the budget holds less than everything"
            assert small.n_identities == whole.n_identities and np.unique(small.folder).tolist() == [0, 1]
            assert (complete.sum(1) >= 2).all(), "expressions of a take come together, pairs of an edit"
        for index in range(0, len(small), 7):
            identity = int(small.rows[index]["key"][1:4])
            drawn = draw_face(identity, small.expression[index], max(small.lighting[index], 0), 32)
            assert np.abs(small.images([index])[0].astype(int) - drawn).mean() < 6, "the same face, as JPEG"
        assert all((matte is not None) == (folder == 0) for matte, folder in zip(small.mattes, small.folder, strict=True))
    edits = EditsConfig(backdrops=1.0, lamps=1.0)
    batch = EditBatches(FaceDataset([packed / "one"], "train", size=32), DataConfig(batch_size=8), edits, 0)(0, 0, 1)
    assert batch["has_true"].all() and not batch["lighting_src"].any(), "mixtures of lamps, before other backdrops"


def test_takes_share_the_budget_before_any_gives_all(gpu: ModuleType, sets: list[Path]) -> None:
    dataset = FaceDataset(sets, "train", size=32, memory_gb=0.0)
    groups = gpu.find_groups(dataset)
    order = list(gpu.in_turns(dataset, groups, 2, seed=0))
    assert sorted(map(_place, order)) == sorted(map(_place, groups)), "each once"
    first = order[: 2 * len({group.take for group in groups})]
    assert all(sum(group.take == take for group in first) == 2 for take in {group.take for group in groups})
    assert [group.folder for group in order[:4]] == [0, 0, 1, 1]
    assert list(map(_place, gpu.in_turns(dataset, groups, 2, seed=0))) == list(map(_place, order))


def test_whole_copies_hold_every_image_once_and_train(gpu: ModuleType, sets: list[Path], tmp_path: Path) -> None:
    """Two packs in one folder; the second set again under another name costs a manifest alone."""
    shutil.copytree(sets[1], tmp_path / "three")
    gpu.main(["whole", str(tmp_path / "a"), "--data", str(sets[0]), "--quality", "90"])
    gpu.main(["whole", str(tmp_path / "b"), *_data([sets[1], tmp_path / "three"]), "--first", "1"])
    gpu.main(["whole", str(tmp_path / "c"), "--data", str(sets[1])])
    assert (tmp_path / "b" / "whole-01.tar").stat().st_size == (tmp_path / "c" / "whole-00.tar").stat().st_size
    shutil.copytree(tmp_path / "b", tmp_path / "a", dirs_exist_ok=True)
    _train(gpu, tmp_path / "a", tmp_path / "run", tmp_path / "back", "loop.n_steps=2")
    for folder, name in zip([*sets, tmp_path / "three"], ("00-one", "01-two", "02-three"), strict=True):
        whole, copy = (FaceDataset([place], "train", size=32) for place in (folder, tmp_path / "a" / name))
        assert len(whole) == len(copy) and (whole.truth == copy.truth).all()
        difference = whole.images(range(len(whole))).astype(int) - copy.images(range(len(copy)))
        assert np.abs(difference).mean() < 6, "the same faces, as WebP"
        assert [matte is not None for matte in whole.mattes] == [matte is not None for matte in copy.mattes]
    with pytest.raises(SystemExit, match="holds other files"):
        gpu.main(["whole", str(tmp_path / "a"), "--data", str(sets[0])])


def _place(group) -> tuple[int, int]:
    return group.take, group.expression


def test_a_checkpoint_in_parts_goes_on_elsewhere_as_if_never_stopped(gpu: ModuleType, packed: Path, tmp_path: Path) -> None:
    settings = "loop.n_steps=12", "loop.checkpoint_every=5"
    _train(gpu, packed, tmp_path / "whole", tmp_path / "back", *settings)
    whole = newest_checkpoint(tmp_path / "whole")
    assert whole["n_steps_done"] == 12 and (tmp_path / "back" / "sample.png").exists()
    for late in list_checkpoints(tmp_path / "whole")[1:]:
        late.unlink()

    # The checkpoint of step 5 in two loads; the data lies elsewhere there.
    first, second = tmp_path / "first", tmp_path / "second"
    run = ["--run", str(tmp_path / "whole"), "--out"]
    gpu.main(["bring", *run, str(first), "--parts", "1-2"])
    gpu.main(["bring", *run, str(second), "--parts", "3-99"])
    assert all(path.stat().st_size <= 30_000 for folder in (first, second) for path in folder.glob("*.part*"))
    moved = tmp_path / "elsewhere" / "pack"
    moved.parent.mkdir()
    moved.symlink_to(packed)  # resolved, as data folders are
    for folder in (first, second):
        assert json.loads((folder / "parts.json").read_text())["files"][0]["name"] == "step_000005.pt"
    joined = tmp_path / "joined"
    gpu.main(["join", str(first), str(second), "--run", str(joined), "--pack", str(moved)])
    assert [path.name for path in list_checkpoints(joined)] == ["step_000005.pt"]
    _train(gpu, moved, joined, tmp_path / "again", *settings)
    assert same(newest_checkpoint(joined), whole)
    tensors, metadata = load_weights(tmp_path / "again" / "editor.safetensors")
    assert metadata["steps"] == 12 and not any(name.startswith("critic.") for name in tensors), "an untrained critic stays away"


class LogTimer:
    """Stands in for the script's timer: fires when the run's log has grown, however slow the machine is."""

    def __init__(self, log: Path, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
        self.log, self.is_over, self.n_before = log, threading.Event(), self._n_lines(log)
        self.daemon = True
        self._thread = threading.Thread(target=self._wait, args=(call, arguments), daemon=True)
        self.start = self._thread.start
        self.cancel = self.is_over.set

    @staticmethod
    def _n_lines(log: Path) -> int:
        return log.read_text().count("\n") if log.exists() else 0

    def _wait(self, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
        while not self.is_over.wait(0.05):
            if self._n_lines(self.log) > self.n_before:
                call(*arguments)
                return


def stop_when_logged(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    """From now on the time of `train` is up once it has logged steps in this run folder."""
    monkeypatch.setattr(gpu.threading, "Timer", lambda seconds, call, arguments: LogTimer(run / "log.jsonl", call, arguments))


def test_the_time_limit_stops_and_the_same_command_goes_on(
    gpu: ModuleType, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LARGEST", 30_000)  # the editor comes in parts too
    run, steps = tmp_path / "run", []
    for name in ("a", "b"):
        stop_when_logged(gpu, monkeypatch, run)
        _train(gpu, packed, run, tmp_path / name, "loop.n_steps=100000", more=("--checkpoint",))
        steps.append(newest_checkpoint(run)["n_steps_done"])
    assert 0 < steps[0] < steps[1] < 100000

    # Another machine, another place of the packed data, another number of workers.
    moved = tmp_path / "moved"
    shutil.copytree(packed, moved)
    joined = ["--run", str(tmp_path / "joined"), "--pack", str(moved)]
    gpu.main(["join", str(tmp_path / "b"), *joined, "--set", "loop.checkpoint_every=77"])
    assert same(newest_checkpoint(tmp_path / "joined"), newest_checkpoint(run))
    assert load_weights(tmp_path / "joined" / "editor.safetensors")[1]["steps"] == steps[1]
    stop_when_logged(gpu, monkeypatch, tmp_path / "joined")
    _train(gpu, moved, tmp_path / "joined", tmp_path / "c", "loop.n_steps=100000", "loop.checkpoint_every=77")
    assert newest_checkpoint(tmp_path / "joined")["n_steps_done"] > steps[1]
    with pytest.raises(SystemExit, match="has gone on to"):
        gpu.main(["join", str(tmp_path / "b"), *joined])


def test_the_timer_interrupts_as_ctrl_c_does(gpu: ModuleType, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), gpu.interrupted_after(0.2):
        time.sleep(60)
    with gpu.interrupted_after(0.2):
        pass
    time.sleep(0.4)  # a timer that is over does nothing
    with pytest.raises(SystemExit, match="before the training had begun"):
        _train(gpu, packed, tmp_path / "run", tmp_path / "back", minutes=0)


def test_damaged_and_missing_parts_are_named(gpu: ModuleType, packed: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    _train(gpu, packed, tmp_path / "run", back, "loop.n_steps=1", more=("--checkpoint",))
    parts = sorted(back.glob("step_000001.pt.part*"))
    assert len(parts) > 1
    joined = ["join", str(back), "--run", str(tmp_path / "joined"), "--pack", str(packed)]
    data = bytearray(parts[0].read_bytes())
    data[100] ^= 1
    parts[0].write_bytes(data)
    with pytest.raises(SystemExit, match="part01 is damaged"):
        gpu.main(joined)
    assert not list_checkpoints(tmp_path / "joined")
    parts[0].unlink()
    with pytest.raises(SystemExit, match=r"parts are missing: step_000001\.pt\.part01"):
        gpu.main(joined)


def test_start_weights_are_packed_and_taken(gpu: ModuleType, packed: Path, sets: list[Path], tmp_path: Path) -> None:
    _train(gpu, packed, tmp_path / "run", tmp_path / "back", "loop.n_steps=2")
    tensors, metadata = load_weights(tmp_path / "back" / "editor.safetensors")
    save_weights(tmp_path / "full.safetensors", tensors, metadata)
    pack = tmp_path / "pack"
    gpu.main(
        [
            "pack",
            str(pack),
            *_data(sets[:1]),
            *SMALL,
            "--mb",
            "1.4",
            "--init",
            str(tmp_path / "full.safetensors"),
            "--format",
            "webp",
        ]
    )
    assert (pack / "start.safetensors").stat().st_size < 0.75 * (tmp_path / "full.safetensors").stat().st_size
    _train(gpu, pack, tmp_path / "next", tmp_path / "next-back", "loop.n_steps=1", "optimizer.lr_generator=0")
    after, _ = load_weights(tmp_path / "next-back" / "editor.safetensors")
    assert all(np.allclose(after[name], tensors[name], atol=2e-3) for name in tensors)


def test_too_small_a_budget_and_a_full_folder_are_refused(
    gpu: ModuleType, sets: list[Path], packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="holds no group of"):
        gpu.main(["pack", str(tmp_path / "small"), *_data(sets), *SMALL, "--mb", "0.3"])
    with pytest.raises(SystemExit, match="holds other files"):
        gpu.main(["pack", str(packed), *_data(sets)])


def test_what_is_missing_is_named(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("pydantic", "PIL") else find(name))
    with pytest.raises(SystemExit, match="missing here: pillow, pydantic;"):
        gpu.check_modules()


@pytest.mark.slow
def test_training_needs_nothing_that_is_not_listed(gpu: ModuleType, packed: Path, tmp_path: Path) -> None:
    """Everything that the project depends on and the script does not list cannot be imported here."""
    places = ["--pack", str(packed), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    arguments = ["gpu.py", "train", *places, *_settings("loop.n_steps=1")]
    code = f"""
import sys
others = {{"typer", "dlib", "defusedxml", "matplotlib", "scipy", "torchmetrics", "anny", "embreex", "onnxruntime"}}
for name in others - set({sorted(gpu.NEEDED)!r}):
    sys.modules[name] = None  # importing it fails
sys.argv = {arguments!r}
import runpy
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "finished 1 steps" in done.stdout, done.stderr
