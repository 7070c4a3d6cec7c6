"""Speed of `legan augment`, end to end: read, align by the manifest, edit, score, match, encode, write.

    python benchmarks/augment.py [--workers 2] [--sources 512] [--lights 2]

Synthetic images a second of wall time with that many processes, their start included, and a second of one process's processor time
once it is started, which other work on the machine changes less; beside a reference of the same run, the bare generator in float32.
The sources are packaged faces, enlarged to 256 pixels, with the alignment that halves them. The aim is 20 a second on two free cores.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from legan.augmentation import (
    N_SOURCES,
    LabelMap,
    Policy,
    Recipe,
    ShardAugmenter,
    augment,
    count_images,
    set_quotas,
    write_plan,
)
from legan.core.files import make_folder
from legan.core.weights import asset
from legan.core.workers import use_one_thread
from legan.data.manifest import ManifestRow, write_manifest
from legan.data.shards import RECORD, read_record, write_shard
from legan.models.editors import Codes
from legan.requests import AugmentationRequest

AIM = 20


def write_faces(folder: Path, n: int) -> Path:
    """A data set of `n` images of 256 pixels, ten to a person."""
    make_folder(folder)
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(sorted(asset("faces").glob("*.png"))):
        Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    n_images = len(list(folder.glob("*.png")))
    for number in range(n):
        row = ManifestRow(
            path=f"{number % n_images}.png", offset=None, n_bytes=None, key="", identity=f"p{number // 10}", expression="neutral",
            lighting="", domain="photo", split="train", source="benchmark", licence="CC0-1.0", sha256="",
            alignment=[0.5, 0.0, 0.0, 0.0, 0.5, 0.0], landmarks=None,
        )  # fmt: skip
        rows.append({**row})
    write_manifest(rows, folder)
    return folder


def generator_speed(maker: ShardAugmenter, n: int = 128) -> float:
    """Crops a processor second of the generator alone, float32, one thread."""
    x = torch.rand(n, 3, maker.editor.size, maker.editor.size) * 2 - 1
    codes = Codes(torch.eye(6)[torch.arange(n) % 6], torch.eye(20)[torch.arange(n) % 20])
    maker.editor.translate(x[:16], Codes(codes.expression[:16], codes.lighting[:16]))
    start = time.process_time()
    maker.editor.translate(x, codes)
    return n / (time.process_time() - start)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sources", type=int, default=512)
    parser.add_argument("--lights", type=int, default=2)
    words = parser.parse_args()
    policy = f"relight:{words.lights}"
    with tempfile.TemporaryDirectory() as folder:
        faces, out = write_faces(Path(folder) / "faces", words.sources), Path(folder) / "out"
        start = time.perf_counter()
        done = augment(faces, out, AugmentationRequest(policy, min_quality=0.0, min_match=-1.0), words.workers)
        wall = done.n_synthetic / (time.perf_counter() - start)

        # The same work of one process, once it is started.
        recipe = Recipe(
            faces, Path(folder) / "plan.parquet", 0, LabelMap(), 0.0, -1.0, False, None, None,
            "packaged", "cpu",
        )  # fmt: skip
        counts = count_images(faces)
        write_plan(faces, recipe.plan, counts, set_quotas(counts, Policy.parse(policy), None, LabelMap()), LabelMap(), 0)
        use_one_thread()
        maker = ShardAugmenter(recipe)
        write_shard(Path(folder) / "warm.tar", maker.make, 0)
        start_cpu = time.process_time()
        write_shard(Path(folder) / "one.tar", maker.make, 0)
        n_made = len(read_record(Path(folder) / "one.tar", RECORD)["rows"]) - min(N_SOURCES, words.sources)
        processor = n_made / (time.process_time() - start_cpu)
        reference = generator_speed(maker)
    print(
        f"{wall:.1f} synthetic images a second with {words.workers} processes, their start included ({done.n_synthetic} images; aim {AIM} "
        f"on two free cores); {processor:.1f} a processor second, {processor / reference:.2f} of {reference:.1f}, the bare generator in "
        f"float32; {maker.dtype or torch.float32}"
    )


if __name__ == "__main__":
    main()
