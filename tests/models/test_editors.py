"""Weights of editors: what is read, what is refused, and codes of conditions that are left out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from legan.core.conditions import expression_code, lighting_code
from legan.core.config import config_to_dict
from legan.core.errors import ConditionError, ConfigError, WeightsError
from legan.core.files import sha256_of
from legan.core.light import LightSetup
from legan.core.weights import load_weights, save_weights
from legan.models.editors import CachedNetworks, Codes, load_networks
from legan.models.generator import GeneratorConfig

LEVEL = 0.05 / 127.5  # a twentieth of a grey level: batches of other sizes add in another order


def crops(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_what_the_file_holds(tiny_editor: Path) -> None:
    networks = load_networks(tiny_editor)
    assert networks.metadata["steps"] == 7
    assert networks.checksum == sha256_of(tiny_editor)
    tensors, _ = load_weights(tiny_editor)
    for name, tensor in networks.generator.state_dict().items():
        assert torch.equal(tensor, tensors[f"generator.{name}"])
    assert networks.critic is not None and not networks.critic.training and not networks.generator.training


def test_batch_size_does_not_change_the_edit(tiny_editor: Path) -> None:
    networks = load_networks(tiny_editor)
    codes = networks.target_codes(crops(5), "smile", -45)
    one, all_at_once = networks.translate(crops(5), codes, batch_size=1), networks.translate(crops(5), codes, batch_size=5)
    assert one.light_gain is None and all_at_once.light_gain is None, "of this editor light is no part of its own"
    for name in ("image", "expression_mask", "lighting_mask", "displacement", "gain", "bias"):
        assert torch.allclose(getattr(one, name), getattr(all_at_once, name), atol=LEVEL), name
    assert torch.equal(all_at_once.image, networks.translate(crops(5), codes, batch_size=5).image), "twice the same"


def test_named_conditions_are_the_core_codes(tiny_editor: Path) -> None:
    codes = load_networks(tiny_editor).target_codes(crops(2), "smile:0.7", (-45, 20))
    for row in range(2):
        assert np.array_equal(codes.expression[row].numpy(), expression_code("smile:0.7"))
        assert np.array_equal(codes.lighting[row].numpy(), lighting_code((-45, 20)))


def test_a_condition_left_out_is_the_critics_view(tiny_editor: Path) -> None:
    networks = load_networks(tiny_editor)
    assert networks.critic is not None
    with torch.no_grad():
        logits = networks.critic(crops())
    codes = networks.target_codes(crops(), None, "left")
    assert torch.allclose(codes.expression, logits.expression.exp() / logits.expression.exp().sum(1, keepdim=True), atol=1e-6)
    assert torch.equal(codes.lighting[0], torch.from_numpy(lighting_code("left")))
    own = networks.target_codes(crops(), None, None)
    assert torch.allclose(own.lighting.sum(1), torch.ones(3)) and torch.equal(own.expression, codes.expression)


def test_without_a_critic_both_must_be_named(tiny_generator: Path) -> None:
    networks = load_networks(tiny_generator)
    networks.target_codes(crops(), "smile", "left")
    for expression, lighting in [("smile", None), (None, "left"), (None, None)]:
        with pytest.raises(ConditionError, match="name both an expression and a lighting"):
            networks.target_codes(crops(), expression, lighting)


def test_files_that_hold_no_editor(tmp_path: Path, tiny_editor: Path) -> None:
    tensors, metadata = load_weights(tiny_editor)
    save_weights(tmp_path / "other.safetensors", {"w": torch.zeros(3)}, {})
    with pytest.raises(WeightsError, match="holds no editor: give a file that `legan export` wrote"):
        load_networks(tmp_path / "other.safetensors")
    torch.save(tensors, tmp_path / "pickle.pt")
    with pytest.raises(WeightsError, match="is a pickle"):
        load_networks(tmp_path / "pickle.pt")
    wider = {**metadata, "generator": {**config_to_dict(GeneratorConfig()), "width": 8}}
    save_weights(tmp_path / "wider.safetensors", tensors, wider)
    with pytest.raises(WeightsError, match=r"do not fit its config .* export the weights again"):
        load_networks(tmp_path / "wider.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        load_networks(tmp_path / "nothing.safetensors")


def test_unknown_device(tiny_editor: Path) -> None:
    with pytest.raises(ConfigError, match="device 'toaster' is not available here: choose cpu"):
        load_networks(tiny_editor, "toaster")


def test_codes_are_rows_for_each_crop(tiny_editor: Path) -> None:
    networks = load_networks(tiny_editor)
    smile, scream = (torch.from_numpy(expression_code(name)) for name in ("smile", "scream"))
    light = torch.from_numpy(lighting_code("front"))
    x = crops(1).expand(2, -1, -1, -1)
    both = networks.translate(x, Codes(torch.stack([smile, scream]), torch.stack([light, light]))).image
    alone = networks.translate(x[:1], Codes(scream[None], light[None])).image
    assert torch.allclose(both[1:], alone, atol=LEVEL) and not torch.allclose(both[0], both[1], atol=1e-3)


def test_bfloat16_changes_next_to_nothing() -> None:
    x = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codes = Codes(torch.eye(6)[:3], torch.eye(20)[:3])
    exact, fast = (load_networks(precision=precision).translate(x, codes) for precision in ("fp32", "bf16"))
    assert exact.image.dtype == fast.image.dtype == torch.float32 and not torch.equal(exact.image, fast.image)
    assert (exact.image - fast.image).abs().mean() < 5e-3
    with pytest.raises(ConfigError, match="unknown precision 'half'"):
        load_networks(precision="half")


def test_kept_outputs_are_those_of_the_networks_and_are_computed_once(
    tiny_editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = load_networks(tiny_editor)
    runs: list[int] = []
    plain = type(networks).translate

    def counted(self: object, x: torch.Tensor, codes: Codes, batch_size: int = 16) -> object:
        runs.append(len(x))
        return plain(self, x, codes, batch_size)  # type: ignore[arg-type]

    soft = LightSetup.parse("-50,20", ambient=0.3, softness=30, colour="3200K")
    wishes = [("smile", -45), ("smile", soft), ("smile:0.5", "room")]
    expected = [networks.translate(crops(2), networks.target_codes(crops(2), *wish)) for wish in wishes]
    cached = CachedNetworks(networks, n_outputs=64)
    monkeypatch.setattr(networks, "translate", counted.__get__(networks))
    for wish, one in zip(wishes, expected, strict=True):
        kept = cached.translate(crops(2), cached.target_codes(crops(2), *wish))
        for name in ("image", "expression_mask", "lighting_mask", "displacement", "gain", "bias"):
            assert torch.allclose(getattr(kept, name), getattr(one, name), atol=LEVEL), (wish, name)
    # One run for each plain light, one for all classes of the mixture but the one that is known.
    n_classes = 1 + len(soft.in_classes().classes)
    assert runs == [2, 2 * (n_classes - 1), 2]
    warm = LightSetup.parse("-50,20", ambient=0.1, softness=30, colour="2500K")
    cached.translate(crops(2), cached.target_codes(crops(2), "smile", warm))
    assert len(runs) == 3, "another colour of the same lamp needs no network"
    cached.translate(crops(2) * 0.9, cached.target_codes(crops(2), "smile", -45))
    assert len(runs) == 4, "other crops do"


def test_no_more_outputs_are_kept_than_asked_for(tiny_editor: Path) -> None:
    cached = CachedNetworks(load_networks(tiny_editor), n_outputs=3)
    for lighting in ("01", "02", "03", "04"):
        cached.translate(crops(1), cached.target_codes(crops(1), "smile", lighting))
    assert len(cached._outputs) == 3
    empty = cached.translate(crops(0), cached.target_codes(crops(0), "smile", "01"))
    assert empty.image.shape == (0, 3, 128, 128)
