"""LEGAN's training: resume, loss terms, penalties, learning, export."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.face_sets import make_face_set
from tests.train.tasks import InterruptAt, same
from torch import Tensor, nn

from legan.core.conditions import LIGHTINGS
from legan.core.config import dict_to_config, load_config
from legan.core.errors import ConfigError, DataError, WeightsError
from legan.core.weights import PACKAGED, load_metadata, load_weights, packaged, save_weights
from legan.data.batches import FaceBatches
from legan.data.faces import FaceDataset
from legan.models.editors import load_networks
from legan.models.efficientnet import load_efficientnet
from legan.models.generator import Generator, GeneratorConfig
from legan.models.quality import FeatureQuality, FeatureQualityConfig
from legan.train.config import GANOptimizerConfig
from legan.train.gan import load_identity
from legan.train.legan import PRESETS, LeganConfig, LeganTask, build_legan, paired_gradient, paired_l1, quality_loss
from legan.train.loop import Rehearsal
from legan.train.recipes import RECIPES, export_run
from legan.train.run_folder import newest_checkpoint

CPU = torch.device("cpu")
TINY = [
    *("critic.size=32", "critic.width=4", "critic.n_layers=3"),
    *("generator.width=4", "generator.n_residual=1", "generator.mask_channels=4"),
    # The packaged identity and quality networks would take most of the time.
    *("loss.identity=0", "loss.quality=0"),
    *("loop.n_steps=12", "loop.log_every=3", "loop.sample_every=6", "loop.checkpoint_every=100", "data.batch_size=4"),
]


def tiny(*overrides: str, name: str = "lite", data: Path | None = None) -> LeganConfig:
    config = load_config(LeganConfig, overrides=[*TINY, *overrides], base=PRESETS[name])
    return replace(config, data=replace(config.data, folders=(str(data),))) if data else config


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_set(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="module")
def batch(faces: Path) -> dict[str, Tensor]:
    return FaceBatches(FaceDataset([faces], "train", size=32), tiny().data, 0)(0, 0, 1)


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    outcome = RECIPES["legan"].train("lite", [faces], folder, TINY)
    assert str(outcome) == f"finished 12 steps in {folder}"
    return folder


def updates(task: LeganTask, batch: dict[str, Tensor], step: int = 0) -> dict[str, dict[str, Tensor]]:
    return {update.net: {**update.logs, "loss": update.loss} for update in task.updates(batch, step)}


def test_a_run_leaves_what_it_promises(run: Path, faces: Path) -> None:
    assert load_config(LeganConfig, run / "config.toml") == tiny(data=faces.resolve())
    image = Image.open(run / "samples" / "step_000006.png")
    assert image.width == 13 * 32 and image.height == 2 * 32, "one held-out person: input and 12 edits over the truths"
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "critic/loss" in line] == [3, 6, 9, 12]
    assert {"generator/pair", "generator/gradient", "generator/displacement", "images_per_second"} <= lines[0].keys()
    figures = next(line for line in lines if "val/drawn/l1" in line)
    assert figures["val/drawn/copy_l1"] > 0 and figures["val/drawn/copy_mouth_l1"] > 0
    assert list(run.glob("events.out.tfevents.*"))


def test_five_steps_resumed_for_seven_equal_twelve(
    run: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(config: LeganConfig, device: torch.device):
        task, batches = build_legan(config, device)
        return task, InterruptAt(batches, 4)

    with monkeypatch.context() as patch:
        patch.setitem(RECIPES, "legan", replace(RECIPES["legan"], build=interrupted))
        stopped = RECIPES["legan"].train("lite", [faces], tmp_path / "parts", TINY)
    assert stopped.n_steps_done == 5
    assert RECIPES["legan"].train("lite", [faces], tmp_path / "parts", TINY).finished
    whole, parts = newest_checkpoint(run), newest_checkpoint(tmp_path / "parts")
    assert whole["n_steps_done"] == 12 and same(whole, parts)


def test_changed_data_is_noticed_on_resume(faces: Path, tmp_path: Path) -> None:
    task, _ = build_legan(tiny(data=faces), CPU)
    state = task.extra_state()
    assert state["data"][0]["n_identities"] == 8 and state["data"][0]["licence"] == ["CC0-1.0"]
    task.data = [{**task.data[0], "manifest_sha256": "other"}]
    with pytest.raises(DataError, match="data has changed"):
        task.load_extra_state(state)


def test_export_holds_the_average_and_what_it_was_made_from(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "editor.safetensors"
    metadata = export_run(run, out)
    tensors, stored = load_weights(out)
    assert stored == metadata and metadata["steps"] == 12 and metadata["licence"] == "CC0-1.0"
    assert metadata["data"] == "drawn: 8 people, 192 images" and metadata["training"]["data"]["folders"] == ["drawn"]
    assert str(run.parent) not in json.dumps(metadata), "no path of this machine"
    state = newest_checkpoint(run)["networks"]
    assert not same(state["ema"], state["generator"])
    for name, tensor in state["ema"].items():
        assert torch.equal(tensors[f"generator.{name}"], tensor.half().float())

    networks = load_networks(out)
    ema = Generator(networks.generator.config).eval()
    ema.load_state_dict(state["ema"])
    inputs = torch.rand(2, 3, 32, 32) * 1.6 - 0.8, torch.eye(6)[:2], torch.eye(20)[:2]
    with torch.no_grad():
        torch.testing.assert_close(networks.generator(*inputs).image, ema(*inputs).image, atol=5e-3, rtol=0)
    assert networks.critic is not None


def test_a_training_can_start_from_an_exported_editor(run: Path, faces: Path, tmp_path: Path) -> None:
    weights = tmp_path / "editor.safetensors"
    export_run(run, weights)
    tensors, _ = load_weights(weights)
    task, _ = build_legan(tiny(f"init={weights}", data=faces), CPU)
    task.begin()
    for network, source in (("generator", "generator"), ("ema", "generator"), ("critic", "critic")):
        for name, tensor in task.networks[network].state_dict().items():
            assert torch.equal(tensor, tensors[f"{source}.{name}"]), name
    with pytest.raises(WeightsError, match="leave generator"):
        build_legan(tiny(f"init={weights}", "generator.width=8", data=faces), CPU)[0].begin()
    words = [*TINY, f"init={weights}", "loop.n_steps=1"]
    RECIPES["legan"].train("lite", [faces], tmp_path / "second", words)
    weights.unlink()
    assert RECIPES["legan"].train("lite", [faces], tmp_path / "second", words).finished, (
        "what it started from is not needed again"
    )


def test_export_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a run folder: it has no config\.toml"):
        export_run(tmp_path, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        export_run(tmp_path, tmp_path / "x.pt")


def test_dry_run_writes_nothing(faces: Path, tmp_path: Path) -> None:
    rehearsal = RECIPES["legan"].train("lite", [faces], tmp_path / "run", TINY, dry_run=True)
    assert isinstance(rehearsal, Rehearsal) and rehearsal.n_steps == 12
    assert "pair = 20.0" in str(rehearsal) and "step:" in str(rehearsal)
    assert not list(tmp_path.iterdir())


def test_wrong_names_get_the_nearest_right_one(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lite'"):
        RECIPES["legan"].train("light", [faces], tmp_path)
    with pytest.raises(ConfigError, match="pair"):
        RECIPES["legan"].train("lite", [faces], tmp_path, ["loss.pairs=3"])
    with pytest.raises(DataError, match="no data"):
        RECIPES["legan"].train("lite", [], tmp_path, TINY, dry_run=True)


@pytest.mark.parametrize("kind", ["wgan-gp", "hinge", "nonsaturating"])
def test_kinds_of_game(kind: str, batch: dict[str, Tensor]) -> None:
    task = LeganTask(tiny(f"adversarial.kind={kind}", "adversarial.penalty_every=2"), CPU)
    with_penalty, without = updates(task, batch, 0), updates(task, batch, 1)
    critic = with_penalty["critic"]
    assert torch.isfinite(critic["loss"]) and critic["critic/penalty"] >= 0
    expected = (
        critic["critic/adversarial"]
        + critic["critic/classification"]
        + task.config.adversarial.penalty * critic["critic/penalty"]
    )
    torch.testing.assert_close(critic["loss"], expected)
    assert "critic/penalty" not in without["critic"]


def test_the_generator_waits_for_its_turn(batch: dict[str, Tensor]) -> None:
    task = LeganTask(tiny("adversarial.n_critic=3"), CPU)
    assert [list(updates(task, batch, step)) for step in range(3)] == [["critic"], ["critic"], ["critic", "generator"]]
    with torch.no_grad():
        task.generator.displace.bias.add_(1)
    for step in range(2):
        task.after_step(step)
    assert not task.ema.displace.bias.any(), "the average moves with the generator's updates only"
    task.after_step(2)
    assert task.ema.displace.bias.any()


def test_terms_of_weight_zero_are_not_computed(batch: dict[str, Tensor]) -> None:
    def passes(*overrides: str) -> tuple[int, dict[str, Tensor]]:
        task = LeganTask(tiny(*overrides), CPU)
        calls: list[int] = []
        task.generator.register_forward_hook(lambda *_: calls.append(1))
        logs = updates(task, batch)["generator"]
        return len(calls), logs

    n_passes, logs = passes("loss.reconstruction=0")
    assert n_passes == 1 and "generator/reconstruction" not in logs
    off = (f"loss.{name}=0" for name in ("pair", "gradient", "matching", "bias", "displacement", "landmarks"))
    n_passes, logs = passes("loss.reconstruction=10", *off)
    assert n_passes == 2
    terms = {name.removeprefix("generator/") for name in logs} - {"loss"}
    assert terms == {"adversarial", "classification", "reconstruction"}
    expected = 0.5 * logs["generator/adversarial"] + 0.3 * logs["generator/classification"]
    torch.testing.assert_close(logs["loss"], expected + 10 * logs["generator/reconstruction"])


def test_bias_costs_what_is_added(batch: dict[str, Tensor]) -> None:
    task = LeganTask(tiny("loss.bias=3"), CPU)
    assert updates(task, batch)["generator"]["generator/bias"] == 0, "an untrained lite generator adds nothing"
    with torch.no_grad():
        task.generator.translate.out.bias[12:] = 0.25  # of 3 gains and 3 biases for each of 2x2 pixels, the last half
    assert updates(task, batch)["generator"]["generator/bias"].item() == pytest.approx(0.25)


def test_frozen_networks(batch: dict[str, Tensor]) -> None:
    for name in ("identity", "quality"):
        with pytest.raises(ConfigError, match=f"there is no {name} network"):
            LeganTask(tiny(f"loss.{name}=1"), CPU)
    features = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))
    score = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1), nn.Flatten(0))
    task = LeganTask(tiny("loss.identity=1", "loss.quality=1", "loss.reconstruction=1"), CPU, None, features, score)
    logs = updates(task, batch)["generator"]
    assert 0 <= logs["generator/identity"] < 1e-5, "an untrained lite generator changes nothing"
    logs["loss"].backward()
    assert task.generator.translate.out.weight.grad.any() and features[1].weight.grad is None
    assert set(task.frozen) == {"identity", "quality"} and set(task.networks) == {"generator", "critic", "ema"}


def test_the_packaged_networks_judge_and_are_named(tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "drawn", size=128)
    changes = ("critic.size=128", "loss.identity=1", "loss.quality=1", "data.batch_size=2", "quality=simulated")
    task, batches = build_legan(tiny(*changes, data=data), CPU)
    assert set(task.frozen) == {"identity", "quality"}
    logs = updates(task, batches(0, 0, 1))["generator"]
    assert torch.isfinite(logs["loss"]) and 0 < logs["generator/quality"] < 2
    state = task.extra_state()
    assert (
        state["judges"]["quality"]["file"] == "quality-simulated.safetensors"
        and len(state["judges"]["identity"]["sha256"]) == 64
    )
    task.judges = {}
    with pytest.raises(WeightsError, match="network has changed"):
        task.load_extra_state(state)
    with pytest.raises(WeightsError, match=r"nowhere\.safetensors"):
        build_legan(tiny(*changes, f"quality={tmp_path / 'nowhere.safetensors'}", data=data), CPU)


def test_quality_loss_by_hand() -> None:
    def score(x: Tensor) -> Tensor:
        return x.mean(dim=(1, 2, 3))

    real, fake, rec = (torch.full((2, 3, 4, 4), value) for value in (6.0, 7.5, 5.0))
    forward = 1 / (1 + np.exp(0.4 * 2.5))
    assert quality_loss(score, fake, None, real).item() == pytest.approx(forward)
    assert quality_loss(score, fake, rec, real).item() == pytest.approx(forward + 0.1)


def test_q_on_features_is_shown_other_places_each_time_and_both_of_a_pair_alike() -> None:
    class Shown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.device("meta"):
                self.net = FeatureQuality(FeatureQualityConfig(n_directions=1, n_centres=1))

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 2:6, 2:6].mean(dim=(1, 2, 3))

    score = Shown()
    real, fake = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    first, second = (quality_loss(score, fake, None, real).item() for _ in range(2))
    assert first != second
    torch.manual_seed(0)
    assert quality_loss(score, fake, real.clone(), real).item() == first, "a perfect reconstruction costs nothing"


def test_a_run_keeps_the_name_of_the_fast_q(tmp_path: Path) -> None:
    config = RECIPES["legan"].configure("lite", [tmp_path], tmp_path / "run", ["quality=simulated"])
    assert str(config.quality) == "simulated"


def test_only_a_share_of_known_lights_makes_the_way_back(batch: dict[str, Tensor]) -> None:
    task = LeganTask(tiny("loss.reconstruction_share=0.5"), CPU)
    sizes: list[int] = []
    task.generator.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    updates(task, batch)
    assert sizes == [4, 2]
    known = torch.tensor([0.0, 1.0, 0.0, 0.0])  # the others are under a light of their own
    sizes.clear()
    updates(task, {**batch, "can_return": known})
    assert sizes == [4, 1]
    sizes.clear()
    logs = updates(task, {**batch, "can_return": known * 0})["generator"]
    assert sizes == [4] and "generator/reconstruction" not in logs


def test_only_a_share_is_scored_by_q(batch: dict[str, Tensor]) -> None:
    def score(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x.mean(dim=(1, 2, 3))

    sizes: list[int] = []
    task = LeganTask(tiny("loss.quality=1", "loss.quality_share=0.25", "loss.reconstruction_share=0.5"), CPU, quality=score)
    updates(task, batch)
    assert sizes == [1, 1, 1], "of four crops one, of their way back one, and its input"


def test_matching_compares_the_critics_features(batch: dict[str, Tensor]) -> None:
    def matching(true: Tensor, has_true: float) -> float:
        task.generator.zero_grad()
        changed = {**batch, "x_true": true, "has_true": torch.full((4,), has_true)}
        return float(updates(task, changed)["generator"]["generator/matching"].detach())

    task = LeganTask(tiny("loss.matching=1"), CPU)
    assert matching(batch["x_real"], 1.0) == pytest.approx(0, abs=1e-5), "an untrained lite generator changes nothing"
    assert matching(-batch["x_real"], 1.0) > 1e-4 and matching(-batch["x_real"], 0.0) == 0


def test_paired_terms_by_hand() -> None:
    difference = torch.zeros(3, 3, 4, 4)
    difference[0], difference[1], difference[2] = 1.0, torch.arange(4.0), 100.0
    regions, some = torch.ones(1, 1, 4, 4), torch.tensor([1.0, 1.0, 0.0])
    assert paired_l1(difference, regions, some).item() == pytest.approx((1 + 1.5) / 2)
    assert paired_gradient(difference, regions, some).item() == pytest.approx(0.5), "only image 1 has slopes, of 1 across"
    difference.requires_grad_(True)
    none = 1e3 * (paired_l1(difference, regions, some * 0) + paired_gradient(difference, regions, some * 0))
    none.backward()
    assert none.item() == 0 and not difference.grad.any()


def test_penalty_is_float32_under_bfloat16(batch: dict[str, Tensor]) -> None:
    task = LeganTask(tiny("precision=bf16"), CPU)
    kinds: list[torch.dtype] = []
    task.critic.realness.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    for update in task.updates(batch, 0):
        update.loss.backward()
        assert update.loss.dtype == torch.float32
    assert kinds == [torch.bfloat16, torch.bfloat16, torch.float32, torch.bfloat16]


def test_schedule_by_hand() -> None:
    config = GANOptimizerConfig(warmup_steps=4, decay_fraction=0.4, lr_floor=0.05)
    shares = [config.lr_share(step, 100) for step in (0, 1, 3, 50, 60, 80, 99)]
    assert shares == pytest.approx([0.25, 0.5, 1, 1, 1, 0.5, 0.05])
    assert GANOptimizerConfig().lr_share(0, 100) == 1


def test_pair_term_learns(faces: Path) -> None:
    off = (f"loss.{name}=0" for name in ("adversarial", "classification", "matching", "reconstruction"))
    config = tiny(*off, "data.tone=0", "data.flip=false")
    config = replace(config, data=replace(config.data, pair_probability=1.0, batch_size=8))
    batch = FaceBatches(FaceDataset([faces], "train", size=32), config.data, 0)(0, 0, 1)
    torch.manual_seed(0)
    task, losses = LeganTask(config, CPU), []
    optimizer = torch.optim.Adam(task.generator.parameters(), 1e-3)
    for step in range(90):
        for update in task.updates(batch, step):
            if update.net == "generator":
                optimizer.zero_grad()
                update.loss.backward()
                optimizer.step()
                losses.append(update.logs["generator/pair"].item())
    assert losses[-1] < 0.5 * losses[0]


def test_paper_preset_builds_its_updates(faces: Path, batch: dict[str, Tensor]) -> None:
    config = tiny(name="paper")
    assert (config.adversarial.kind, config.adversarial.n_critic, config.loss.reconstruction) == ("wgan-gp", 5, 10)
    logs = updates(LeganTask(config, CPU), batch, step=4)
    assert {"generator/reconstruction", "generator/adversarial"} <= logs["generator"].keys()


@pytest.mark.slow
def test_the_packaged_editor_is_fine_tuned_by_its_name(tmp_path: Path) -> None:
    faces = make_face_set(tmp_path / "drawn", n_identities=9, size=128, lightings=tuple(range(len(LIGHTINGS))))
    small = ["loop.n_steps=1", "data.batch_size=2", "loss.identity=0", "loss.quality=0", "adversarial.n_critic=1"]
    shape = load_metadata(packaged("editor"))
    rehearsal = RECIPES["legan"].train("paper", [faces], tmp_path / "run", small, dry_run=True, init=Path(PACKAGED))
    assert isinstance(rehearsal, Rehearsal) and rehearsal.config["init"] == PACKAGED, "no path of this machine"
    assert rehearsal.config["generator"] == shape["generator"], "the weights' shape, whatever the preset's"
    with pytest.raises(WeightsError, match="leave generator"):
        RECIPES["legan"].train("lite", [faces], tmp_path / "other", ["generator.width=8", *small], init=Path(PACKAGED))
    with pytest.raises(WeightsError, match="holds no LEGAN editor"):
        RECIPES["legan"].train("lite", [faces], tmp_path / "other", init=packaged("quality"))


def test_steps_and_images_add_up_over_fine_tunings(run: Path, faces: Path, tmp_path: Path) -> None:
    def exported(folder: Path) -> dict[str, object]:
        out = tmp_path / f"{folder.name}.safetensors"
        metadata = export_run(folder, out)
        assert load_metadata(out) == metadata
        return metadata

    first = exported(run)
    assert (first["steps"], first["n_steps_before"], first["images_seen"], first.get("init")) == (12, 0, 48, None)
    weights = tmp_path / "run.safetensors"
    settings = [*TINY, "loop.n_steps=2", "data.batch_size=8"]
    assert RECIPES["legan"].train("lite", [faces], tmp_path / "second", settings, init=weights).finished
    save_weights(weights, load_weights(weights)[0], {**load_metadata(weights), "steps": 99})
    second = exported(tmp_path / "second")
    assert (second["steps"], second["n_steps_before"], second["images_seen"]) == (2, 12, 64), (
        "as the file was when it was taken"
    )
    assert second["init"]["file"] == "run.safetensors" and second["init"]["data"] == first["data"]

    # A file that does not tell what came before it: unknown stays unknown, not zero.
    old = {key: value for key, value in first.items() if key not in ("n_steps_before", "images_seen", "init", "licence")}
    before = tmp_path / "old.safetensors"
    save_weights(before, load_weights(weights)[0], {**old, "licence": "CC-BY-4.0", "training": {"init": "older.safetensors"}})
    assert RECIPES["legan"].train("lite", [faces], tmp_path / "third", settings, init=before).finished
    third = exported(tmp_path / "third")
    assert (third["steps"], third.get("n_steps_before"), third.get("images_seen")) == (2, None, None)
    assert third["licence"] == "CC-BY-4.0, CC0-1.0", "of all the data that it goes back to"


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces under all twenty lightings, which mixtures of lamps need."""
    lightings = tuple(range(len(LIGHTINGS)))
    return make_face_set(tmp_path_factory.mktemp("data") / "complete", n_identities=9, lightings=lightings)


