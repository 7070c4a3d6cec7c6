"""StarGAN v2's training: four updates, what each may change, resume with the falling diversity, own light, domains, export."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.face_sets import make_face_set
from tests.train.tasks import InterruptAt, same
from torch import Tensor
from torch.nn import functional as F

from legan.core.config import load_config
from legan.core.errors import ConditionError, ConfigError
from legan.core.weights import load_weights
from legan.editing.editor import load_editor
from legan.models.editors import Codes, load_networks
from legan.models.starganv2 import Mapping, StarGANv2Generator, mean_styles
from legan.train.recipes import RECIPES, export_run
from legan.train.run_folder import newest_checkpoint
from legan.train.starganv2 import (
    PRESETS,
    StarGANv2LossConfig,
    StarGANv2Task,
    StarGANv2TrainingConfig,
    build_starganv2,
    diversity_weight,
)

CPU = torch.device("cpu")
TINY = [
    *("network.size=32", "network.width=4", "network.max_width=8", "network.n_style=5", "network.n_hidden=6"),
    *("loop.n_steps=12", "loop.log_every=1", "loop.sample_every=6", "loop.checkpoint_every=100", "data.batch_size=4"),
]


def tiny(*overrides: str, data: Path | None = None) -> StarGANv2TrainingConfig:
    config = load_config(StarGANv2TrainingConfig, overrides=[*TINY, *overrides], base=PRESETS["lite"])
    return replace(config, data=replace(config.data, folders=(str(data),))) if data else config


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_set(tmp_path_factory.mktemp("data") / "drawn", n_identities=10)


@pytest.fixture(scope="module")
def batch(faces: Path) -> dict[str, Tensor]:
    return dict(build_starganv2(tiny(data=faces), CPU)[1](0, 0, 1))


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert RECIPES["starganv2"].train("lite", [faces], folder, TINY).finished
    return folder


def step_once(task: StarGANv2Task, batch: dict[str, Tensor], step: int = 0) -> list[tuple[str, set[str], dict[str, Tensor]]]:
    """Run a step as the loop does; for each update its network, the networks that it changed, and its logs."""
    nets = {"generator": task.generator, "mapping": task.mapping, "encoder": task.encoder, "discriminator": task.discriminator}
    done = []
    torch.manual_seed(step)
    for update in task.updates(batch, step):
        before = {name: [p.clone() for p in net.parameters()] for name, net in nets.items()}
        optimizer = task.optimizers[update.net]
        optimizer.zero_grad(set_to_none=True)
        update.loss.backward(inputs=list(task.networks[update.net].parameters()))
        optimizer.step()
        changed = {n for n, net in nets.items() if not all(map(torch.equal, before[n], net.parameters()))}
        done.append((update.net, changed, dict(update.logs)))
    return done


def test_a_run_leaves_what_it_promises(run: Path, faces: Path) -> None:
    assert load_config(StarGANv2TrainingConfig, run / "config.toml") == tiny(data=faces.resolve())
    with Image.open(run / "samples" / "step_000012.png") as image:
        assert image.width == 13 * 32
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    names = {"discriminator/noise", "discriminator/reference", "generator/noise_cycle", "generator/reference_style"}
    assert names <= lines[1].keys() and any("val/drawn/l1" in line for line in lines)
    weights = [line["generator/diversity_weight"] for line in lines if "generator/diversity_weight" in line]
    assert weights == pytest.approx([1 - step / 12 for step in range(12)]), "it falls to nothing"


def test_five_steps_resumed_for_seven_equal_twelve(
    run: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, and the diversity weight goes on falling from where it was."""

    def interrupted(config: StarGANv2TrainingConfig, device: torch.device):
        task, batches = build_starganv2(config, device)
        return task, InterruptAt(batches, 4)

    parts = tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "starganv2", replace(RECIPES["starganv2"], build=interrupted))
        assert RECIPES["starganv2"].train("lite", [faces], parts, TINY).n_steps_done == 5
    assert RECIPES["starganv2"].train("lite", [faces], parts, TINY).finished
    assert same(newest_checkpoint(run), newest_checkpoint(parts))
    weights = [
        [line["generator/diversity_weight"] for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
         if "generator/diversity_weight" in line]
        for folder in (run, parts)
    ]  # fmt: skip
    assert weights[0] == weights[1] and len(weights[0]) == 12


def test_diversity_weight_by_hand() -> None:
    weights = StarGANv2LossConfig(diversity=2.0, diversity_fraction=0.5)
    assert [diversity_weight(step, 100, weights) for step in (0, 25, 50, 99)] == [2, 1, 0, 0]
    assert diversity_weight(0, 100, StarGANv2LossConfig(diversity_fraction=0.0)) == 0
    # As published: a hundred thousand steps that each take 1e-5 off.
    published = PRESETS["paper"]
    assert diversity_weight(40_000, published.loop.n_steps, published.loss) == pytest.approx(1 - 40_000 * 1e-5)


