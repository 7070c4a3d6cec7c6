"""A wheel or sdist that lacks a file, or has one too many, is noticed; the workflows test what pyproject.toml says."""

import io
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from tools.release import NEEDED, contents, sdist_faults, sources, wheel_faults

ROOT = Path(__file__).parent.parent.parent
METADATA = {
    f"legan-1.dist-info/{name}" for name in ("METADATA", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE", "RECORD")
}


def make_wheel(path: Path, names: set[str]) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        for name in names:
            wheel.writestr(name, b"0" * 1000)
    return path


def test_sources_are_the_packages_with_their_assets() -> None:
    names = sources()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"src/{name.split('/')[0]}" for name in names} == set(packages)
    assert {"legan/assets/weights/editor.safetensors", "legan/assets/page.html", "legan_study/static/icon.svg"} <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_a_whole_wheel_has_no_faults(tmp_path: Path) -> None:
    assert wheel_faults(make_wheel(tmp_path / "whole.whl", sources() | METADATA)) == []


def test_what_a_wheel_lacks_or_has_too_much(tmp_path: Path) -> None:
    names = (sources() | METADATA | {"tests/test_docs.py"}) - {"legan/cli.py", "legan-1.dist-info/licenses/NOTICE"}
    faults = wheel_faults(make_wheel(tmp_path / "wrong.whl", names))
    assert faults == ["lacks legan/cli.py", "should not have tests/test_docs.py", "lacks licenses/NOTICE in its metadata"]


def test_contents_count_files_by_folder(tmp_path: Path) -> None:
    lines = contents(make_wheel(tmp_path / "one.whl", {"legan/a.py", "legan/b.py", "legan/core/c.py"})).splitlines()
    assert [line.split()[2:] for line in lines] == [["2", "legan"], ["1", "legan/core"], ["3", "one.whl"]]


@pytest.mark.parametrize("lacking", [set(), {"CITATION.cff", "src/legan/cli.py"}])
def test_what_an_sdist_lacks(lacking: set[str], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "legan.tar.gz", "w:gz") as sdist:
        for name in (NEEDED | {f"src/{name}" for name in sources()}) - lacking:
            sdist.addfile(tarfile.TarInfo(f"legan-1/{name}"), io.BytesIO())
    assert sdist_faults(tmp_path / "legan.tar.gz") == [f"lacks {name}" for name in sorted(lacking)]


def test_the_workflow_runs_ci_on_each_supported_python() -> None:
    yaml = pytest.importorskip("yaml", reason="reading the workflows needs PyYAML, which MkDocs brings")
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["ci"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [match[1] for one in project["classifiers"] if (match := re.search(r":: (3\.\d+)$", one))]
    assert job["strategy"]["matrix"]["python"] == named and project["requires-python"] == f">={named[0]}"
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_the_release_is_of_the_tag_and_tried_before_it_is_published() -> None:
    yaml = pytest.importorskip("yaml", reason="reading the workflows needs PyYAML, which MkDocs brings")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert "python tools/release.py --install whole" in [step.get("run") for step in jobs["build"]["steps"]]
    assert jobs["publish"]["needs"] == "build"
