"""The command line: what each verb prints, and bad input: one line that says what to do, exit code 2, nothing half-written."""

import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from tests.face_sets import make_face_set
from typer.testing import CliRunner, Result

from legan import __version__
from legan.cli import app
from legan.commands.models import tables
from legan.core.images import encode_photo
from legan.core.weights import PACKAGED
from legan.editing.marks import read_mark

Know = Callable[..., None]
Legan = Callable[..., Result]


@pytest.fixture
def legan(tiny_editor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Legan:
    """Runs the command in a new folder, with the tiny editor as the packaged weights."""
    monkeypatch.setattr(
        "legan.core.weights.weights_file", lambda given, name: tiny_editor if str(given) == PACKAGED else Path(given)
    )
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def fails(result: Result, message: str, code: int = 2) -> None:
    """Check that a command failed with one line, `error: ...`, that contains `message`."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert message in lines[0], lines[0]


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


# What works


def test_edit_one_photo(legan: Legan, photo: Path, known_faces: Know) -> None:
    result = legan("edit", photo, "--expression", "smile", "--lighting", "-45", "-o", "out/edited.png")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "out/edited.png\n" and result.stderr == ""
    assert read_mark("out/edited.png").edit == "expression=smile lighting=-45 strength=1"


@pytest.mark.parametrize(
    ("words", "lighting"),
    [
        (["--lighting", "-45"], "-45"),
        (["--lighting=-45"], "-45"),
        (["-l", "-45"], "-45"),
        (["--lighting", "-45,20"], "-45,20"),
        (["--lighting", "-7.5"], "-7.5"),
        (["--lighting", "left"], "left"),
        (["--lighting", "07"], "07"),
        (["--lighting", "30"], "30"),
    ],
)
def test_every_way_to_name_a_light(legan: Legan, photo: Path, known_faces: Know, words: list[str], lighting: str) -> None:
    for ordered in ([photo, *words], [*words, photo]):
        result = legan("edit", *ordered, "-e", "smile:0.7", "-s", "0.8", "-o", "out.jpg", "--overwrite")
        assert result.exit_code == 0, result.stderr
        assert read_mark("out.jpg").edit == f"expression=smile:0.7 lighting={lighting} strength=0.8"


def test_left_and_right_are_as_numbers(legan: Legan, photo: Path, known_faces: Know) -> None:
    for name, light in (("a", "left"), ("b", "-60"), ("c", "60")):
        assert legan("edit", photo, "--lighting", light, "-o", f"{name}.png", "--no-mark").exit_code == 0
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_masks_mark_all_faces_and_json(legan: Legan, photo: Path, known_faces: Know) -> None:
    known_faces((150, 20, 160), (10, 60, 100))
    result = legan("edit", photo, "-e", "smile", "--masks", "--no-mark", "--all", "--json", "-o", "out.webp")
    assert json.loads(result.stdout) == {
        "n_edited": 1,
        "done": ["out.webp", "out.expression-mask.png", "out.lighting-mask.png"],
        "kept": [],
        "failed": {},
        "notes": [],
    }
    assert read_mark("out.webp") is None
    with Image.open("out.expression-mask.png") as mask:
        assert mask.size == (256, 128)


def test_grid(legan: Legan, photo: Path, known_faces: Know) -> None:
    result = legan("edit", photo, "--grid", "--lighting", "left", "--lighting", "-45", "-o", "grid.png")
    assert result.exit_code == 0, result.stderr
    with Image.open("grid.png") as grid:
        assert grid.width > 3 * 128 and grid.height > 6 * 128


def test_folder_with_a_bad_photo(legan: Legan, tmp_path: Path, photo: Path, known_faces: Know) -> None:
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_text("no image")
    result = legan("edit", "in", "-e", "smile", "-o", "out")
    assert result.exit_code == 1
    assert result.stdout == "out/good.png\n"
    assert result.stderr.splitlines() == [
        "error: in/bad.png is a text file: give a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000 or PPM image",
        "error: 1 of 2 photos could not be edited, the others were",
    ]
    again = legan("edit", "in", "-e", "smile", "-o", "out")
    assert again.exit_code == 1 and again.stdout == "" and "1 outputs existed and were kept" in again.stderr


def test_export_to_onnx(legan: Legan, tiny_editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def export_onnx(source: Path, out: Path, faults: Sequence[str]) -> dict[str, object]:
        asked.append((source, out.name, list(faults)))
        return {"steps": 7}

    monkeypatch.setattr("legan.editing.onnx.export_onnx", export_onnx)
    shown = legan("export", tiny_editor, "-o", "editor.onnx", "--fault", "soft")
    assert shown.stdout == "editor.onnx: 7 steps, licence of the data: unknown\n", shown.stderr
    assert asked == [(tiny_editor, "editor.onnx", ["soft"])]


def test_an_editor_of_the_hub(
    legan: Legan, tiny_editor: Path, photo: Path, known_faces: Know, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("legan.core.weights._fetched", lambda *asked: {("someone/faces", "v2"): tiny_editor}[asked])
    result = legan("edit", photo, "-e", "smile", "--editor", "someone/faces@v2", "-o", "o.png")
    assert result.exit_code == 0 and result.stdout == "o.png\n", result.stderr


@pytest.mark.slow
def test_the_packaged_editor_by_its_name(legan: Legan, photo: Path, known_faces: Know) -> None:
    assert legan("edit", photo, "-e", "smile", "--editor", "packaged", "-o", "named.png").exit_code == 0
    assert legan("edit", photo, "-e", "smile", "-o", "default.png").exit_code == 0
    assert Path("named.png").read_bytes() == Path("default.png").read_bytes()
    shown = legan("export", "packaged", "-o", "new/editor.onnx", "--json")
    assert json.loads(shown.stdout)["steps"] == 7 and Path("new/editor.onnx").is_file(), shown.stderr
    fails(legan("export", "packaged", "-o", "copy.safetensors"), "packaged is exported already")


def test_models(legan: Legan) -> None:
    found = json.loads(legan("models", "--json").stdout)
    assert {"preset": "lite", "network": "generator"}.items() <= found["presets"][1].items()
    assert all(row["n_parameters"] > 0 and row["gflop_per_image"] > 0 for row in found["presets"])
    table = tables(found)
    assert "lite" in table and f"{found['presets'][0]['n_parameters']:,}" in table


def test_version_and_help(legan: Legan) -> None:
    assert legan("--version").stdout == f"legan {__version__}\n"
    shown = legan("--help").stdout
    for verb in ("edit", "demo", "models", "render", "train", "export"):
        assert verb in shown
        assert legan(verb, "--help").exit_code == 0
    assert "legan edit photo.jpg" in legan("edit", "--help").stdout
    assert "--install-completion" in shown
    for model in ("legan", "stargan", "starganv2", "quality", "identity", "expression"):
        assert legan("train", model, "--help").exit_code == 0


def test_square_brackets_stand_in_the_help(legan: Legan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the texts of commands, arguments and options hold, Rich shows it."""
    monkeypatch.setenv("COLUMNS", "400")
    wide = " ".join(legan("relight", "--help").stdout.split())
    assert r"'(?P<identity>\d+)_(?P<expression>[a-z]+)'" in wide
    for words, command in commands(typer.main.get_command(app)):
        shown = "".join(legan(*words, "--help").stdout.split())
        for text in (command.callback.__doc__, *(getattr(parameter, "help", None) for parameter in command.params)):
            for bracket in re.findall(r"\[[^\]\\]*\]", text or ""):
                assert "".join(bracket.split()) in shown, f"legan {' '.join(words)} --help eats {bracket}"


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield from commands(command, (*words, name)) if hasattr(command, "commands") else [((*words, name), command)]


def test_one_word_for_one_thing(legan: Legan) -> None:
    """An editor, Q and an embedding are called the same in every command; former names are taken and not shown."""
    shown = {words: {o for p in command.params for o in p.opts} for words, command in commands(typer.main.get_command(app))}
    assert {words[0] for words, options in shown.items() if "--editor" in options} == {
        "edit",
        "app",
        "demo",
        "augment",
        "evaluate",
    }
    assert {words[0] for words, options in shown.items() if "--identity" in options} == {
        "match", "verify", "filter", "augment", "evaluate"
    }  # fmt: skip
    assert {words[0] for words, options in shown.items() if "--quality" in options} == {
        "score",
        "filter",
        "augment",
        "evaluate",
    }
    assert [words for words, options in shown.items() if "--weights" in options] == [("recognize",)]
    assert not [words for words, options in shown.items() if {"--embedding", "--report"} & options]


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["edit", "a.png", "--weights", "mine"], "weights", Path("mine")),
        (["demo", "--weights=mine"], "weights", Path("mine")),
        (["augment", "data", "-o", "out", "--policy", "both", "--weights", "mine"], "editor", Path("mine")),
        (["score", "a.png", "--weights", "mine"], "quality", Path("mine")),
        (["filter", "in", "-o", "out", "--weights", "mine"], "quality", Path("mine")),
        (["filter", "in", "-o", "out", "--embedding", "dlib"], "identity", "dlib"),
        (["evaluate", "--data", "data", "--report", "out"], "out", Path("out")),
    ],
)
def test_former_names_of_options_are_taken(words: list[str], name: str, value: object) -> None:
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    assert command.make_context(words[0], words[1:]).params[name] == value


