"""Times a step of each training of the paper's tables, and its memory, on this machine: `results/steps.json`, from which hours are told.

    python experiments/paper/measure.py [--batch N] [--only NAME ...]

On a GPU leave out `--batch`: the published batch is taken. Each training runs in a process of its own, on a toy set; a step of each kind
that it has, after one to warm up. Without a GPU the time is processor time of one thread.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from stages import STEPS, TRAININGS

from legan.train.loop import Means, run_step
from legan.train.recipes import RECIPES
from legan.train.task import networks_of

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.train_step import write_toy_set  # beside this folder


def measure(name: str, batch: int | None) -> dict[str, object]:
    """Time one period of a training."""
    recipe_name, preset, settings = TRAININGS[name]
    recipe = RECIPES[recipe_name]
    fabric = Fabric(devices=1)
    on_gpu = fabric.device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        data = write_toy_set(Path(folder) / "toy")
        words = [*settings, *([f"data.batch_size={batch}"] if batch else [])]
        config = recipe.configure(preset, [data], Path(folder), words)
        config = replace(config, loop=replace(config.loop, n_steps=100))
        task, batches = recipe.build(config, fabric.device)
        for net in networks_of(task).values():
            net.to(fabric.device)
        period = max(task.period, 1)
        rows = fabric.to_device(batches(0, 0, 1))
        run_step(fabric, task, rows, config.loop, 0, Means())
        clock = time.perf_counter if on_gpu else time.process_time
        if on_gpu:
            torch.cuda.synchronize()
        start = clock()
        for step in range(1, 1 + period):
            run_step(fabric, task, rows, config.loop, step, Means())
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (clock() - start) / period
    memory = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    device = torch.cuda.get_device_name() if on_gpu else f"one core, {_processor()}"
    n = config.data.batch_size
    return {
        "seconds_per_image": round(seconds / n, 4), "batch": n, "gb": round(memory / 1e9, 2), "device": device,
        "dtype": str(getattr(task, "dtype", None) or torch.float32), "torch": torch.__version__, "steps": period,
    }  # fmt: skip


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, help="images of a step; the published batch by default")
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--one", choices=TRAININGS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.one:
        print(json.dumps(measure(given.one, given.batch)))
        return
    found = json.loads(STEPS.read_text()) if STEPS.exists() else {}
    for name in given.only:
        batch = ["--batch", str(given.batch)] if given.batch else []
        done = subprocess.run([sys.executable, __file__, "--one", name, *batch], check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
        STEPS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
