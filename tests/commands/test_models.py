"""The list of packaged weights: the numbers of all trainings that wrote a file."""

from pathlib import Path

import torch

from legan.commands.models import describe_weights, tables
from legan.core.weights import save_weights


def described(path: Path, **metadata: object) -> dict[str, object]:
    save_weights(path, {"x": torch.zeros(1)}, metadata)
    return describe_weights(path)


def test_steps_are_those_of_all_trainings(tmp_path: Path) -> None:
    path = tmp_path / "editor.safetensors"
    alone = described(path, steps=900, training={"init": None})
    assert (alone["steps"], alone["n_steps_last"], alone["images_seen"]) == (900, 900, None)
    third = described(path, steps=1250, n_steps_before=2716, images_seen=63456, init={"steps": 2716})
    assert (third["steps"], third["n_steps_last"], third["images_seen"]) == (3966, 1250, 63456)
    shown = tables({"presets": [], "weights": [third]})
    assert "3,966" in shown and "63,456" in shown and "1,250" not in shown


def test_a_file_that_does_not_tell_what_came_before_is_not_given_a_number(tmp_path: Path) -> None:
    old = described(tmp_path / "editor.safetensors", steps=1250, training={"init": "edit2.safetensors"})
    assert old["steps"] is None and old["n_steps_last"] == 1250
    shown = " ".join(tables({"presets": [], "weights": [old]}).replace("│", " ").split())
    assert "1,250" in shown and "last" in shown


def test_square_brackets_of_a_file_are_shown(tmp_path: Path) -> None:
    facts = described(tmp_path / "editor.safetensors", steps=1, data="set [a-z]", licence="[b]own[/b]")
    shown = tables({"presets": [], "weights": [facts]})
    assert "[a-z]" in shown and "[b]own[/b]" in shown
