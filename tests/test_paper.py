"""experiments/paper: each table's dry run on tiny trees says what is missing, its commands exist, and results fill the table."""

import importlib
import json
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
from tests.data.public.test_paper_sets import RECORDINGS, shot, touch

from legan.cli import app

ROOT = Path(__file__).parents[1]
NAMES = ("synthesis", "verification", "expression")


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    sys.path.insert(0, str(ROOT / "experiments" / "paper"))
    try:
        return {name: importlib.import_module(name) for name in (*NAMES, "stages")}
    finally:
        sys.path.pop(0)


def commands(text: str) -> list[list[str]]:
    """The words of each command of a dry run."""
    lines = [line[9:].partition("   # ")[0] for line in text.splitlines() if line[9:].startswith("legan ")]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize(("name", "raw", "n"), [("synthesis", 1, 6), ("verification", 3, 8), ("expression", 1, 6)])
def test_a_dry_run_says_what_is_missing_and_its_commands_exist(
    scripts: dict[str, ModuleType], name: str, raw: int, n: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scripts[name].main(["--dry-run", "--out", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert text.count("MISSING") == raw and not list(tmp_path.iterdir()), "a dry run writes nothing"
    found = commands(text)
    assert len(found) == n
    for words in found:
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            name, *words = words
            command = command.commands[name]
        assert command.make_context(command.name, list(words)).params
    assert scripts[NAMES[0]].main(["--out", str(tmp_path)]) == 1 and not list(tmp_path.iterdir()), (
        "nor does it begin without its data"
    )


def test_a_dry_run_on_the_raw_folders_counts_them(
    scripts: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "multipie"
    for session, n in RECORDINGS.items():
        for recording in range(1, n + 1):
            shot(raw, 1, session, recording, 7)
    assert scripts["synthesis"].main(["--dry-run", "--multipie", str(raw), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "found  multipie: 11 images" in text and "200,000 steps of 16: 3.2 M images" in text
    (raw / "session04").rename(tmp_path / "session04")
    assert scripts["synthesis"].main(["--dry-run", "--multipie", str(raw)]) == 1
    assert "MISSING  multipie: " in (text := capsys.readouterr().out) and "lacks session04, where scream come from" in text

    touch(tmp_path / "casia" / "0000045" / "001.jpg")
    assert scripts["verification"].main(["--dry-run", "--casia", str(tmp_path / "casia"), "--lfw", str(raw)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("found  casia: 1 images") and lines[1].startswith("MISSING  lfw: ")
    assert lines[2].startswith("MISSING  ijbb: missing, name its folder with --ijbb")


def test_results_fill_the_tables(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    columns = scripts["synthesis"].COLUMNS
    models = [{"name": name, "metrics": {c: {"value": 0.5} for c in columns}} for name in scripts["synthesis"].MODELS]
    (tmp_path / "report.json").write_text(json.dumps({"models": models}))
    assert "| legan | 0.500 (29.964) | 0.500 (0.120) |" in scripts["synthesis"].table(tmp_path / "report.json")
    for name in scripts["verification"].SETS:
        (tmp_path / f"ijbb-{name}.json").write_text(json.dumps({"tar": {"0.01": 0.9}}))
        (tmp_path / f"lfw-{name}.json").write_text(json.dumps({"accuracy": 0.97, "accuracy_std": 0.002}))
        (tmp_path / f"expression-{name}.json").write_text(json.dumps({"auc": dict.fromkeys(scripts["expression"].LABELS, 0.8)}))
    assert "| augmented | 0.900 (0.967 ± 0.001) | 0.970 ± 0.002 (0.972 ± 0.001) |" in scripts["verification"].table(tmp_path)
    assert "| original | 0.800 (0.851 ± 0.005) |" in scripts["expression"].table(tmp_path)


@pytest.mark.slow
def test_stages_run_in_order_and_once(
    scripts: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = scripts["stages"]
    raw = stages.Raw("any", tmp_path, lambda folder: 3, "as in the paper")
    models = stages.Stage(["models", "--json"], tmp_path / "models.json")
    failing = stages.Stage(["verify", "lfw", str(tmp_path / "none")], tmp_path / "none.json")
    out = tmp_path / "table.md"
    assert stages.run([raw], [models], lambda: "| filled |\n", out, dry_run=False) == 0
    assert json.loads(models.result.read_text()) and out.read_text() == "| filled |\n"
    models.result.write_text("{}")
    out.unlink()
    assert stages.run([raw], [models, failing], lambda: "", out, dry_run=False) == 1
    assert models.result.read_text() == "{}" and not out.exists(), "what is done stays, and no table without all results"
    assert "error: legan verify ended with 2: the same command continues" in capsys.readouterr().err
