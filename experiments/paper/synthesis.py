"""The poster's first table, StarGAN, StarGAN with L_qual, StarGAN v2 and LEGAN trained on Multi-PIE: FID, LPIPS, SSIM, match, quality.

    python experiments/paper/synthesis.py --multipie Multi-Pie/data --out runs/paper [--dry-run]

Human preference is the one column that needs people: `legan study create` from the edits that the report keeps.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from stages import Raw, Stage, arguments, run, training

from legan.data.public.multipie import read_multipie

MODELS = ("stargan", "stargan-qual", "starganv2", "legan")
COLUMNS = ("fid", "lpips", "ssim", "match", "quality")
POSTER = {
    "stargan": (38.745, 0.126, 0.559, 0.635, 5.200),
    "stargan-qual": (34.045, 0.123, 0.567, 0.647, 5.391),
    "starganv2": (54.842, 0.212, 0.415, 0.202, 5.172),
    "legan": (29.964, 0.120, 0.649, 0.649, 5.853),
}


def stages(
    multipie: Path, out: Path, workers: int, device: str, networks: tuple[str, str] = ("inception", "alex")
) -> list[Stage]:
    """Import, four trainings, one evaluation."""
    data = out / "multipie"
    imported = ["import", f"multipie={multipie}", "--workers", str(workers), "--licence", "CMU Multi-PIE", "-o", str(data)]
    evaluation = ["evaluate", "--data", str(data), "--fid-network", networks[0], "--lpips-network", networks[1]]
    for name in MODELS:
        evaluation += ["--editor", f"{name}={out / name}"]
    evaluation += ["--device", device, "--workers", "1", "--out", str(out / "synthesis")]
    return [
        Stage(imported, data / "manifest.parquet"),
        *(training(name, data, out / name) for name in MODELS),
        Stage(evaluation, out / "synthesis" / "report.json"),
    ]


def table(report: Path) -> str:
    """The table beside the poster's figures."""
    models = {model["name"]: model["metrics"] for model in json.loads(report.read_text())["models"]}
    lines = ["| model | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for name in MODELS:
        cells = [
            f"{models[name][column]['value']:.3f} ({poster:.3f})" for column, poster in zip(COLUMNS, POSTER[name], strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(["Measured (the poster's).", "", *lines, ""])


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = arguments(__doc__ or "", ["multipie"])
    parser.add_argument("--fid-network", default="inception", help="as of `legan evaluate`: a name, or the weights' file")
    parser.add_argument("--lpips-network", default="alex", help="likewise")
    given = parser.parse_args(words)
    raw = [Raw("multipie", given.multipie, lambda folder: len(read_multipie(folder)), "337 people, four sessions, camera 05_1")]
    todo = stages(
        given.multipie or Path("MULTIPIE"), given.out, given.workers, given.device, (given.fid_network, given.lpips_network)
    )
    return run(raw, todo, lambda: table(given.out / "synthesis" / "report.json"), given.out / "synthesis.md", given.dry_run)


if __name__ == "__main__":
    raise SystemExit(main())
