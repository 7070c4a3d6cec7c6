"""The judge of edits: one network that tells the lighting and the expression of a crop, trained on crops that no editor touched.

    python experiments/default-editor/classifiers.py --data data/rendered --data data/london --data data/reexpressed \
        -o runs/judge.safetensors

It has the critic's shape: one trunk, a class head for each attribute (the realness head is left untrained). Training: plain cross
entropy on the split `train`, with changes of tone, small shifts and flips. Prints its accuracy on crops of people that it never saw,
in Markdown: no edit can be told better than they are.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from legan.core.conditions import EXPRESSIONS, LIGHTINGS, are_neighbours
from legan.core.config import config_to_dict, dict_to_config
from legan.core.errors import WeightsError
from legan.core.images import to_network
from legan.core.weights import load_weights, save_weights
from legan.data.batches import apply_tones, draw_tones, flip_images, flip_lightings
from legan.data.faces import FaceDataset
from legan.models.critic import Critic, CriticConfig

WIDTH, N_LAYERS, MAX_WIDTH = 16, 5, 256
MODEL = "judge of edits"


NEAR = np.array([[are_neighbours(a, b) for b in range(len(LIGHTINGS))] for a in range(len(LIGHTINGS))])


class Verdict(NamedTuple):
    """Probabilities of a batch of crops: `expression` (B, 6) and `lighting` (B, 20)."""

    expression: np.ndarray
    lighting: np.ndarray


class Judge:
    """Tells lighting and expression of crops; read from the file that this script wrote."""

    def __init__(self, path: Path) -> None:
        tensors, self.metadata = load_weights(path)
        if self.metadata.get("model") != MODEL:
            raise WeightsError(f"{path} is no judge: make one with experiments/default-editor/classifiers.py")
        self.net = Critic(dict_to_config(CriticConfig, self.metadata["critic"])).eval().requires_grad_(False)
        self.net.load_state_dict(tensors)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Verdict:
        """Judge crops (B, 3, 128, 128) in [-1, 1]."""
        found = [self.net(part) for part in x.split(64)]
        heads = (torch.cat([getattr(part, name) for part in found]).softmax(1).numpy() for name in Verdict._fields)
        return Verdict(*heads)


class Batches:
    """Training batches: each folder has its share, within it every expression the same."""

    def __init__(self, faces: FaceDataset, shares: list[float], seed: int) -> None:
        self.faces, self.random = faces, np.random.default_rng(seed)
        self.shares = np.array(shares) / np.sum(shares)
        self.members = [
            [np.flatnonzero((faces.folder == folder) & (faces.expression == e)) for e in range(len(EXPRESSIONS))]
            for folder in range(len(faces.folders))
        ]
        self.members = [[rows for rows in folder if len(rows)] for folder in self.members]

    def draw(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return crops (n, 3, 128, 128) in [-1, 1], expressions (n,) and lightings (n,), -1 for a light of no class."""
        random = self.random
        folders = [self.members[k] for k in random.choice(len(self.members), n, p=self.shares)]
        rows = np.array([random.choice(folder[random.integers(len(folder))]) for folder in folders])
        flipped = random.random(n) < 0.5
        images = flip_images(apply_tones(self.faces.images(rows), draw_tones(random, n, 1.0)), flipped)
        lighting = flip_lightings(self.faces.lighting[rows], flipped)
        x = shifted(to_network(images), random)
        return x, torch.from_numpy(self.faces.expression[rows]), torch.from_numpy(lighting)


def shifted(x: Tensor, random: np.random.Generator) -> Tensor:
    """Crops moved by up to 3 pixels, scaled by up to 5%, and as soft as an edit may be: a judge must not live on the finest detail."""
    n = len(x)
    scale = torch.from_numpy(np.exp(random.normal(0, 0.02, n).clip(-0.05, 0.05))).float()
    move = torch.from_numpy(random.uniform(-3, 3, (n, 2)) * 2 / x.shape[-1]).float()
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = move
    x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = torch.from_numpy(random.uniform(0, 1, (n, 1, 1, 1)) * (random.random((n, 1, 1, 1)) < 0.5)).float()
    return x.lerp(soft, amount)


