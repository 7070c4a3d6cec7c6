"""Build wheel and sdist, check them, and say what is in them.

    python tools/release.py [--out dist] [--install shared|whole]

Checked: the metadata (`twine check`); that the wheel holds every file of src/ and nothing else; that the sdist has what the wheel is
built from, and the licences. `--install` puts the wheel into a new virtual environment, runs `legan demo` there, and removes it:
`whole` with all that the wheel asks for (several GB), `shared` with the packages of the environment that runs this script.

A release: the version in CHANGELOG.md, CITATION.cff and `fallback-version` of pyproject.toml, then a tag vX.Y.Z, from which the version
is taken.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
NEEDED = {"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "PKG-INFO"}


def sources() -> set[str]:
    """Return what the wheel has to hold: the files of src/, as paths within it."""
    files = (path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / "src").as_posix() for path in files if ".egg-info" not in path.as_posix()}


def wheel_faults(path: Path) -> list[str]:
    """Return what a wheel lacks or should not have."""
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
    metadata = {name for name in names if ".dist-info/" in name}
    wanted = sources()
    faults = [f"lacks {name}" for name in sorted(wanted - names)] + [
        f"should not have {name}" for name in sorted(names - metadata - wanted)
    ]
    ends = {name.split(".dist-info/")[1] for name in metadata}
    return faults + [
        f"lacks {name} in its metadata"
        for name in ("METADATA", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE")
        if name not in ends
    ]


def sdist_faults(path: Path) -> list[str]:
    """Return what an sdist lacks."""
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    return [f"lacks {name}" for name in sorted((NEEDED | {f"src/{name}" for name in sources()}) - names)]


def contents(path: Path) -> str:
    """Return the number and the packed size of a wheel's files by folder, largest first, and the wheel's size."""
    n_files, n_bytes = Counter[str](), Counter[str]()
    with zipfile.ZipFile(path) as wheel:
        for entry in wheel.infolist():
            folder = "/".join(entry.filename.split("/")[:-1][:3])
            n_files[folder] += 1
            n_bytes[folder] += entry.compress_size
    lines = [f"{n_bytes[folder] / 1e6:8.2f} MB  {n_files[folder]:4d}  {folder}" for folder, _ in n_bytes.most_common()]
    return "\n".join([*lines, f"{path.stat().st_size / 1e6:8.2f} MB  {n_files.total():4d}  {path.name}"])


def try_installed(wheel: Path, shared: bool) -> None:
    """Install a wheel into a new environment, run the demo in it, and say how large it is."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", "venv"], check=True, cwd=place)
        if shared:
            (packages,) = (place / "venv").glob("lib/python*/site-packages")
            (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
        options = ["--no-deps"] if shared else []
        subprocess.run([place / "venv/bin/pip", "install", "--quiet", *options, wheel.resolve()], check=True)
        # Elsewhere and without PYTHONPATH, so that nothing is imported from the checkout.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        for words in (
            ["python", "-c", "import legan; print(legan.__version__, legan.__file__)"],
            ["legan", "demo", "--out", "demo"],
        ):
            subprocess.run([place / "venv/bin" / words[0], *words[1:]], check=True, cwd=place, env=environment)
        subprocess.run(["du", "-sh", "venv", "demo/index.html"], check=True, cwd=place)


def main() -> int:
    """Build, check, print; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--install", choices=("shared", "whole"))
    arguments = parser.parse_args()
    for old in (*arguments.out.glob("legan-*.whl"), *arguments.out.glob("legan-*.tar.gz")):
        old.unlink()
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(arguments.out), str(ROOT)], check=True)
    (wheel,), (sdist,) = arguments.out.glob("legan-*.whl"), arguments.out.glob("legan-*.tar.gz")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)], check=True)
    print(contents(wheel), f"{sdist.stat().st_size / 1e6:8.2f} MB        {sdist.name}", sep="\n")
    faults = [
        f"{path.name} {fault}"
        for path, found in ((wheel, wheel_faults(wheel)), (sdist, sdist_faults(sdist)))
        for fault in found
    ]
    print(*faults, sep="\n", file=sys.stderr)
    if arguments.install and not faults:
        try_installed(wheel, arguments.install == "shared")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