def test_pairs_alone_train_a_generator_that_keeps_and_no_critic(complete: Path, tmp_path: Path) -> None:
    words = [*TINY, "loss.perceptual=0"]
    RECIPES["legan"].train("fields-paired", [complete], tmp_path / "paired", words)
    weights = tmp_path / "paired.safetensors"
    metadata = export_run(tmp_path / "paired", weights)
    tensors, _ = load_weights(weights)
    assert "critic" not in metadata and not any(name.startswith("critic.") for name in tensors)
    generator = Generator(dict_to_config(GeneratorConfig, metadata["generator"])).eval()
    generator.load_state_dict({name.removeprefix("generator."): tensor for name, tensor in tensors.items()})
    x = torch.rand(1, 3, 32, 32) - 0.5
    torch.testing.assert_close(generator(x, torch.zeros(1, 6), torch.zeros(1, 20)).image, x, atol=1e-5, rtol=0)

    # The second part starts from it, with a new critic.
    config = load_config(LeganConfig, overrides=[*words, f"init={weights}"], base=PRESETS["fields"])
    task, batches = build_legan(replace(config, data=replace(config.data, folders=(str(complete),))), CPU)
    task.begin()
    assert torch.equal(task.generator.light.weight, tensors["generator.light.weight"].float())
    names = [update.net for update in task.updates(batches(0, 0, 1), 0)]
    assert names == ["critic", "generator"]


def test_the_perceptual_term_sees_what_is_wrong(batch: dict[str, Tensor]) -> None:
    features = load_efficientnet(3)
    task = LeganTask(tiny("loss.perceptual=1"), CPU, perceptual=features)

    def term(true: Tensor, has_true: float) -> float:
        changed = {**batch, "x_true": true, "has_true": torch.full((4,), has_true)}
        return float(updates(task, changed)["generator"]["generator/perceptual"].detach())

    x = batch["x_real"]
    assert term(x, 1.0) < 0.02 < term(x.flip(3), 1.0), "the generator starts as the identity"
    assert term(x.flip(3), 0.0) == 0, "without a truth there is nothing to compare"
    with pytest.raises(ConfigError, match="there is no perceptual network"):
        LeganTask(tiny("loss.perceptual=1"), CPU)


def test_the_identity_of_smaller_crops_is_that_of_the_crops_enlarged() -> None:
    network = load_identity(None, None, CPU).net
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    enlarged = torch.nn.functional.interpolate(x, (128, 128), mode="bilinear", antialias=True, align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(enlarged))
