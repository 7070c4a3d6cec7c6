"""The rules of ARCHITECTURE.md that a machine can check: layers, one door for each third party, sizes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "legan"
MODULES = sorted(SOURCE.rglob("*.py"))
DOORS = {
    "lightning_fabric": ("train/loop.py",),
    "typer": ("cli.py", "verbs/"),
    "safetensors": ("core/weights.py",),
    "anny": ("synthesis/",),
    "embreex": ("synthesis/",),
    "dlib": ("faces/",),
    **dict.fromkeys(
        ("fastapi", "starlette", "uvicorn", "jinja2", "sqlalchemy", "alembic", "itsdangerous", "choix"), ("study/",)
    ),
}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_VERB_LINES = 400, 60, 15
LAYERS = (
    ("cli",),
    ("verbs",),
    ("apply",),
    ("train", "study"),
    ("data", "models", "losses", "metrics", "synthesis", "faces"),
    ("core",),
)


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


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def _layer(part: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_keeps_the_house_rules(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module starts with what it is"
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for function in _functions(path):
        n_lines = (function.end_lineno or 0) - function.lineno + 1
        is_verb = _name(path).startswith(DOORS["typer"]) and any("command" in ast.dump(d) for d in function.decorator_list)
        if is_verb:  # its options and docstring are declarations
            body = function.body[1:] if ast.get_docstring(function) else function.body
            n_lines = (function.end_lineno or 0) - body[0].lineno + 1
        assert n_lines <= (MAX_VERB_LINES if is_verb else MAX_FUNCTION_LINES), f"{function.name}: {n_lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_third_parties_have_one_door(path: Path) -> None:
    for name in _imports(path):
        doors = DOORS.get(name.split(".")[0])
        assert doors is None or _name(path).startswith(doors), f"{name} is imported outside {doors}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_downwards(path: Path) -> None:
    own = _name(path).split("/")[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        pytest.skip("the front doors name what lies in every layer")
    for name in _imports(path):
        if name.startswith("legan.") and (other := name.split(".")[1]) != own and other != "__version__":
            assert _layer(other) > _layer(own), f"{own} imports {other}"


def test_studies_never_reach_torch() -> None:
    for path in (SOURCE / "study").rglob("*.py"):
        assert not [name for name in _imports(path) if name.split(".")[0] in ("torch", "lightning_fabric")], path


def test_import_is_light() -> None:
    heavy = "torch", "cv2", "dlib", "pandas", "scipy", "anny", "fastapi", "sqlalchemy"
    code = f"import sys, legan, legan.cli; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
