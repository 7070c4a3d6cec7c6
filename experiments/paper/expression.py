"""The poster's third table: a classifier of expressions on AffectNet, and on it with 279,324 synthetic images for the rare ones.

    python experiments/paper/expression.py --affectnet AffectNet --editor runs/paper/legan/editor.safetensors [--dry-run]

The editor as for `verification.py`. AUC of each expression against the rest on AffectNet's validation set; the poster trains on 204,325
images and does not say which of AffectNet's labels they are.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from stages import Raw, Stage, arguments, run, training

from legan.data.public.affectnet import read_affectnet

SETS = ("original", "augmented")
N_REAL, N_SYNTHETIC = 204_325, 279_324
LABELS = ("neutral", "happy", "surprise", "disgust")
POSTER = {
    "original": ("0.851 ± 0.005", "0.955 ± 0.001", "0.873 ± 0.004", "0.887 ± 0.005"),
    "augmented": ("0.868 ± 0.005", "0.956 ± 0.001", "0.890 ± 0.003", "0.897 ± 0.001"),
}


def stages(affectnet: Path, editor: str, out: Path, workers: int, device: str) -> list[Stage]:
    """Import, augment, two trainings, two measurements."""
    sets = {name: out / f"affectnet-{name}" for name in SETS}
    imported = [
        "import",
        f"affectnet={affectnet}",
        "--workers",
        str(workers),
        "--licence",
        "AffectNet",
        "-o",
        str(sets["original"]),
    ]
    augmented = ["augment", str(sets["original"]), "--policy", "balance-expressions", "--ratio", f"{N_SYNTHETIC / N_REAL:.4f}"]
    augmented += ["--editor", editor, "--device", device, "--workers", str(workers), "-o", str(sets["augmented"])]
    found = [Stage(imported, sets["original"] / "manifest.parquet"), Stage(augmented, sets["augmented"] / "manifest.parquet")]
    for name in SETS:
        trained = training("expression", sets[name], out / f"expression-{name}")
        words = ["recognize", "--data", str(sets["original"]), "--split", "val", "--weights", str(trained.result)]
        found += [trained, Stage([*words, "--device", device, "--json"], out / f"expression-{name}.json")]
    return found


def table(out: Path) -> str:
    """The table beside the poster's figures."""
    lines = [
        "AUC, measured (the poster's).",
        "",
        "| training data | " + " | ".join(LABELS) + " |",
        "| --- |" + " --- |" * len(LABELS),
    ]
    for name in SETS:
        areas = json.loads((out / f"expression-{name}.json").read_text())["auc"]
        lines.append(
            f"| {name} | " + " | ".join(f"{areas[k]:.3f} ({b})" for k, b in zip(LABELS, POSTER[name], strict=True)) + " |"
        )
    return "\n".join([*lines, ""])


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = arguments(__doc__ or "", ["affectnet"])
    parser.add_argument("--editor", default="packaged")
    given = parser.parse_args(words)
    raw = [
        Raw(
            "affectnet",
            given.affectnet,
            lambda folder: len(read_affectnet(folder)),
            f"{N_REAL:,} of about 287,651 labelled images",
        )
    ]
    todo = stages(given.affectnet or Path("AFFECTNET"), given.editor, given.out, given.workers, given.device)
    return run(raw, todo, lambda: table(given.out), given.out / "expression.md", given.dry_run)


if __name__ == "__main__":
    raise SystemExit(main())
