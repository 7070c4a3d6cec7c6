"""whole.sh of experiments/comparison and experiments/recognition, and data.sh: which commands they run, in which order, where."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from legan.cli import app

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
# Writes down its words in place of doing them.
RECORDER = '#!/bin/bash\n{ printf "%s" "${0##*/}"; printf " %q" "$@"; echo; } >> "$RECORD"\n'


def commands_of(script: str, tmp_path: Path, *words: str, **settings: str) -> list[list[str]]:
    """The commands that a script runs, in order."""
    for name in ("python", "legan"):
        tmp_path.joinpath("bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(RECORDER)
        (tmp_path / "bin" / name).chmod(0o755)
    record = tmp_path / "record.txt"
    record.write_text("")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", EXPERIMENTS / script, *words], env={"PATH": path, "RECORD": str(record)} | settings, check=True)
    return [shlex.split(line) for line in record.read_text().splitlines()]


def options_of(command: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in command if word.startswith("--")}


def check_options(commands: list[list[str]]) -> None:
    """Every option is one of the script's, or of the command of `legan`."""
    for command in commands:
        if command[0] == "legan":
            known = {name for option in get_command(app).commands[command[1]].params for name in option.opts}
        else:
            known = set(re.findall(r'"(--[\w-]+)"', Path(command[1]).read_text()))
        assert options_of(command) <= known, command


def names(commands: list[list[str]]) -> list[str]:
    return [Path(command[1]).name for command in commands]


def test_the_comparison_trains_and_reports_every_seed_and_decides_by_all(tmp_path: Path) -> None:
    commands = commands_of("comparison/whole.sh", tmp_path, "S", "W", "O")
    assert names(commands) == [
        *("labels.py", "reexpress", "relight", "render", *["shrink.py"] * 3, "judge.py"),
        *("train.py", "report.py") * 3,
        "decide.py",
    ]
    check_options(commands)
    made = [command[3] for command in commands if "shrink.py" in command[1]]
    trained = [command for command in commands if "train.py" in command[1]]
    reported = [command for command in commands if "report.py" in command[1]]
    four = [f"--only={name}" for name in ("legan", "legan-noqual", "stargan", "stargan-qual")]
    for seed, (training, report) in enumerate(zip(trained, reported, strict=True)):
        only = [*four, "--only=stargan-official", "--only=starganv2"] if seed == 0 else four
        for command in (training, report):
            assert [word for word in command if word.startswith("--only")] == only
            assert command[command.index("--runs") + 1] == f"W/runs/cmp-{seed}"
        assert [word[7:] for word in training if word.startswith("--data=")] == made
        assert training[training.index("--seed") + 1] == str(seed)
        assert report[report.index("--quality") + 1] == "W/judge-64/quality.safetensors"
        assert report[-2:] == ["--out", f"O/seed-{seed}"]
    assert commands[-1][2:] == ["--report=O/seed-0", "--report=O/seed-1", "--report=O/seed-2", "--out", "O"]


def test_the_comparison_makes_again_what_is_missing_alone(tmp_path: Path) -> None:
    work = tmp_path / "W"
    (work / "judge-64").mkdir(parents=True)
    (work / "judge-64" / "quality.safetensors").touch()
    (work / "data" / "turned-64").mkdir(parents=True)
    (work / "data" / "turned-64" / "manifest.parquet").touch()
    commands = commands_of(
        "comparison/whole.sh", tmp_path, "S", str(work), "O", SEEDS="4", MODELS="stargan", ONCE="", IMAGES="64"
    )
    assert names(commands)[4:] == ["shrink.py", "shrink.py", "train.py", "report.py", "decide.py"]
    assert [word for word in commands[-3] if word.startswith("--only")] == ["--only=stargan"]
    assert commands[-3][commands[-3].index("--images") + 1] == "64"


def test_recognition_goes_from_photographs_to_the_tables(tmp_path: Path) -> None:
    commands = commands_of("recognition/whole.sh", tmp_path, "S", "W", "O", SEEDS="0 5")
    assert names(commands) == [
        "labels.py",
        "relight",
        "reexpress",
        "relight",
        "render",
        "render",
        "sets.py",
        "run.py",
        "report.py",
    ]
    check_options(commands)
    sets, run, report = (command[2:] for command in commands[-3:])
    made = {command[command.index("--out") + 1] for command in commands[:-3]}
    read = {word for command in (sets, run) for word in command if word.startswith("W/data/")}
    assert read <= made, "what is read was made"
    assert run[run.index("--seeds") + 1 : run.index("--steps")] == ["0", "5"]
    assert sets[sets.index("--out") + 1] == run[run.index("--sets") + 1]
    assert run[run.index("--out") + 1] == report[report.index("--runs") + 1]


def test_data_makes_the_sets_that_are_named_and_knows_no_others(tmp_path: Path) -> None:
    everything = commands_of("default-editor/data.sh", tmp_path, "S", "D")
    check_options(everything)
    made = [command[command.index("--out") + 1] for command in everything[1:]]
    assert len(made) == len({*made}) == 11
    some = commands_of("default-editor/data.sh", tmp_path, "S", "D", "turned", "relit")
    assert [command[command.index("--out") + 1] for command in some] == ["D", "D/relit", "D/turned"]
    with pytest.raises(subprocess.CalledProcessError):
        commands_of("default-editor/data.sh", tmp_path, "S", "D", "relit", "lit")
    assert (tmp_path / "record.txt").read_text() == "", "nothing was begun"
