"""The poster's second table: LightCNN-29 on CASIA-WebFace, and on it with as many synthetic images, verified on IJB-B and LFW.

    python experiments/paper/verification.py --casia CASIA-WebFace --lfw lfw --ijbb IJB-B --editor editor.safetensors [--dry-run]

The editor is LEGAN's of the first table (`legan export runs/paper/legan -o ...`), or the packaged one. The poster's figure for IJB-B is not
named there; TAR at FAR 0.01 stands here, and accuracy with its standard deviation over ten folds for LFW.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from stages import Raw, Stage, arguments, run, training

from legan.data.public.casia_webface import read_casia_webface
from legan.data.public.ijbb import read_ijbb
from legan.data.public.lfw import read_pairs

SETS = ("original", "augmented")
POSTER = {"original": ("0.954 ± 0.002", "0.966 ± 0.002"), "augmented": ("0.967 ± 0.001", "0.972 ± 0.001")}


def stages(casia: Path, lfw: Path, ijbb: Path, editor: str, out: Path, workers: int, device: str) -> list[Stage]:
    """Import, augment, two trainings, four verifications."""
    sets = {name: out / f"casia-{name}" for name in SETS}
    imported = [
        "import",
        f"casia-webface={casia}",
        "--workers",
        str(workers),
        "--licence",
        "CASIA-WebFace",
        "-o",
        str(sets["original"]),
    ]
    augmented = [
        "augment",
        str(sets["original"]),
        "--policy",
        "both",
        "--ratio",
        "1.0",
        "--min-quality",
        "4",
        "--min-match",
        "0.7",
    ]
    augmented += ["--editor", editor, "--device", device, "--workers", str(workers), "-o", str(sets["augmented"])]
    found = [Stage(imported, sets["original"] / "manifest.parquet"), Stage(augmented, sets["augmented"] / "manifest.parquet")]
    for name in SETS:
        trained = training("lightcnn29", sets[name], out / f"lightcnn29-{name}")
        found.append(trained)
        for protocol, place in (("ijbb", ijbb), ("lfw", lfw)):
            words = ["verify", protocol, str(place), "--identity", str(trained.result), "--device", device, "--json"]
            found.append(Stage(words, out / f"{protocol}-{name}.json"))
    return found


def table(out: Path) -> str:
    """The table beside the poster's figures."""
    lines = [
        "Measured (the poster's).",
        "",
        "| training data | IJB-B, TAR at FAR 0.01 | LFW, accuracy |",
        "| --- | --- | --- |",
    ]
    for name in SETS:
        ijbb, lfw = (json.loads((out / f"{protocol}-{name}.json").read_text()) for protocol in ("ijbb", "lfw"))
        ours = f"{ijbb['tar']['0.01']:.3f}", f"{lfw['accuracy']:.3f} ± {lfw['accuracy_std']:.3f}"
        lines.append(f"| {name} | " + " | ".join(f"{a} ({b})" for a, b in zip(ours, POSTER[name], strict=True)) + " |")
    return "\n".join([*lines, ""])


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = arguments(__doc__ or "", ["casia", "lfw", "ijbb"])
    parser.add_argument("--editor", default="packaged")
    given = parser.parse_args(words)
    raw = [
        Raw(
            "casia",
            given.casia,
            lambda folder: len(read_casia_webface(folder)),
            "439,999 images of 10,575 people after alignment",
        ),
        Raw(
            "lfw",
            given.lfw,
            lambda folder: len(read_pairs(folder / "pairs.txt").images),
            "13,233 images, 6,000 pairs in pairs.txt",
        ),
        Raw("ijbb", given.ijbb, lambda folder: len(read_ijbb(folder).images), "227,630 crops, 8 M pairs of templates"),
    ]
    places = (given.casia or Path("CASIA"), given.lfw or Path("LFW"), given.ijbb or Path("IJBB"))
    todo = stages(*places, given.editor, given.out, given.workers, given.device)
    return run(raw, todo, lambda: table(given.out), given.out / "verification.md", given.dry_run)


if __name__ == "__main__":
    raise SystemExit(main())