def test_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "legan", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"legan {__version__}\n"


def test_interrupt_gives_130(legan: Legan, photo: Path, known_faces: Know, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("legan.editing.folders.edit_photos", interrupt)
    result = legan("edit", photo, "-e", "smile", "-o", "out.png")
    assert result.exit_code == 130 and "Traceback" not in result.output


# Bad input


def huge_png() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))

    header = struct.pack(">LLBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def truncated_jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    data = encode_photo(Image.fromarray(noise), "JPEG")
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("cut.jpg", truncated_jpeg(), "copy or export the image again"),
        (
            "text.png",
            b"This is no image.\n",
            "text.png is a text file: give a PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000 or PPM image",
        ),
        ("dot.png", encode_photo(Image.new("RGB", (1, 1)), "PNG"), "1x1 pixels: too small, at least 16 pixels a side"),
        ("huge.png", huge_png(), "too large, at most 100 megapixels are read: scale it down first"),
        ("empty.jpg", b"", "is empty: copy or export the image again"),
        ("missing.jpg", None, "missing.jpg does not exist: check the name"),
    ],
)
def test_bad_images(legan: Legan, tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    before = files(tmp_path)
    fails(legan("edit", name, "-e", "smile", "-o", "out.png"), message)
    assert files(tmp_path) == before


def test_no_face_in_the_image(legan: Legan, tmp_path: Path) -> None:
    """With the real detector."""
    Image.new("RGB", (400, 300), (90, 120, 160)).save("sky.png")
    before = files(tmp_path)
    fails(legan("edit", "sky.png", "-e", "smile", "-o", "out.png"), "no face found in sky.png: give a photo with a face")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "smlie"], "unknown expression 'smlie': choose from neutral, smile, surprise"),
        (["-e", "smlie"], "did you mean 'smile'?"),
        (["-e", "smile:2"], "smile:2 is out of range: give a number from 0 to 1"),
        (["-l", "120"], "azimuth 120 is out of range: give degrees from -90 (left) to 90 (right)"),
        (["-l", "-45,80"], "elevation 80 is out of range: give degrees from 0 to 62"),
        (["-l", "lfet"], "did you mean 'left'?"),
        (["-e", "smile", "-s", "2"], "strength 2 is out of range: give a number from 0 (no edit) to 1.5"),
        (["-e", "smile", "--face", "3"], "there is no face 3 in"),
        (["-e", "smile", "--weights", "pickle.safetensors"], "is a pickle, which can run code when it is opened"),
        (["-e", "smile", "--weights", "text.safetensors"], "is not a safetensors file: give one that `legan export` wrote"),
        (["-e", "smile", "--weights", "none.safetensors"], "does not exist"),
        (["-e", "smile", "--editor", "models/none.safetensors"], "does not exist"),
        (["-e", "smile", "--device", "toaster"], "device 'toaster' is not available here: choose cpu"),
        (["-e", "smile", "-o", "out.bmp"], "cannot save out.bmp as '.bmp': choose .png, .jpg, .jpeg, .webp"),
        (["-e", "smile", "-o", "photo.png", "--overwrite"], "would replace the photo photo.png: name another place with -o"),
        (["-e", "smile", "-o", "there.png"], "there.png exists already: give another name with -o, or add --overwrite"),
        ([], "nothing to change: name --expression, --lighting or both"),
    ],
)
def test_bad_wishes(legan: Legan, tmp_path: Path, photo: Path, known_faces: Know, words: list[str], message: str) -> None:
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"w": [1.0, 2.0]}))
    (tmp_path / "text.safetensors").write_text("weights, weights")
    (tmp_path / "there.png").write_bytes(b"mine")
    before, data = files(tmp_path), photo.read_bytes()
    out = [] if "-o" in words else ["-o", "out.png"]
    fails(legan("edit", photo.name, *words, *out), message)
    assert files(tmp_path) == before and photo.read_bytes() == data