def test_four_updates_and_what_each_may_change(batch: dict[str, Tensor]) -> None:
    done = step_once(StarGANv2Task(tiny(), CPU), batch)
    assert [net for net, _, _ in done] == ["discriminator", "discriminator", "translator", "generator"]
    together = {"generator", "mapping", "encoder"}
    assert [changed for _, changed, _ in done] == [{"discriminator"}, {"discriminator"}, together, {"generator"}]
    assert "discriminator/penalty" in done[0][2] and "discriminator/penalty" in done[1][2]
    _, _, logs = step_once(StarGANv2Task(tiny(), CPU), batch, step=1)[0]
    assert "discriminator/penalty" not in logs, "every eighth step"


def test_one_optimizer_moves_the_generator_in_both_its_updates(batch: dict[str, Tensor]) -> None:
    task = StarGANv2Task(tiny(), CPU)
    step_once(task, batch)
    state = task.optimizers["generator"].state_dict()["state"]
    n_generator = len(list(task.generator.parameters()))
    assert [entry["step"].item() for entry in state.values()] == [2.0] * n_generator + [1.0] * (len(state) - n_generator)
    rates = [group["lr"] for group in task.optimizers["translator"].param_groups]
    assert rates == [4e-4, 2e-5, 4e-4], "the mapping network learns slowly"


def test_terms_by_hand(batch: dict[str, Tensor]) -> None:
    """The first and the third update against their equations, written anew."""
    task = StarGANv2Task(tiny("precision=fp32", "channels_last=false"), CPU)
    x = batch["x_real"]
    own = batch["expression_src"].argmax(1) * 20 + batch["lighting_src"].argmax(1)
    target = batch["expression_trg"].argmax(1) * 20 + batch["lighting_trg"].argmax(1)
    torch.manual_seed(0)
    z = torch.randn(2, 4, 16)
    g, f, e, d = task.generator, task.mapping, task.encoder, task.discriminator
    with torch.no_grad():
        s, s2 = f(z[0], target), f(z[1], target)
        fake, fake2 = g(x, s), g(x, s2)
        one, zero = torch.ones(4), torch.zeros(4)
        expected = F.binary_cross_entropy_with_logits(d(x, own), one) + F.binary_cross_entropy_with_logits(
            d(fake, target), zero
        )
        style, diversity = (e(fake, target) - s).abs().mean(), (fake - fake2).abs().mean()
        cycle = (g(fake, e(x, own)) - x).abs().mean()
    x_grad = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(d(x_grad, own)[:2].sum(), x_grad)
    penalty = gradient[:2].square().sum((1, 2, 3)).mean()

    torch.manual_seed(0)
    updates = task.updates(batch, 0)
    first = next(updates)
    torch.testing.assert_close(first.logs["discriminator/noise"], expected)
    torch.testing.assert_close(first.logs["discriminator/penalty"], penalty)
    torch.testing.assert_close(first.loss, expected + 4 * penalty)
    next(updates)
    third = next(updates)
    found = [third.logs[f"generator/noise_{name}"] for name in ("style", "diversity", "cycle")]
    for term, by_hand in zip(found, (style, diversity, cycle), strict=True):
        torch.testing.assert_close(term, by_hand)
    torch.testing.assert_close(third.loss, third.logs["generator/noise_adversarial"] + style - diversity + cycle)


def test_faces_under_their_own_light(batch: dict[str, Tensor]) -> None:
    """They are left out of the reals, not of what the generator learns from."""
    own = {**batch, "lighting_src": batch["lighting_src"].clone()}
    own["lighting_src"][:2] = 0

    def first(data: dict[str, Tensor], domains: str = "pair") -> dict[str, Tensor]:
        torch.manual_seed(0)
        task = StarGANv2Task(tiny(f'network.domains="{domains}"', "precision=fp32"), CPU)
        return {f"{n}{k}": v for k, (_, _, logs) in enumerate(step_once(task, data)) for n, v in logs.items()}

    torch.manual_seed(0)
    task = StarGANv2Task(tiny("precision=fp32"), CPU)
    domain = batch["expression_src"].argmax(1) * 20 + batch["lighting_src"].argmax(1)
    real = task.discriminator(batch["x_real"], domain)[2:]
    logs = first(own)
    fake_part = first(batch)["discriminator/noise0"] - F.softplus(-task.discriminator(batch["x_real"], domain)).mean()
    torch.testing.assert_close(logs["discriminator/noise0"], F.softplus(-real).mean() + fake_part, atol=1e-4, rtol=1e-4)
    assert logs["generator/noise_cycle2"].isfinite()
    by_expression = first(own, "expression"), first(batch, "expression")
    assert by_expression[0]["discriminator/noise0"] == by_expression[1]["discriminator/noise0"], "light plays no part there"

    none = {**batch, "lighting_src": torch.zeros_like(batch["lighting_src"])}
    logs = first(none)
    assert "discriminator/penalty0" not in logs and all(torch.as_tensor(value).isfinite() for value in logs.values())