def train(faces: FaceDataset, shares: list[float], n_steps: int, batch_size: int, seed: int) -> Critic:
    """Train a judge; Adam, one cycle of the learning rate, gradients clipped."""
    torch.manual_seed(seed)
    net = Critic(CriticConfig(width=WIDTH, n_layers=N_LAYERS, max_width=MAX_WIDTH)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=n_steps, pct_start=0.15)
    batches, start = Batches(faces, shares, seed), time.perf_counter()
    for step in range(1, n_steps + 1):
        x, expression, lighting = batches.draw(batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            found = net(x.contiguous(memory_format=torch.channels_last))
        losses = (
            F.cross_entropy(found.expression.float(), expression),
            F.cross_entropy(found.lighting.float(), lighting, ignore_index=-1),
        )
        optimizer.zero_grad()
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            print(f"step {step}: expression {losses[0]:.3f}, lighting {losses[1]:.3f}, {seconds:.0f} s", flush=True)
    return net.to(memory_format=torch.contiguous_format)


def accuracy_table(judge: Judge, faces: FaceDataset, split: str) -> list[str]:
    """Rows of Markdown: how well the judge tells crops of people that it never saw, one row a domain."""
    rows = []
    for domain in sorted(set(faces.domain)):
        own = np.flatnonzero(faces.domain == domain)
        parts = [judge(to_network(faces.images(part))) for part in np.array_split(own, max(1, len(own) // 256))]
        expression = np.concatenate([part.expression for part in parts]).argmax(1)
        lighting = np.concatenate([part.lighting for part in parts]).argmax(1)
        lit = faces.lighting[own] >= 0
        exact = (lighting == faces.lighting[own])[lit]
        near = NEAR[lighting, faces.lighting[own]][lit]
        figures = [f"{values.mean():.1%}" if len(values) else "-" for values in (exact, near)]
        n_people = len(np.unique(faces.person[own]))
        right = (expression == faces.expression[own]).mean()
        rows.append(f"| {domain}, split {split} | {n_people} | {len(own)} | {' | '.join(figures)} | {right:.1%} |")
    return rows


ACCURACY_HEAD = [
    "| real crops | people | n | lighting, exact | lighting, within one neighbour | expression |",
    "| --- | --- | --- | --- | --- | --- |",
]


def main() -> None:
    """Read the arguments, train, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="data set folder; may be repeated")
    parser.add_argument("--shares", type=float, nargs="+", help="of each folder in a batch; equal by default")
    parser.add_argument("-o", "--out", type=Path, required=True, help="weights file to write, .safetensors")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shares = options.shares or [1.0] * len(options.data)
    if len(shares) != len(options.data):
        parser.error("give one share for each data set folder")

    faces = FaceDataset(options.data, "train")
    net = train(faces, shares, options.steps, options.batch_size, options.seed)
    metadata = {
        "model": MODEL,
        "critic": config_to_dict(net.config),
        "steps": options.steps,
        "seed": options.seed,
        "data": ", ".join(folder.name for folder in options.data),
        "shares": shares,
    }
    save_weights(options.out, net.state_dict(), metadata)

    judge = Judge(options.out)
    print("\n".join(ACCURACY_HEAD))
    for split in ("val", "test"):
        folders = [folder for folder in options.data if _has_split(folder, split)]
        if folders:
            print("\n".join(accuracy_table(judge, FaceDataset(folders, split, memory_gb=0), split)))


def _has_split(folder: Path, split: str) -> bool:
    from legan.data.manifest import read_manifest

    return bool((read_manifest(folder)["split"] == split).any())


if __name__ == "__main__":
    main()
