"""An editor as ONNX: what onnxruntime makes of the file, what it says about itself, and what is refused."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from legan.core.errors import ConfigError, WeightsError
from legan.editing import onnx as onnx_file
from legan.editing.onnx import export_onnx
from legan.models.editors import load_networks


@pytest.mark.parametrize("n", [1, 5])
def test_onnxruntime_gives_the_networks_image(n: int, tiny_onnx: Path, tiny_editor: Path) -> None:
    random = torch.Generator().manual_seed(n)
    x = torch.rand(n, 3, 128, 128, generator=random) * 2 - 1
    expression, lighting = (torch.rand(n, k, generator=random).softmax(1) for k in (6, 20))
    expected = load_networks(tiny_editor).generator(x, expression, lighting).image
    session = onnxruntime.InferenceSession(tiny_onnx)
    inputs = {"image": x.numpy(), "expression": expression.numpy(), "lighting": lighting.numpy()}
    (edited,) = session.run(["edited"], inputs)
    assert edited.shape == (n, 3, 128, 128) and edited.dtype == np.float32
    assert np.abs(edited - expected.numpy()).max() < 1e-3
    assert np.abs(edited - x.numpy()).max() > 0.1  # it did edit


def test_the_file_says_what_it_is(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    onnx.checker.check_model(model)
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["legan"]["licence"] == "CC0-1.0" and facts["legan"]["steps"] == 7
    assert facts["expressions"][1] == "smile" and len(facts["lightings"]) == 20
    assert facts["lightings"][4] == {"name": "04", "azimuth": -45.0, "elevation": 3.0}


def test_an_image_that_differs_leaves_no_file(tiny_onnx: Path, tiny_editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another editor's network under this one's name.
    monkeypatch.setattr(onnx_file, "_as_onnx", lambda networks: tiny_onnx.read_bytes())
    networks = load_networks(tiny_editor)
    with torch.no_grad():
        networks.generator.translate.out.weight.mul_(2)
    monkeypatch.setattr(onnx_file, "load_crop_editor", lambda source, known_faults: networks)
    out = tiny_onnx.with_name("other.onnx")
    with pytest.raises(WeightsError, match=r"other.onnx was not written: onnxruntime's image differs .* by \d"):
        export_onnx(tiny_editor, out)
    assert not out.exists()


def test_wrong_names_and_sources(
    tmp_path: Path, tiny_editor: Path, tiny_quality: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match=r"a name that ends in \.onnx"):
        export_onnx(tiny_editor, tmp_path / "editor.bin")
    with pytest.raises(WeightsError, match="holds no editor"):
        export_onnx(tiny_quality, tmp_path / "editor.onnx")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("legan.train.recipes.export_run", lambda run, out, faults: {"quality": {}})
    with pytest.raises(WeightsError, match="run is not a run of an editor"):
        export_onnx(tmp_path / "run", tmp_path / "editor.onnx")
    find = onnx_file.find_spec
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(WeightsError, match=r"needs onnxscript: install with `pip install legan\[onnx\]`"):
        export_onnx(tiny_editor, tmp_path / "editor.onnx")
    assert not list(tmp_path.rglob("*.onnx"))


def test_faults_belong_to_runs(tiny_editor: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is exported already, with its faults: leave --fault out"):
        export_onnx(tiny_editor, tmp_path / "e.onnx", ["pale lids"])


def test_an_editor_that_keeps_becomes_a_file_that_keeps(keeping_editor: Path, tmp_path: Path) -> None:
    export_onnx(keeping_editor, tmp_path / "keeping.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "keeping.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 128, 128)).astype(np.float32)
    zeros = {"expression": np.zeros((2, 6), np.float32), "lighting": np.zeros((2, 20), np.float32)}
    (kept,) = session.run(None, {"image": x, **zeros})
    np.testing.assert_allclose(kept, x, atol=1e-5)
    # The network itself still draws after it was exported.
    codes = torch.eye(6)[:2], torch.eye(20)[:2]
    assert not torch.equal(load_networks(keeping_editor).generator(torch.from_numpy(x), *codes).image, torch.from_numpy(x))
