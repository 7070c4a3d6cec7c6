"""The code in docs/ runs as it stands, and what the pages name is there."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from tools.commands_page import commands_page

import legan
from legan.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def test_quality_loss(tiny_quality: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("legan.models.quality.weights_file", lambda given, name: tiny_quality)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "quality-loss.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tensor([") and 0 <= float(lines[-1]) <= 10
    generator = names["generator"]
    assert all(p.grad is not None and p.grad.any() for p in generator.parameters())  # type: ignore[attr-defined]


def test_onnx(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from legan.core.weights import asset

    monkeypatch.chdir(tmp_path)
    (tmp_path / "editor.onnx").write_bytes(tiny_onnx.read_bytes())
    crop = Image.open(sorted(asset("faces").glob("*.png"))[0]).convert("RGB")
    crop.save("crop.png")
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "onnx.md").read_text(), re.DOTALL)
    exec(block, names := {})
    assert names["lights"][int(names["lighting"].argmax())]["name"] == "04"
    edited = np.asarray(Image.open("edited.png"), float)
    assert edited.shape == (128, 128, 3) and np.abs(edited - np.asarray(crop, float)).mean() > 2


def commands(text: str) -> list[list[str]]:
    """The words of every line that calls legan."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [
        shlex.split(line.split(" > ")[0], comments=True)[1:]
        for block in blocks
        for line in block.splitlines()
        if line.startswith("legan ")
    ]


def commands_of_script(text: str) -> list[list[str]]:
    """The words of every line of a shell script that calls legan; variables stand as 8."""
    lines = re.findall(r'^"\$LEGAN" (.*)$', text.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(re.sub(r"\$\w+", "8", line)) for line in lines]


CALLS = {page.name: calls for page in PAGES if (calls := commands(page.read_text()))}
CALLS["toy.sh"] = commands_of_script((ROOT / "runs" / "toy.sh").read_text())


@pytest.mark.parametrize("page", CALLS)
def test_commands_of_a_page_exist(page: str) -> None:
    """Each line is parsed as the command line would, options and all, and not run."""
    assert len(CALLS) > 12 and len(CALLS[page]) >= {"commands.md": 25, "augment.md": 15, "toy.sh": 5}.get(page, 1)
    for words in CALLS[page]:
        command, context = typer.main.get_command(app), None
        while hasattr(command, "commands"):
            name, words = words[0], words[1:]
            command = command.commands[name]
        context = command.make_context(command.name, list(words))
        assert context.params


def test_augments_manifest_has_what_the_page_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from legan.augmentation import PROVENANCE

    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "augment.md").read_text(), re.DOTALL)
    frame = pd.DataFrame({name: [True] if kind == "bool" else [1.0] for name, kind in PROVENANCE.items()})
    (tmp_path / "data" / "people-more").mkdir(parents=True)
    frame.to_parquet(tmp_path / "data" / "people-more" / "manifest.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block, names)
    assert len(names["made"]) == 1  # type: ignore[arg-type]


def test_the_walk_of_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `legan` line of "From images to a trained Q", with simulated raters where people would take part."""
    from tests.rated_sets import make_rated_set
    from tests.study.studies import set_up, taker
    from typer.testing import CliRunner

    from legan.cli import app
    from legan_study.serve import make_app
    from legan_study.study import open_study

    text = (DOCS / "studies.md").read_text().split("## From images to a trained Q")[1].split("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].split() for block in blocks for line in block.splitlines()]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "studies").mkdir()
    make_rated_set(tmp_path / "data" / "rated", n_identities=10, size=64, strengths=(0, 1))
    small = ["network.size=64", "network.width=4", "network.n_hidden=8", "data.batch_size=4", "loop.n_steps=2"]
    for _, *words in lines:
        if words[:2] == ["study", "serve"]:
            continue
        if words[:2] == ["study", "check"]:
            folder = tmp_path / words[2]
            set_up(folder, "simulated = true", "repeats_per_rater = 0", 'contact = "x@example.org"')
            with open_study(folder) as study:
                for seed in range(3):
                    rater = taker(make_app(study))
                    page = rater.enter()
                    while page.code is None:
                        item = study.images[study.by_code[page.images[0]]].item_id
                        page = rater.answer(page, rating=str((item * 3 + seed) % 10))
            continue
        if words[0] == "train":
            words += [part for setting in small for part in ("--set", setting)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (words, result.output)
    assert (tmp_path / "runs" / "q" / "quality.safetensors").is_file()
    assert "simulated-" in (tmp_path / "exported" / "ratings.csv").read_text()


# `package.module.name` and `folder/file.ext` in backticks. Commands, settings and files that users write have other forms.
DOTTED = re.compile(r"`((?:legan(?:_\w+)?\.)?[a-z]\w*(?:\.\w+)+)`")


def modules() -> set[str]:
    """Dotted names of all modules; those of legan also without its name."""
    found = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in (ROOT / "src").rglob("*.py")}
    found |= {name.removesuffix(".__init__") for name in found}
    return found | {name.removeprefix("legan.") for name in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_names_exist(page: Path) -> None:
    """`train.loop` must be a module, `core.light.LightSetup` something in one; other words with dots begin with no package of ours."""
    known = modules()
    tops = {name.split(".")[0] for name in known}
    wrong = []
    for word in DOTTED.findall(page.read_text()):
        head, _, last = word.rpartition(".")
        if word.split(".")[0] not in tops or word in known or word.endswith((".py", ".csv", ".json", ".md")):
            continue
        if head == "legan" and hasattr(legan, last):
            continue
        files = [ROOT / "src" / base / f"{head.replace('.', '/')}.py" for base in ("", "legan")]
        if not any(file.is_file() and re.search(rf"\b{last}\b", file.read_text()) for file in files):
            wrong.append(word)
    assert wrong == []


def test_architecture_has_each_folder_and_the_layers_of_pyproject() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    tree, layers = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    for package in ("legan", "legan_faces3d", "legan_study", "legan_app"):
        own = tree.split(f"src/{package}/")[1].split("\nsrc/")[0]
        folders = [path.parent for path in (ROOT / "src" / package).glob("*/__init__.py")]
        assert [folder.name for folder in folders if f"{folder.name}/" not in own] == []
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert layers.split("\n")[:-1] == next(one["layers"] for one in contracts if one["name"] == "layers")


def test_the_page_of_commands_is_that_of_the_code() -> None:
    assert (DOCS / "commands.md").read_text() == commands_page(), "run `python tools/commands_page.py`"


def test_an_option_without_help_is_an_error() -> None:
    command_line = typer.Typer()

    @command_line.command()
    def first(size: int = 1) -> None:
        """A command."""

    @command_line.command()
    def second() -> None:
        """Another."""

    with pytest.raises(ValueError, match="legan first `--size` has no help"):
        commands_page(command_line)


def test_changes_citation_and_fallback_are_of_one_version() -> None:
    """That of the newest section of the changelog; a released version is that one, others are on the way to it or beyond it."""
    newest = re.search(r"^## (\d+\.\d+\.\d+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and f"\nversion: {newest[1]}\n" in (ROOT / "CITATION.cff").read_text()
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"]
    assert build["fallback-version"] == f"{newest[1]}.dev0"
    assert legan.__version__ == newest[1] or ".dev" in legan.__version__