def test_zip_of_torch_save_is_a_pickle_too(legan: Legan, tmp_path: Path, photo: Path) -> None:
    import torch

    torch.save({"generator.w": torch.zeros(2)}, tmp_path / "model.pt")
    fails(legan("edit", photo, "-e", "smile", "--weights", "model.pt"), "is a pickle")


def test_weights_without_a_critic_need_both_names(legan: Legan, tiny_generator: Path, photo: Path, known_faces: Know) -> None:
    fails(legan("edit", photo, "-e", "smile", "--weights", tiny_generator), "name both an expression and a lighting")
    assert legan("edit", photo, "-e", "smile", "-l", "left", "--weights", tiny_generator, "-o", "o.png").exit_code == 0


def test_training_on_a_set_with_a_missing_image(legan: Legan, tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "data", n_identities=3)
    (data / "shards" / "d001.tar").unlink()
    before = files(tmp_path)
    fails(legan("train", "legan", "--data", "data", "--run", "run", "--dry-run"), "d001.tar")
    fails(legan("train", "legan", "--data", "data", "--run", "run"), "d001.tar")
    assert not [name for name in files(tmp_path) - before if name.endswith((".pt", ".jsonl"))]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train", "legan", "--run", "r", "--preset", "light"],
            "unknown preset 'light': choose from paper, lite, lite-unpaired, fields-paired, fields; did you mean 'lite'?",
        ),
        (["train", "legan", "--run", "r", "--set", "loss.pear=1"], "unknown setting 'loss.pear'"),
        (["train", "stargan", "--run", "r", "--preset", "light"], "unknown preset 'light': choose from paper, lite"),
        (["train", "starganv2", "--run", "r", "--set", "network.domains=pears"], "setting network.domains='pears' is wrong"),
        (["train", "legan", "--run", "r", "--data", "nowhere"], "nowhere"),
        (["export", "nowhere", "-o", "e.safetensors"], "nowhere is not a run folder"),
        (["export", "nowhere.safetensors", "-o", "e.onnx"], "nowhere.safetensors does not exist"),
        (["render", "--identities", "0", "-o", "d"], "identities must be at least 1"),
    ],
)
def test_bad_training_and_export(legan: Legan, tmp_path: Path, words: list[str], message: str) -> None:
    fails(legan(*words), message)
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.safetensors"))


def test_full_disk_while_writing(
    legan: Legan, tmp_path: Path, photo: Path, known_faces: Know, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    before = files(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    fails(
        legan("edit", photo, "-e", "smile", "-o", "out.png"), "no space left on the disk while writing out.png: free some space"
    )
    fails(legan("edit", photo, photo.with_name("gone.png"), "-e", "smile", "-o", "."), "would replace the photo")
    assert files(tmp_path) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB; the test skips where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "legan-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_small_disk_fills_up(legan: Legan, small_disk: Path, photo: Path, known_faces: Know) -> None:
    fails(legan("edit", photo, "-e", "smile", "-o", small_disk / "out.png"), "no space left on the disk while writing")
    assert list(small_disk.iterdir()) == []
    assert legan("edit", photo, "-e", "smile", "-o", small_disk / "out.jpg").exit_code == 0
    fails(legan("demo", "-o", small_disk / "demo"), "no space left on the disk while writing")
    assert not list((small_disk / "demo").iterdir())
