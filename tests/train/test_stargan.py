"""StarGAN's training: resume, terms, the game, faces under their own light, Q, learning, export."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.face_sets import make_face_set
from tests.train.tasks import InterruptAt, same
from torch import Tensor

from legan import losses
from legan.core.config import config_to_dict, load_config
from legan.core.errors import ConfigError, DataError, WeightsError
from legan.core.weights import load_weights, save_weights
from legan.data.batches import FaceBatches
from legan.data.faces import FaceDataset
from legan.models.editors import Codes, load_networks
from legan.models.quality import MODEL, QualityConfig, QualityModel
from legan.models.stargan import StarGANGenerator, joint_label
from legan.train.recipes import RECIPES, export_run
from legan.train.run_folder import newest_checkpoint
from legan.train.stargan import PRESETS, StarGANConfig, StarGANTask, build_stargan
from legan.train.task import reseed

CPU = torch.device("cpu")
TINY = [
    *("critic.size=32", "critic.width=4", "critic.n_layers=3", "generator.width=4", "generator.n_residual=1"),
    *("adversarial.n_critic=2", "loop.n_steps=12", "loop.log_every=3", "loop.sample_every=6", "loop.checkpoint_every=100"),
    "data.batch_size=4",
]


def tiny(*overrides: str, name: str = "lite", data: Path | None = None) -> StarGANConfig:
    config = load_config(StarGANConfig, overrides=[*TINY, *overrides], base=PRESETS[name])
    return replace(config, data=replace(config.data, folders=(str(data),))) if data else config


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_set(tmp_path_factory.mktemp("data") / "drawn", n_identities=10)


@pytest.fixture(scope="module")
def batch(faces: Path) -> dict[str, Tensor]:
    return FaceBatches(FaceDataset([faces], "train", size=32), tiny().data, 0)(0, 0, 1)


@pytest.fixture(scope="module")
def q(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, config = tmp_path_factory.mktemp("q") / "q.safetensors", QualityConfig(size=32, width=4, n_layers=3, n_hidden=8)
    torch.manual_seed(0)
    save_weights(path, QualityModel(config).state_dict(), {"model": MODEL, "network": config_to_dict(config)})
    return path


@pytest.fixture(scope="module")
def run(faces: Path, q: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With Q, so that resuming covers it too."""
    folder = tmp_path_factory.mktemp("run") / "run"
    outcome = RECIPES["stargan"].train("lite", [faces], folder, [*TINY, "loss.quality=1", f"quality={q}"])
    assert str(outcome) == f"finished 12 steps in {folder}"
    return folder


def updates(task: StarGANTask, batch: dict[str, Tensor], step: int = 0) -> dict[str, dict[str, Tensor]]:
    return {update.net: {**update.logs, "loss": update.loss} for update in task.updates(batch, step)}


def test_a_run_leaves_what_it_promises(run: Path, faces: Path, q: Path) -> None:
    expected = tiny("loss.quality=1", f"quality={q}", data=faces.resolve())
    assert load_config(StarGANConfig, run / "config.toml") == expected
    with Image.open(run / "samples" / "step_000006.png") as image:
        assert image.width == 13 * 32
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "critic/loss" in line] == [3, 6, 9, 12]
    assert {"critic/penalty", "generator/reconstruction", "generator/quality"} <= lines[0].keys()
    assert any("val/drawn/l1" in line for line in lines)


def test_five_steps_resumed_for_seven_equal_twelve(
    run: Path, faces: Path, q: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: StarGANConfig, device: torch.device):
        task, batches = build_stargan(config, device)
        return task, InterruptAt(batches, 4)

    words = [*TINY, "loss.quality=1", f"quality={q}"]
    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "stargan", replace(RECIPES["stargan"], build=interrupted))
        stopped = RECIPES["stargan"].train("lite", [faces], tmp_path / "parts", words)
    assert stopped.n_steps_done == 5
    assert RECIPES["stargan"].train("lite", [faces], tmp_path / "parts", words).finished
    whole, parts = newest_checkpoint(run), newest_checkpoint(tmp_path / "parts")
    assert whole["n_steps_done"] == 12 and same(whole, parts)


def test_changed_data_or_judge_is_noticed_on_resume(faces: Path, q: Path) -> None:
    task, _ = build_stargan(tiny("loss.quality=1", f"quality={q}", data=faces), CPU)
    state = task.extra_state()
    task.load_extra_state(state)
    with pytest.raises(WeightsError, match="quality network has changed"):
        task.load_extra_state({**state, "judges": {}})
    with pytest.raises(DataError, match="data has changed"):
        task.load_extra_state({**state, "data": []})


def test_terms_add_up(batch: dict[str, Tensor]) -> None:
    task = StarGANTask(tiny("loss.classification=2"), CPU)
    logs = updates(task, batch, step=1)
    critic, generator = logs["critic"], logs["generator"]
    expected = critic["critic/adversarial"] + critic["critic/classification"] + 10 * critic["critic/penalty"]
    torch.testing.assert_close(critic["loss"], expected)
    expected = generator["generator/adversarial"] + 2 * generator["generator/classification"]
    torch.testing.assert_close(generator["loss"], expected + 10 * generator["generator/reconstruction"])


