"""experiments/comparison: intervals over seeds and people at once, smaller sets, and what comes back from another machine."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import pytest
from tests.face_sets import draw_face, make_face_set

from legan.core.conditions import EXPRESSIONS
from legan.core.errors import DataError
from legan.data.manifest import read_manifest, read_pixels
from legan.evaluation.measure import INPUT, REAL

FOLDER = Path(__file__).parents[1] / "experiments" / "comparison"


def load(name: str, module_name: str | None = None) -> ModuleType:
    module_name = module_name or name
    spec = importlib.util.spec_from_file_location(module_name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def decide() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))  # its neighbour report.py
        yield load("decide")
    sys.modules.pop("report", None)


def test_an_interval_is_as_wide_as_seeds_and_people_vary_together(decide: ModuleType) -> None:
    """The variance of a crossed mean is that of the seeds over their number plus that of the people over theirs (Owen, 2007)."""
    random = np.random.default_rng(0)
    n_seeds, n_people, n_each = 12, 40, 3
    people = np.repeat(np.arange(n_people), n_each)
    values = random.normal(0, 1.0, n_seeds)[:, None] + random.normal(0, 2.0, n_people)[None, people]
    found = decide.crossed_interval(values, people)
    assert found.value == pytest.approx(values.mean())
    spread = np.sqrt(values.mean(1).var() / n_seeds + values.mean(0).reshape(n_people, n_each).mean(1).var() / n_people)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(spread, rel=0.1)


def test_one_seed_gives_the_interval_over_people_and_missing_values_are_left_out(decide: ModuleType) -> None:
    random = np.random.default_rng(1)
    people, values = np.repeat(np.arange(50), 2), random.normal(3, 1, (1, 100))
    with_gap = np.concatenate([values, [[np.nan] * 2]], 1)
    alone = decide.crossed_interval(values, people)
    gap = decide.crossed_interval(with_gap, np.append(people, [0, 1]))
    assert gap.value == pytest.approx(alone.value) and gap.low == pytest.approx(alone.low)
    assert (alone.high - alone.low) / 2 == pytest.approx(1.96 / np.sqrt(100), rel=0.3)


def test_the_ratio_of_seeds_has_a_t_interval_of_its_logarithm_and_decides_by_it(decide: ModuleType) -> None:
    found = decide.ratio_interval(np.exp([0.0, 0.2, 0.4]))
    reach = 4.3027 * 0.2 / np.sqrt(3)  # t of two degrees of freedom
    assert np.log([found.value, found.low, found.high]) == pytest.approx([0.2, 0.2 - reach, 0.2 + reach], abs=1e-4)
    assert decide.verdict(found, 1, more_is_better=False) == "undecided"
    assert decide.verdict(decide.ratio_interval([0.30, 0.31, 0.32]), 1, more_is_better=False) == "better"
    assert decide.verdict(decide.ratio_interval([1.30, 1.31, 1.32]), 1, more_is_better=False) == "worse"
    assert decide.verdict(decide.ratio_interval([0.5]), 1, more_is_better=False) == "undecided", (
        "one seed says nothing of others"
    )


def test_latex_marks_what_cannot_copy_and_sets_minus_signs(decide: ModuleType) -> None:
    rows = [["model", "copies, SSIM", "SSIM"], ["legan-noqual", "0.640 **not converged**", "-0.015 [-0.032, 0.010]"]]
    lines = decide.latex({"relit_a/val": rows}).splitlines()
    assert r"\multicolumn{3}{l}{relit\_a/val} \\" in lines
    assert r"legan-noqual & 0.640\dag & $-$0.015 [$-$0.032, 0.010] \\" in lines


REPORT = FOLDER / "results" / "64-long" / "seed-0"


def part_of(out: Path, models: set[str]) -> Path:
    """What report.py had left of some models of the committed report, the references with them."""
    out.mkdir()
    report = json.loads((REPORT / "report.json").read_text())
    report["models"] = [row for row in report["models"] if row["name"] in models]
    (out / "report.json").write_text(json.dumps(report))
    for name in ("images", "copies", "curves"):
        table = pd.read_csv(REPORT / f"{name}.csv")
        table[table["model"].isin({*models, INPUT, REAL})].to_csv(out / f"{name}.csv", index=False)
    return out


def test_models_that_were_measured_apart_are_decided_as_those_measured_together(decide: ModuleType, tmp_path: Path) -> None:
    parts = part_of(tmp_path / "a", {"legan", "stargan"}), part_of(tmp_path / "b", {"legan-noqual", "stargan-qual"})
    whole, joined = decide.Seeds([[REPORT]]), decide.Seeds([parts])
    assert {*joined.models} == {*whole.models} and len(joined.images[0]) == len(whole.images[0]) == 2400
    assert decide.correlations(joined) == decide.correlations(whole)
    assert decide.claims_of(joined)[0] == decide.claims_of(whole)[0] and len(decide.claims_of(joined)[1]) == 8
    rows = [{row[0]: row for row in decide.table_of(seeds, "turned-64/val")} for seeds in (joined, whole)]
    assert rows[0] == rows[1] and len(rows[0]) == 6


def test_a_report_of_other_edits_or_by_another_judge_is_not_joined(decide: ModuleType, tmp_path: Path) -> None:
    first, other = part_of(tmp_path / "a", {"legan"}), part_of(tmp_path / "b", {"stargan"})
    with pytest.raises(DataError, match="both have legan"):
        decide.Seeds([[first, REPORT]])
    images = pd.read_csv(other / "images.csv")
    images.assign(quality=images["quality"].sample(frac=1, random_state=0).to_numpy()).to_csv(other / "images.csv", index=False)
    with pytest.raises(DataError, match="another quality"):
        decide.Seeds([[first, other]])
    images.assign(lighting="00").to_csv(other / "images.csv", index=False)
    with pytest.raises(DataError, match="other edits"):
        decide.Seeds([[first, other]])
    copies = pd.read_csv(other / "copies.csv")
    copies[copies["images"] < 96_000].to_csv(other / "copies.csv", index=False)
    with pytest.raises(DataError, match=r"48,032"):
        decide.Seeds([[first, other]])


def test_smaller_sets_hold_what_two_sets_have_once(tmp_path: Path) -> None:
    sets = [make_face_set(tmp_path / "a", 2), make_face_set(tmp_path / "b", 3)]
    out = tmp_path / "small"
    assert load("shrink").shrink(sets, out, 16) == len(read_manifest(sets[1])), (
        "the people of the first are those of the second too"
    )
    for row in read_manifest(out).iloc[::7].to_dict("records"):
        expression, lighting = EXPRESSIONS.index(row["expression"]), int(row["lighting"])
        drawn = draw_face(int(row["identity"][1:]), expression, lighting, 32)
        assert (read_pixels(out, row) == cv2.resize(drawn, (16, 16), interpolation=cv2.INTER_AREA)).all()


def test_parts_bring_every_editor_once_the_last_ones_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = load("gpu", "comparison_gpu")
    monkeypatch.setattr(gpu, "PART", 60_000)
    there, here = tmp_path / "there", tmp_path / "here"
    for name, seed in (("legan", 0), ("stargan", 0), ("legan", 1)):
        run = there / f"seed-{seed}" / name / name
        (run / "snapshots").mkdir(parents=True)
        (run / "log.jsonl").write_text('{"step": 3, "val/l1": 0.5}\n')
        (run / "config.toml").write_text("[data]\nbatch_size = 16\n")
        for seen in (100, 200, 300):
            content = f"{name} {seed} {seen}".encode()
            (run / "snapshots" / f"images_{seen:08d}.safetensors").write_bytes(content + bytes(25_000))
    parts = gpu.parts_of(there)
    assert [name for _, name in parts[0] if "snapshots" in name] == ["cmp-0/legan/snapshots/images_00000300.safetensors"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "bring", "--runs", str(there), "--out", str(here), "--parts", "1-99"])
    assert gpu.main() == 0
    brought = sorted(here.glob("*.tar"))
    assert len(brought) == len(parts) and all(path.stat().st_size <= 60_000 for path in brought)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "join", *map(str, brought), "--runs", str(here)])
    assert gpu.main() == 0
    for path in there.rglob("*.safetensors"):
        seed, name = path.parts[-5].removeprefix("seed-"), path.parts[-3]
        assert (here / f"cmp-{seed}" / name / "snapshots" / path.name).read_bytes() == path.read_bytes()
    assert "legan,48,val/l1,0.5" in (here / "cmp-1" / "curves.csv").read_text()
