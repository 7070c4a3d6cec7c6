"""The code of the README and of docs/ runs, page by page, each in a folder of its own that has what the page speaks of.

Python blocks run as they stand. Of the bash blocks every `legan` line runs, with a training or an evaluation made short (`SHORTER`), but
for those of `NOT_RUN`, each with its reason; these are parsed, as all are (tests/test_docs.py).
"""

import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.sets import write_images
from tests.face_sets import make_face_set
from tests.rated_sets import make_rated_set, write_labels
from tests.study.studies import write_compared
from typer.testing import CliRunner

import legan
from legan.cli import app
from legan.core.conditions import Classes
from legan.core.weights import asset

ROOT = Path(__file__).parent.parent
# Pages whose Python is run by tests/test_docs.py, since it needs stand-ins.
TESTED_ELSEWHERE = dict.fromkeys(("quality-loss.md", "onnx.md", "augment.md"), "tests/test_docs.py")
Names = dict[str, Any]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, tiny_editor: Path) -> Path:
    """What most pages speak of: photos, folders of them, data sets, an editor."""
    folder = tmp_path_factory.mktemp("pages")
    photos = sorted(asset("faces").glob("london-*.jpg"))
    for photo, name in zip(photos, ("photo.jpg", "other.jpg"), strict=False):
        shutil.copy(photo, folder / name)
    for name in ("faces", "generated"):
        shutil.copytree(asset("faces"), folder / name, ignore=shutil.ignore_patterns("*.png"))
    Image.new("RGB", (200, 200)).save(folder / "faces" / "black.jpg")
    (folder / "photos").mkdir()
    for photo in photos[:2]:
        shutil.copy(photo, folder / "photos")
    make_face_set(folder / "data" / "rendered", n_identities=10, size=128, lightings=tuple(range(20)))
    for name in ("relit", "reexpressed", "mine"):
        (folder / "data" / name).symlink_to(folder / "data" / "rendered")
    shutil.copy(tiny_editor, folder / "editor.safetensors")
    return folder


