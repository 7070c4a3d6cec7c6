"""What all trainings share: the parts of a config, schedules, and keys, networks and figures of earlier versions."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from tests.train.tasks import FakeConfig, FakeTask
from tools.landmarks.train import RECIPE as LANDMARKS

from legan.core.config import config_to_dict, parse_toml, to_toml, write_config
from legan.core.errors import ConfigError
from legan.train.config import RENAMED, GANOptimizerConfig, LoopConfig, OptimizerConfig, change_settings, parse_config, today
from legan.train.hooks import Logs, Progress
from legan.train.recipes import RECIPES, export_run, recipe_of
from legan.train.run_folder import load_task_state, newest_checkpoint, open_run, save_checkpoint, task_state

ALL = {**RECIPES, "landmarks": LANDMARKS}
PRESETS = [(name, preset) for name, recipe in ALL.items() for preset in recipe.presets]

# `config.toml` of earlier versions, shortened: what a user sets most.
FORMER = {
    "legan": """
precision = "fp32"
[loop]
n_steps = 12
[data]
folders = ["/data/faces"]
[generator]
width = 8
[optimizer]
lr_generator = 0.003
lr_critic = 0.0002
n_warmup_steps = 1
ema_decay = 0.996
""",
    "starganv2": """
model = "starganv2"
[optimizer]
lr = 0.003
lr_mapping = 2e-05
ema_decay = 0.996
""",
    "identity": """
[data]
folders = ["/data/faces"]
augment = 0.5
[margin]
kind = "cosface"
[rate]
kind = "adamw"
lr = 0.003
weight_decay = 0.05
n_warmup_steps = 1
average = 0.996
""",
    "expression": """
folders = ["/data/faces"]
batch_size = 2
augment = 0.5
memory_gb = 1.0
[rate]
lr = 0.003
n_warmup_steps = 1
average = 0.996
""",
    "quality": """
data = ["/data/faces"]
labels = "/data/labels.csv"
init = ""
loss = "l2"
batch_size = 2
lr = 0.003
n_warmup_steps = 1
weight_decay = 0.01
average = 0.996
shift = 3
flip = false
""",
    "landmarks": """
