"""Weights: safetensors in and out, and what is refused."""

import pickle
from pathlib import Path

import pytest
import torch

from legan.core.errors import WeightsError
from legan.core.weights import load_metadata, load_weights, packaged, save_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor([1, 2])}


@pytest.mark.parametrize("half", [False, True])
def test_round_trip(tmp_path: Path, half: bool) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, TENSORS, {"steps": 3}, half=half)
    tensors, metadata = load_weights(path)
    assert metadata == load_metadata(path) == {"steps": 3}
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_same_tensors_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_weights(tmp_path / name, TENSORS, {"x": 1, "y": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("the pickle was opened",))

    (tmp_path / "p").write_bytes(pickle.dumps(Bomb()))
    torch.save(TENSORS, tmp_path / "t")
    for name in "pt":
        with pytest.raises(WeightsError, match="pickle"):
            load_weights(tmp_path / name)


@pytest.mark.parametrize("n_bytes", [0x280, 0x380, 0x480, 0x580, 0x10280])
def test_headers_whose_length_looks_like_a_pickle(tmp_path: Path, n_bytes: int) -> None:
    save_weights(tmp_path / "w", TENSORS, {"x": ""})
    missing = n_bytes - int.from_bytes((tmp_path / "w").read_bytes()[:8], "little")
    save_weights(tmp_path / "w", TENSORS, {"x": missing * "x"})
    assert int.from_bytes((tmp_path / "w").read_bytes()[:8], "little") == n_bytes
    assert len(load_weights(tmp_path / "w")[1]["x"]) == missing


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", TENSORS, {})
    whole = (tmp_path / "w").read_bytes()
    for data in (b"", b"text, no weights at all", whole[:20], whole[:-4]):
        (tmp_path / "w").write_bytes(data)
        with pytest.raises(WeightsError):
            load_weights(tmp_path / "w")
    with pytest.raises(WeightsError, match="does not exist"):
        load_weights(tmp_path / "none")
    with pytest.raises(WeightsError, match="package holds no"):
        packaged("no-such-weights")
