"""Config: TOML and words in, checked dataclass out, and back."""

import tomllib
from pathlib import Path

import pytest
from pydantic.dataclasses import dataclass

from legan.core.config import config_to_dict, load_config, to_toml, write_config
from legan.core.errors import ConfigError


@dataclass(frozen=True)
class Loss:
    pair: float = 1.0
    kind: str = "hinge"


@dataclass(frozen=True)
class Settings:
    n_steps: int = 10
    betas: tuple[float, float] = (0.5, 0.99)
    name: str = 'a "quoted" \\ name'
    flip: bool = True
    loss: Loss = Loss()


def test_words_override_a_file_which_overrides_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("n_steps = 20\n[loss]\npair = 3\n")
    config = load_config(Settings, file, ["loss.pair=20", "loss.kind=wgan-gp", "betas=[0.1, 0.2]", "flip=false"])
    assert config == Settings(20, (0.1, 0.2), flip=False, loss=Loss(20.0, "wgan-gp"))


def test_toml_round_trip(tmp_path: Path) -> None:
    write_config(Settings(), tmp_path / "c.toml")
    assert load_config(Settings, tmp_path / "c.toml") == Settings()
    assert tomllib.loads(to_toml(config_to_dict(Settings()))) == config_to_dict(Settings())


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("n_step=3", "did you mean 'n_steps'"),
        ("loss.par=3", "did you mean 'pair'"),
        ("n_steps=many", "n_steps"),
        ("n_steps", "key=value"),
        ("loss.pair.x=1", "loss"),
        ("loss=3 loss.pair=1", "loss=3 is wrong: it is a group; set one of"),
    ],
)
def test_wrong_settings_say_what_to_do(word: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        load_config(Settings, None, word.split())


def test_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Settings, tmp_path)
    (tmp_path / "c.toml").write_text("= 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(Settings, tmp_path / "c.toml")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(Settings, tmp_path / "none.toml")