def test_terms_by_hand(batch: dict[str, Tensor]) -> None:
    task = StarGANTask(tiny("precision=fp32", "adversarial.penalty=0", "channels_last=false"), CPU)
    logs = updates(task, batch, step=1)
    x, g = batch["x_real"], task.generator
    src, trg = (torch.cat([batch[f"expression_{role}"], batch[f"lighting_{role}"]], 1) for role in ("src", "trg"))
    fake = g(x, trg)
    (real_score, real_logits), (fake_score, fake_logits) = task.critic(x), task.critic(fake)

    def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
        parts = (logits[:, :6].log_softmax(1), label[:, :6]), (logits[:, 6:].log_softmax(1), label[:, 6:])
        return sum(-(log * code).sum(1).mean() for log, code in parts)

    torch.testing.assert_close(logs["critic"]["critic/adversarial"], fake_score.mean() - real_score.mean())
    torch.testing.assert_close(logs["critic"]["critic/classification"], cross_entropy(real_logits, src))
    generator = logs["generator"]
    torch.testing.assert_close(generator["generator/adversarial"], -fake_score.mean())
    torch.testing.assert_close(generator["generator/classification"], cross_entropy(fake_logits, trg))
    torch.testing.assert_close(generator["generator/reconstruction"], (g(fake, src) - x).abs().mean())


def test_the_generator_waits_for_its_turn(batch: dict[str, Tensor]) -> None:
    task = StarGANTask(tiny("adversarial.n_critic=3"), CPU)
    assert [list(updates(task, batch, step)) for step in range(3)] == [["critic"], ["critic"], ["critic", "generator"]]
    with torch.no_grad():
        task.generator.main[0].weight.add_(1)
    before = task.ema.main[0].weight.clone()
    task.after_step(0)
    assert torch.equal(task.ema.main[0].weight, before)
    task.after_step(2)
    assert not torch.equal(task.ema.main[0].weight, before)


