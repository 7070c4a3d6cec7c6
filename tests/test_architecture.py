"""The rules of ARCHITECTURE.md that a machine can check beside the layers (import-linter): one door for each third party, light imports."""

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
DOORS = {
    "lightning_fabric": ("legan/train/loop.py",),
    "typer": ("legan/cli.py", "legan/commands/"),
    "safetensors": ("legan/core/weights.py",),
    "anny": ("legan_faces3d/",),
    "embreex": ("legan_faces3d/",),
    "dlib": ("legan/faces/",),
    "gradio": ("legan_app/",),
    "ray": ("legan/core/cluster.py",),
    "fsspec": ("legan/core/places.py",),
    "jinja2": ("legan/core/pages.py", "legan_study/"),
    **dict.fromkeys(("fastapi", "uvicorn", "sqlalchemy", "itsdangerous", "choix"), ("legan_study/",)),
    "starlette": ("legan_study/", "legan_app/serve.py"),
}


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_modules_start_with_what_they_are() -> None:
    assert [_name(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_third_parties_have_one_door() -> None:
    for path in MODULES:
        for name in _imports(path):
            doors = DOORS.get(name.split(".")[0])
            assert doors is None or _name(path).startswith(doors), f"{_name(path)} imports {name}, which belongs to {doors}"


def test_studies_never_reach_torch() -> None:
    code = "import sys, legan_study.export, legan_study.serve; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_import_is_light() -> None:
    heavy = "torch", "cv2", "dlib", "pandas", "scipy", "anny", "fastapi", "sqlalchemy", "gradio"
    code = f"import sys, legan, legan.cli; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
