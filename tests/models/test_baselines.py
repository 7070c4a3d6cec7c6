"""StarGAN and StarGAN v2 as editors: one loader, one interface, and what they do not have."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from legan.core.config import config_to_dict
from legan.core.errors import ConditionError, WeightsError
from legan.core.weights import load_weights, save_weights
from legan.editing.editor import load_editor
from legan.editing.folders import edit_files
from legan.editing.grid import make_grid
from legan.models.editors import Networks, load_networks
from legan.models.stargan import StarGANCritic, StarGANCriticConfig, StarGANGenerator, StarGANGeneratorConfig
from legan.models.starganv2 import Mapping, StarGANv2Config, StarGANv2Generator
from legan.requests import EditRequest

GENERATOR, CRITIC = StarGANGeneratorConfig(width=4, n_residual=1), StarGANCriticConfig(width=4, n_layers=5)
V2 = StarGANv2Config(width=4, max_width=8, n_style=5, n_hidden=6)
WEIGHTS = ("stargan", "starganv2")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of tiny editors of both kinds."""
    torch.manual_seed(0)
    nets = {
        "stargan": {"generator": StarGANGenerator(GENERATOR), "critic": StarGANCritic(CRITIC)},
        "starganv2": {"generator.generator": StarGANv2Generator(V2), "generator.mapping": Mapping(V2)},
    }
    configs = {"stargan": {"generator": GENERATOR, "critic": CRITIC}, "starganv2": {"generator": V2}}
    paths = {}
    for model in WEIGHTS:
        paths[model] = tmp_path_factory.mktemp("weights") / f"{model}.safetensors"
        tensors = {f"{part}.{name}": t for part, net in nets[model].items() for name, t in net.state_dict().items()}
        shapes = {name: config_to_dict(config) for name, config in configs[model].items()}
        save_weights(paths[model], tensors, {"model": model, "steps": 7, **shapes}, half=True)
    return paths


@pytest.mark.parametrize("model", WEIGHTS)
def test_photos_are_edited_as_with_any_editor(
    model: str, weights: dict[str, Path], photo: Path, tmp_path: Path, known_faces: Callable[..., None]
) -> None:
    editor = load_editor(weights[model])
    assert isinstance(editor.networks, Networks) and editor.networks.size == 128 and editor.metadata["steps"] == 7
    edits = [
        editor(photo, expression=name, lighting=light).image for name, light in (("smile", -45), ("scream", -45), ("smile", 30))
    ]
    assert all(edit.size == (320, 200) for edit in edits)
    assert len({edit.tobytes() for edit in edits}) == 3, "both conditions are heard"
    assert editor(photo, expression="smile", lighting=-45).fields == (), "colours are predicted: the crop is pasted back"
    half = editor(photo, expression="smile", lighting=-45, strength=0.5).image
    assert half.tobytes() not in {edit.tobytes() for edit in edits}
    report = edit_files(editor, [photo], tmp_path / "out.png", EditRequest(expression="smile", lightings=("left",)))
    assert report.n_edited == 1 and (tmp_path / "out.png").is_file()
    grid = make_grid(editor, editor.prepare(photo), ("left",))
    assert grid.width > 256


@pytest.mark.parametrize("model", WEIGHTS)
def test_there_are_no_masks(
    model: str, weights: dict[str, Path], photo: Path, tmp_path: Path, known_faces: Callable[..., None]
) -> None:
    editor, choice = load_editor(weights[model]), EditRequest(expression="smile", lightings=("left",), masks=True)
    with pytest.raises(ConditionError, match=r"these weights make no masks.* leave --masks out"):
        edit_files(editor, [photo], tmp_path / "out.png", choice)
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(ConditionError, match="makes no masks"):
        editor(photo, expression="smile", lighting="left").mask_images()


def test_stargan_tells_a_face_s_own_condition_and_v2_cannot(weights: dict[str, Path]) -> None:
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    networks = load_networks(weights["stargan"])
    codes = networks.target_codes(x, "smile", None)
    assert codes.expression[:, 1].tolist() == [1, 1] and torch.allclose(codes.lighting.sum(1), torch.ones(2))
    assert not torch.equal(codes.lighting[0], codes.lighting[1])
    with pytest.raises(ConditionError, match="name both an expression and a lighting"):
        load_networks(weights["starganv2"]).target_codes(x, "smile", None)


@pytest.mark.parametrize("model", WEIGHTS)
def test_batch_size_does_not_change_the_edit(model: str, weights: dict[str, Path]) -> None:
    networks, x = load_networks(weights[model]), torch.rand(3, 3, 128, 128) * 2 - 1
    codes = networks.target_codes(x, "smile:0.5", 20)
    one, all_at_once = networks.translate(x, codes, batch_size=1).image, networks.translate(x, codes, batch_size=3).image
    torch.testing.assert_close(one, all_at_once, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", WEIGHTS)
def test_files_that_do_not_fit(model: str, weights: dict[str, Path], tmp_path: Path) -> None:
    tensors, metadata = load_weights(weights[model])
    wider = {**metadata, "generator": {**metadata["generator"], "width": 8}}
    save_weights(tmp_path / "wider.safetensors", tensors, wider)
    with pytest.raises(WeightsError, match=r"do not fit its config .* export the weights again"):
        load_networks(tmp_path / "wider.safetensors")
    save_weights(tmp_path / "new.safetensors", tensors, {**metadata, "model": f"{model}3"})
    with pytest.raises(WeightsError, match=f"unknown kind '{model}3'; did you mean '{model}'"):
        load_networks(tmp_path / "new.safetensors")