def test_without_an_average_the_last_weights_are_kept(batch: dict[str, Tensor]) -> None:
    task = StarGANTask(tiny(name="paper"), CPU)
    with torch.no_grad():
        task.generator.main[0].weight.add_(1)
    task.after_step(1)
    assert all(torch.equal(a, b) for a, b in zip(task.ema.parameters(), task.generator.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["hinge", "nonsaturating"])
def test_other_games(kind: str, batch: dict[str, Tensor]) -> None:
    task = StarGANTask(tiny(f"adversarial.kind={kind}", "adversarial.penalty_every=2"), CPU)
    assert updates(task, batch, 0)["critic"]["critic/penalty"] >= 0
    assert "critic/penalty" not in updates(task, batch, 1)["critic"]


def test_faces_under_their_own_light_teach_no_lighting(batch: dict[str, Tensor]) -> None:
    own = {**batch, "lighting_src": torch.zeros_like(batch["lighting_src"])}
    task = StarGANTask(tiny("adversarial.penalty=0"), CPU)
    (critic,) = (update for update in task.updates(own, 0) if update.net == "critic")
    (gradient,) = torch.autograd.grad(critic.logs["critic/classification"], task.critic.conv2.weight)
    assert gradient[:6].any() and not gradient[6:].any()
    reconstruction = updates(task, own, 1)["generator"]["generator/reconstruction"]
    assert 0 < reconstruction != updates(task, batch, 1)["generator"]["generator/reconstruction"]


def test_quality_scores_the_first_of_the_batch_where_a_share_is_asked_for(batch: dict[str, Tensor]) -> None:
    class Brightness(torch.nn.Module):
        n_scored = 0

        def forward(self, x: Tensor) -> Tensor:
            self.n_scored = len(x)
            return 5 + x.mean(dim=(1, 2, 3))

    task = StarGANTask(tiny("loss.quality=1", "loss.quality_share=0.5", "precision=fp32"), CPU, scorer := Brightness())
    logs = list(task.updates(batch, step=1))[-1].logs
    with torch.no_grad():
        label = joint_label(batch["expression_trg"], batch["lighting_trg"])
        expected = losses.unnaturalness(scorer(task.generator(batch["x_real"], label)[:2])).mean()
    assert scorer.n_scored == 2 and len(batch["x_real"]) == 4
    torch.testing.assert_close(logs["generator/quality"], expected)


def test_quality_is_one_line_and_what_users_get(batch: dict[str, Tensor], q: Path) -> None:
    from legan.quality.scorer import QualityLoss

    with pytest.raises(ConfigError, match="there is no quality network"):
        StarGANTask(tiny("loss.quality=2"), CPU)
    task = StarGANTask(tiny("loss.quality=2", "precision=fp32"), CPU, QualityLoss(q, value_range=(-1.0, 1.0)).net)
    logs = updates(task, batch, 1)["generator"]
    trg = torch.cat([batch["expression_trg"], batch["lighting_trg"]], 1)
    users = QualityLoss(q, value_range=(-1.0, 1.0))(task.generator(batch["x_real"], trg))
    torch.testing.assert_close(logs["generator/quality"], users)
    parts = logs["generator/adversarial"] + logs["generator/classification"] + 10 * logs["generator/reconstruction"]
    torch.testing.assert_close(logs["loss"], parts + 2 * logs["generator/quality"])
    (gradient,) = torch.autograd.grad(logs["generator/quality"], task.generator.main[0].weight)
    assert gradient.any() and set(task.frozen) == {"quality"} and "quality" not in task.networks
    assert not any(p.requires_grad for p in task.frozen["quality"].parameters())


def test_q_does_not_change_where_a_training_starts(faces: Path, q: Path) -> None:
    starts = []
    for words in ([], ["loss.quality=1", f"quality={q}"]):
        reseed(0, -1)
        starts.append(build_stargan(tiny(*words, data=faces), CPU)[0].generator.state_dict())
    assert same(*starts)


def test_penalty_is_float32_under_bfloat16(batch: dict[str, Tensor]) -> None:
    task = StarGANTask(tiny("precision=bf16"), CPU)
    kinds: list[torch.dtype] = []
    task.critic.conv1.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    for update in task.updates(batch, 1):
        update.loss.backward()
        assert update.loss.dtype == torch.float32
    assert kinds == [torch.bfloat16, torch.bfloat16, torch.float32, torch.bfloat16]


def test_presets_are_the_published_training() -> None:
    paper = PRESETS["paper"]
    game, loss, rates = paper.adversarial, paper.loss, paper.optimizer
    assert (game.kind, game.n_critic, game.penalty, game.penalty_every, game.penalty_fraction) == ("wgan-gp", 5, 10, 1, 1)
    assert (loss.adversarial, loss.classification, loss.reconstruction, loss.quality) == (1, 1, 10, 0)
    assert (rates.lr, rates.lr_critic, rates.betas, rates.decay_fraction) == (1e-4, 1e-4, (0.5, 0.999), 0.5)
    assert paper.data.batch_size == 16 and paper.loop.n_steps == 200_000
    lite = PRESETS["lite"]
    assert (lite.adversarial.kind, lite.adversarial.n_critic, lite.data.pair_probability) == ("wgan-gp", 5, 0)
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        RECIPES["stargan"].configure("light", [], Path())
    with pytest.raises(ConfigError, match="n_labels must be 26"):
        StarGANTask(tiny("generator.n_labels=5"), CPU)


def test_reconstruction_learns(batch: dict[str, Tensor]) -> None:
    torch.manual_seed(0)
    task, seen = StarGANTask(tiny("loss.adversarial=0", "loss.classification=0", "adversarial.n_critic=1"), CPU), []
    optimizer = torch.optim.Adam(task.generator.parameters(), 3e-3)
    for step in range(40):
        for update in task.updates(batch, step):
            if update.net == "generator":
                optimizer.zero_grad()
                update.loss.backward()
                optimizer.step()
                seen.append(update.logs["generator/reconstruction"].item())
    assert seen[-1] < 0.6 * seen[0]


def test_export_is_an_editor_like_any_other(run: Path, tmp_path: Path, q: Path) -> None:
    out = tmp_path / "stargan.safetensors"
    metadata = export_run(run, out)
    tensors, stored = load_weights(out)
    assert stored == metadata and metadata["model"] == "stargan" and metadata["steps"] == 12
    assert metadata["data"] == "drawn: 8 people, 192 images" and metadata["licence"] == "CC0-1.0"
    assert metadata["judges"]["quality"]["file"] == q.name and metadata["training"]["quality"] == q.name
    assert str(run.parent) not in json.dumps(metadata), "no path of this machine"

    networks, state = load_networks(out, precision="fp32"), newest_checkpoint(run)["networks"]
    generator = StarGANGenerator(tiny().generator).eval()
    generator.load_state_dict({name: tensor.half().float() for name, tensor in state["ema"].items()})
    x, codes = torch.rand(3, 3, 32, 32) * 2 - 1, Codes(torch.eye(6)[:3], torch.eye(20)[4:7])
    output = networks.translate(x, codes, batch_size=2)
    with torch.no_grad():
        expected = generator(x, torch.cat([codes.expression, codes.lighting], 1))
    torch.testing.assert_close(output.image, expected, atol=1e-5, rtol=1e-5)
    assert output.expression_mask.shape == output.lighting_mask.shape == (3, 0, 32, 32) and output.displacement is None
    assert networks.size == 32 and not networks.has_masks
    own = networks.own_codes(x)
    assert own.expression.shape == (3, 6) and torch.allclose(own.lighting.sum(1), torch.ones(3))
    assert not any(name.startswith("ema") for name in tensors)