def test_averages_of_all_three(batch: dict[str, Tensor]) -> None:
    task = StarGANv2Task(tiny(), CPU)
    before = {name: next(net.parameters()).clone() for name, net in task.ema.items()}
    with torch.no_grad():
        for net in task.networks["translator"].values():
            next(net.parameters()).add_(1)
    task.after_step(0)
    for name, net in task.ema.items():
        torch.testing.assert_close(next(net.parameters()), before[name] + 1 - 2 / 11)


@pytest.mark.parametrize("domains", ["expression", "lighting"])
def test_domains_of_one_attribute(domains: str, faces: Path, tmp_path: Path) -> None:
    words = [*TINY, f"network.domains={domains}", "loop.n_steps=2", "loop.sample_every=2"]
    run, out = tmp_path / "run", tmp_path / "editor.safetensors"
    assert RECIPES["starganv2"].train("lite", [faces], run, words).finished
    export_run(run, out)
    networks, x = load_networks(out, precision="fp32"), torch.rand(2, 3, 32, 32) * 2 - 1
    other = "lighting" if domains == "expression" else "expression"
    named = {"expression": "smile", "lighting": "left"}
    codes = networks.target_codes(x, *(named[name] if name == domains else None for name in ("expression", "lighting")))
    assert networks.translate(x, codes).image.shape == x.shape
    with pytest.raises(ConditionError, match=f"do not change the {other}: leave it out"):
        networks.target_codes(x, "smile", "left")
    with pytest.raises(ConditionError, match="cannot tell a face's own"):
        networks.target_codes(x, None, None)


def test_export_is_an_editor_like_any_other(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "v2.safetensors"
    metadata = export_run(run, out)
    tensors, stored = load_weights(out)
    assert stored == metadata and metadata["model"] == "starganv2" and metadata["generator"]["domains"] == "pair"
    assert metadata["data"] == "drawn: 8 people, 192 images" and str(run.parent) not in json.dumps(metadata)
    assert {name.split(".")[1] for name in tensors} == {"generator", "mapping", "encoder"}

    networks, state, shape = load_networks(out, precision="fp32"), newest_checkpoint(run)["networks"]["ema"], tiny().network
    nets = StarGANv2Generator(shape).eval(), Mapping(shape)
    for net, name in zip(nets, ("generator", "mapping"), strict=True):
        own = {k.removeprefix(f"{name}."): t.half().float() for k, t in state.items() if k.startswith(f"{name}.")}
        net.load_state_dict(own)
    x, codes = torch.rand(3, 3, 32, 32) * 2 - 1, Codes(torch.eye(6)[[0, 1, 5]], torch.eye(20)[[4, 0, 19]])
    with torch.no_grad():
        expected = nets[0](x, mean_styles(nets[1], 120, 16)[[4, 20, 119]]).clamp(-1, 1)
    output = networks.translate(x, codes, batch_size=2)
    torch.testing.assert_close(output.image, expected, atol=1e-4, rtol=1e-4)
    assert output.expression_mask.shape[1] == 0 and networks.size == 32 and networks.critic is None
    editor = load_editor(out)
    assert editor(torch.rand(1, 3, 32, 32), expression="smile", lighting=-45).shape == (1, 3, 32, 32)
    with pytest.raises(ConditionError, match="name both"):
        editor.check("smile", None)


def test_presets_are_the_published_training() -> None:
    paper = PRESETS["paper"]
    loss, rates = paper.loss, paper.optimizer
    assert (loss.adversarial, loss.style, loss.diversity, loss.diversity_fraction, loss.cycle) == (1, 1, 1, 1, 1)
    assert (loss.penalty, loss.penalty_every, loss.penalty_fraction) == (0.5, 1, 1)
    assert (rates.lr, rates.lr_mapping, rates.betas, rates.weight_decay, rates.ema_decay) == (
        1e-4,
        1e-6,
        (0, 0.99),
        1e-4,
        0.999,
    )
    assert (paper.data.batch_size, paper.loop.n_steps, paper.network.width * paper.network.size) == (8, 100_000, 2**14)
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        RECIPES["starganv2"].configure("light", [], Path())
    with pytest.raises(ConfigError, match=r"network\.domains"):
        tiny("network.domains=pairs")