@pytest.fixture
def folder(request: pytest.FixtureRequest, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's own folder, which is the working directory."""
    folder = tmp_path / "page"
    shutil.copytree(template, folder, symlinks=True)
    MADE.get(request.getfixturevalue("name"), make_nothing)(folder)
    monkeypatch.chdir(folder)
    return folder


def make_nothing(folder: Path) -> None:
    """Most pages need no more than the template."""


def make_own_photos(folder: Path) -> None:
    """Photos by expression and light, of two people."""
    people = sorted((folder / "photos").iterdir())
    for expression in ("calm", "angry"):
        for light, factor in (("window", 1.0), ("lamp", 0.7)):
            (folder / "photos" / expression / light).mkdir(parents=True)
            for photo in people:
                darker = Image.open(photo).point(lambda value, factor=factor: int(value * factor))
                darker.save(folder / "photos" / expression / light / photo.name)
    for photo in people:
        photo.unlink()


def make_imported(folder: Path) -> None:
    """Images, and ratings by their names."""
    (folder / "images").mkdir()
    for name, photo in zip(("a.jpg", "b.jpg"), sorted((folder / "photos").iterdir()), strict=True):
        shutil.copy(photo, folder / "images" / name)
    Image.new("RGB", (200, 200)).save(folder / "images" / "faceless.jpg")
    (folder / "own.csv").write_text("rater,image,rating\nanna,a.jpg,7\nanna,faceless.jpg,1\n")


def make_readme(folder: Path) -> None:
    """Images to rate."""
    make_rated_set(folder / "data" / "rated", n_identities=4, size=64, strengths=(0, 1))


def make_results(folder: Path) -> None:
    """The results of two models, named as their inputs, and real images."""
    shutil.rmtree(folder / "photos")
    for place in ("theirs", "ours", "inputs", "truth", "photos"):
        write_images(folder / place, 16, 128)


def make_labelled(folder: Path) -> None:
    """A data set with expressions."""
    make_face_set(folder / "data" / "affectnet", n_identities=10, size=128, lightings=(0,))


def make_commands(folder: Path) -> None:
    """What the examples of the commands name."""
    shutil.copytree(folder / "photos", folder / "holiday")
    make_rated_set(folder / "data" / "synthesized", n_identities=10, size=64, strengths=(0, 1))
    write_labels(folder / "data" / "synthesized", folder / "labels.csv")
    (folder / "ratings.csv").write_text(
        "rater,image,rating\n"
        + "".join(f"r{r},p{i:03d}_{s}.png,{9 - 7 * s - r}\n" for i in range(10) for s in (0, 1) for r in range(3))
    )
    write_compared(folder / "compared", 4)
    make_labelled(folder)
    make_face_set(folder / "data" / "faces", n_identities=2, size=128, lightings=(0,))


def make_studies(folder: Path) -> None:
    """Images to rate, and those of several models."""
    make_rated_set(folder / "data" / "rated", n_identities=10, size=64, strengths=(0, 1))
    write_compared(folder / "compared", 4)


MADE: dict[str, Callable[[Path], None]] = {
    "augment.md": make_labelled,
    "README.md": make_readme,
    "commands.md": make_commands,
    "evaluate.md": make_results,
    "own-classes.md": make_own_photos,
    "own-quality.md": make_imported,
    "studies.md": make_studies,
}

# Settings that make a command short, by the words that it begins with; several may hold.
NETWORKS = ["generator.width=4", "generator.n_residual=1", "critic.width=4"]
LEGAN = [*NETWORKS, "generator.mask_channels=2", "critic.max_width=8", "loss.quality=0", "loss.identity=0"]
SHORTER: dict[str, Sequence[str]] = {
    "train": ["loop.n_steps=1", "data.batch_size=2"],
    "train legan": LEGAN,
    "train stargan": [*NETWORKS, "loss.quality=0"],
    "train starganv2": ["network.width=4", "network.max_width=8", "network.n_hidden=8"],
    "train quality": ["network.size=64", "network.width=4", "network.n_hidden=8", "data.batch_size=4"],
}
# With `--init packaged` the networks are those of the packaged editor.
NO_NETWORKS = ["loss.quality=0", "loss.identity=0", "loss.perceptual=0"]
# Options that make other commands short, and exit codes beside 0.
LONG_OPTIONS = {"evaluate": ["--n", "16", "--resamples", "0"]}
EXIT_CODES = {"study check": (0, 1)}  # 1: not ready, as the consent text is missing
SERVES = "serves until it is stopped; tests/app and tests/study do, in a browser"
CLUSTER = "needs a cluster, or a bucket"
LICENSED = "needs a data set under a licence; tests/data/public reads files of their forms"
MINUTES = "takes minutes"
PEOPLE = "needs answers of people; test_the_walk_of_studies runs such lines with simulated ones"
# Lines that are parsed and not run: a beginning -> the reason.
NOT_RUN = {
    "pip install": "installs",
    "python3 -m venv": "installs; .ci/run does it",
    ".venv/bin/python -m pytest": "these are the tests",
    "docker ": "needs docker",
    "ray start": CLUSTER,
    "torchrun": "starts processes; tests/train/test_several_devices.py does",
    "sbatch": "needs SLURM",
    "legan app": SERVES,
    "legan study serve": SERVES,
    "legan demo": "takes half a minute; .ci/run does it",
    "legan study create --from out/study": "after an evaluation of minutes; tests/evaluation/test_preference_study.py does both",
    # Minutes each.
    "legan render": MINUTES,
    "legan relight": MINUTES,
    "legan reexpress": MINUTES,
    "legan synthesize": MINUTES,
    "legan augment": f"{MINUTES}; tests/test_augmentation.py",
    "legan edit photo.jpg --editor fitted": "needs the extra render; tests/editing/test_fitted.py",
    "legan match edited.jpg photo.jpg --identity dlib": "needs dlib; tests/faces/test_dlib_embedding.py",
    "legan export packaged -o editor.onnx": f"{MINUTES}, the whole network; onnx.md exports a tiny one",
    # Data.
    "legan score s3:": CLUSTER,
    "legan score shards/*.tar": CLUSTER,
    "legan edit s3:": CLUSTER,
    "legan filter s3:": CLUSTER,
    "legan import photo=s3:": CLUSTER,
    "legan import multipie": LICENSED,
    "legan import stylegan": LICENSED,
    "legan import affectnet": LICENSED,
    "legan import casia-webface": LICENSED,
    "legan import lfw": LICENSED,
    "legan import people": "needs photographs of people by folder; tests/data/public/test_expressions.py",
    "legan import expressions": "likewise",
    "legan ratings import": LICENSED,
    "legan verify lfw": LICENSED,
    "legan verify bin": LICENSED,
    "legan verify ijbb": LICENSED,
    "legan train identity --data data/people": "needs photographs of many people; commands.md has such a line",
    "legan recognize photos/ --weights runs/expression/expression.safetensors --out": "as the line without --out of commands.md",
    "legan verify people": "needs several photographs of a person; tests/evaluation/test_verification.py",
    "legan evaluate --editor": "takes a minute; tests/evaluation/test_benchmark.py, and tests/train/test_own_classes.py for own classes",
    "legan evaluate --results a=a/": "as the line of evaluate.md",
    # Answers.
    "legan ratings summary exported/": PEOPLE,
    "legan ratings clean": PEOPLE,
    "legan study export": PEOPLE,
    "legan study forget": PEOPLE,
    "legan study invite": "needs a study by invitation; tests/study/test_raters.py",
    "legan study check studies/natural --rater": PEOPLE,
    "legan train quality --preset features": f"{PEOPLE}; tests/train/test_quality_features.py",
    "legan train quality --data data/rated": PEOPLE,
    "legan score faces/ --quality runs/q": PEOPLE,
    # What another line does, or what the page does not make.
    "legan train legan --data data/rendered --run runs/lite --devices 4": "starts processes; tests/train/test_several_devices.py",
    "legan train quality --data data/people": "needs the weights of another line and more ratings; tests/train/test_quality.py",
    "legan export runs/lite": "stands before the training that makes the run; train.md has both",
}


def check_edited(names: Names) -> None:
    assert Image.open("edited.jpg").size == Image.open("photo.jpg").size


def check_fields(names: Names) -> None:
    import tifffile

    before, after = (tifffile.imread(name) for name in ("photo.tif", "relit.tif"))
    left, top, right, bottom = names["fields"].box
    beside = np.ones(before.shape[:2], bool)
    beside[top:bottom, left:right] = False
    assert after.dtype == np.uint16 and (after[beside] == before[beside]).all()
    assert len(np.unique(after)) > 2000  # more than 8 bits hold
    eight_bits = np.asarray(names["edit"].image, float)
    # The same edit but for the matte's edge, which is found on the pixels.
    assert np.quantile(np.abs(after / 257 - eight_bits), 0.999) <= 1 and np.abs(before / 257 - eight_bits).mean() > 2
    # What the page says of the fields, where the face is whole and nothing moves: light alone was edited.
    fields, inner = names["fields"], np.s_[240:260, 240:260]
    row, column = slice(240 - top, 260 - top), slice(240 - left, 260 - left)
    assert (fields.displacement[row, column] == 0).all() and (fields.matte[row, column] == 1).all()
    own = before[inner] * (2 / 65535) * np.exp(fields.gain[row, column]) + fields.bias[row, column]
    np.testing.assert_allclose(own.clip(0, 2), after[inner] * (2 / 65535), atol=1e-4)
    assert "lighting=-45" in tifffile.TiffFile("relit.tif").pages[0].tags["ImageDescription"].value


def check_scores(names: Names) -> None:
    scores = names["scores"]
    assert len(scores) == 5 and scores["score"].notna().sum() == 4 and "no face" in scores["reason"].iloc[-1]
    assert len(list(Path("kept").iterdir())) == 2


def check_own_classes(names: Names) -> None:
    check_edited(names)
    assert names["editor"].networks.classes == Classes.parse(["calm", "angry"], ["window=-60,10", "lamp=60,10"])
    assert names["edited"].mark.edit == "expression=angry lighting=lamp strength=1"


def check_fine_tuned(names: Names) -> None:
    check_edited(names)
    packaged, mine = (legan.load_editor(name).networks.generator.state_dict() for name in (None, "mine.safetensors"))
    assert packaged.keys() == mine.keys() and any((packaged[name] != mine[name]).any() for name in packaged)


def check_readme(names: Names) -> None:
    check_edited(names)
    assert names["editor"].metadata["steps"] == 7


def check_renamed_ratings(names: Names) -> None:
    assert Path("ratings.csv").read_text().splitlines() == ["rater,image,rating", "anna,photo-000000.png,7"]


def check_nothing(names: Names) -> None:
    """That it ran says all."""


def check_exported(names: Names) -> None:
    assert Path("editor.onnx").stat().st_size > 1000


CHECKS: dict[str, Callable[[Names], None]] = {
    "README.md": check_readme,
    "augment.md": check_nothing,
    "commands.md": check_edited,
    "edit.md": check_edited,
    "evaluate.md": check_nothing,
    "fine-tune.md": check_fine_tuned,
    "index.md": check_edited,
    "onnx.md": check_exported,
    "own-classes.md": check_own_classes,
    "own-quality.md": check_renamed_ratings,
    "relight-raw.md": check_fields,
    "score-folder.md": check_scores,
    "studies.md": check_nothing,
    "train.md": check_nothing,
}


def page_of(name: str) -> Path:
    return ROOT / name if name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md") else ROOT / "docs" / name


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of Python and of bash of a page, in their order: language and code."""
    return re.findall(r"```(python|bash)\n(.*?)```", page.read_text(), re.DOTALL)


def bash_lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line and not line.startswith("#")]


def reason_not_to_run(line: str) -> str:
    """Why a line of bash is not run; "" where it is."""
    return next((reason for start, reason in NOT_RUN.items() if line.startswith(start)), "")


def run_line(line: str) -> None:
    """Run a `legan` line in this process, made short."""
    assert line.startswith("legan "), f"{line}: run it here, or name it in NOT_RUN with a reason"
    words = shlex.split(line.split(" > ")[0], comments=True)[1:]
    shorter = [more for start, more in SHORTER.items() if line.startswith(f"legan {start} ") and start != "train legan"]
    if words[:2] == ["train", "legan"]:
        shorter.append(NO_NETWORKS if "--init" in words else LEGAN)
    settings = [word for more in shorter for word in more]
    is_training = words[0] == "train" and "features" not in words
    words += [word for setting in settings for word in ("--set", setting)] if is_training else LONG_OPTIONS.get(words[0], [])
    result = CliRunner().invoke(app, words)
    assert result.exit_code in EXIT_CODES.get(" ".join(words[:2]), (0,)), (words, result.output, result.exception)


def test_each_page_with_code_is_tested() -> None:
    """A page with Python, or with a line of bash that runs, is checked below or in tests/test_docs.py; no entry is out of date."""
    pages = {name: blocks(page_of(name)) for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")}
    pages |= {page.name: blocks(page) for page in (ROOT / "docs").rglob("*.md")}
    lines = {name: [line for kind, code in own if kind == "bash" for line in bash_lines(code)] for name, own in pages.items()}
    with_python = {name for name, own in pages.items() if any(kind == "python" for kind, _ in own)}
    running = {name for name, own in lines.items() if not all(map(reason_not_to_run, own))}
    assert with_python - TESTED_ELSEWHERE.keys() | running == CHECKS.keys()
    every = [line for own in lines.values() for line in own]
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in every)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_code_of_a_page(name: str, folder: Path) -> None:
    names: Names = {}
    for kind, code in blocks(page_of(name)):
        if kind == "bash":
            for line in bash_lines(code):
                if not reason_not_to_run(line):
                    run_line(line)
        elif name not in TESTED_ELSEWHERE:
            exec(compile(code, name, "exec"), names)
    CHECKS[name](names)