data = "/data/faces"
photos = "/data/photos"
photo_share = 0.1
batch_size = 2
lr = 0.003
n_warmup_steps = 1
average = 0.996
""",
}


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_all_trainings_have_one_shape_of_config(name: str, preset: str, tmp_path: Path) -> None:
    recipe = ALL[name]
    config = recipe.presets[preset]
    assert isinstance(config, recipe.config) and isinstance(config.loop, LoopConfig)
    assert isinstance(config.optimizer, OptimizerConfig) and config.data.batch_size > 0 and config.data.folders == ()
    assert config.model == name
    write_config(config, tmp_path / "config.toml")
    assert parse_config(recipe.config, parse_toml((tmp_path / "config.toml").read_text())) == config
    if name in RECIPES:
        assert recipe_of(tmp_path) is recipe


@pytest.mark.parametrize("name", FORMER)
def test_runs_of_earlier_versions_are_read(name: str, tmp_path: Path) -> None:
    config = parse_config(ALL[name].config, parse_toml(FORMER[name]))
    assert (config.optimizer.lr, config.optimizer.ema_decay) == (0.003, 0.996)
    if name != "starganv2":
        assert list(config.data.folders) == ["/data/faces"] and config.optimizer.warmup_steps == 1
    if name in ("quality", "landmarks", "expression"):
        assert config.data.batch_size == 2
    if name == "quality":
        assert (config.data.labels, config.data.shift, config.data.flip) == (Path("/data/labels.csv"), 3, False)
        assert config.init is None and config.optimizer.weight_decay == 0.01
    if name == "landmarks":
        assert (config.data.photos, config.data.photo_share) == (Path("/data/photos"), 0.1)
    # The run goes on with the same settings under the names of today, and is exported by its recipe.
    (tmp_path / "config.toml").write_text(FORMER[name])
    (tmp_path / "left.safetensors").touch()
    if name in RECIPES:
        assert recipe_of(tmp_path) is RECIPES[name]
    open_run(tmp_path, config)
    assert parse_toml((tmp_path / "config.toml").read_text()) == config_to_dict(config)
    with pytest.raises(ConfigError, match=r"optimizer\.lr \(there 0\.003, now 0\.1\)"):
        open_run(tmp_path, change_settings(config, ["optimizer.lr=0.1"]))


def test_every_former_key_is_one_of_a_training_and_no_training_has_both() -> None:
    def settings(values: dict, prefix: str = "") -> set[str]:
        leaves = {f"{prefix}{key}" for key, value in values.items() if not isinstance(value, dict)}
        groups = (settings(value, f"{prefix}{key}.") for key, value in values.items() if isinstance(value, dict))
        return leaves.union(*groups)

    known = set().union(*(settings(_complete(recipe.config)) for recipe in ALL.values()))
    assert set(RENAMED.values()) <= known and not set(RENAMED) & known


def _complete(cls: type) -> dict:
    """The settings of a config with those that are None by default."""
    return {
        field.name: _complete(field.type) if dataclasses.is_dataclass(field.type) else 0 for field in dataclasses.fields(cls)
    }


def test_former_settings_are_taken_and_noted(capsys: pytest.CaptureFixture[str]) -> None:
    lite = RECIPES["legan"].presets["lite"]
    config = change_settings(lite, ["optimizer.lr_generator=0.5", "loss.pair=3"])
    assert config.optimizer.lr == 0.5 and config.loss.pair == 3
    assert capsys.readouterr().err == "note: the setting optimizer.lr_generator is called optimizer.lr now\n"
    assert change_settings(lite, ["optimizer.lr=0.5", "loss.pair=3"]) == config and not capsys.readouterr().err
    with pytest.raises(ConfigError, match="unknown setting 'rates'"):
        change_settings(lite, ["rates.lr=1"])
    assert today(type(lite), "data.folders") == "data.folders", "a key of today stays as it is"
    with pytest.raises(ConfigError, match="unknown setting 'augment'"):  # a setting that this training never had
        change_settings(lite, ["augment=1"])


def test_a_run_of_another_training_is_not_exported(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(to_toml(config_to_dict(LANDMARKS.presets["default"])))
    with pytest.raises(ConfigError, match="is not a run of legan, stargan"):
        export_run(tmp_path, tmp_path / "out.safetensors")


def test_schedules_by_hand() -> None:
    cosine = OptimizerConfig(warmup_steps=10)
    shares = [cosine.lr_share(step, 110) for step in (0, 4, 9, 10, 60, 110)]
    assert shares == pytest.approx([0.1, 0.5, 1, 1, 0.5, 0])
    late = OptimizerConfig(warmup_steps=0, decay_fraction=0.5, lr_floor=0.1)
    assert [late.lr_share(step, 100) for step in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.5, 0.1])
    assert late.lr_share(60, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi / 5)))
    constant = GANOptimizerConfig(decay_fraction=0.0)
    assert {constant.lr_share(step, 100) for step in range(100)} == {1.0}


@pytest.mark.parametrize(("kind", "made"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_kinds_of_optimizers(kind: str, made: type) -> None:
    optimizer = OptimizerConfig(kind, lr=0.5, weight_decay=0.25).make([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is made
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.9)) == (0.5, 0.25, 0.9)


def test_checkpoints_and_logs_of_earlier_versions_go_on(tmp_path: Path) -> None:
    task = FakeTask(FakeConfig())
    task.networks["average"] = task.networks.pop("b")
    state = task_state(task, 3)
    task.optimizers["average"] = task.optimizers.pop("b")
    save_checkpoint(task, tmp_path, 3)
    read = newest_checkpoint(tmp_path)
    assert read is not None and set(read["networks"]) == {"a", "ema"}
    assert torch.equal(read["networks"]["ema"]["weight"], state["networks"]["average"]["weight"])
    fresh = FakeTask(FakeConfig())
    fresh.networks["ema"] = fresh.networks.pop("b")
    fresh.optimizers.pop("b")
    assert load_task_state(fresh, read) == 3

    (tmp_path / "log.jsonl").write_text(
        json.dumps({"step": 2, "right": 0.5}) + "\n" + json.dumps({"step": 2, "val/right": 0.25})
    )
    logs = Logs(tmp_path)
    logs.on_start(Progress(task, 3, 12, 4))
    logs.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": 2, "accuracy": 0.5}, {"step": 2, "val/accuracy": 0.25}]
