"""Distil dlib's face network into the packaged identity network: factor its widest layers, then train it on dlib's descriptors.

    python experiments/identity/distil.py --data data/relit --data data/portraits-relit --data data/portraits-reexpressed \
        --out runs/identity

Needs `pip install legan[identity]`. Only the split `train` trains. `identity.safetensors` in the output folder is the network;
`steps.csv` the loss, and the agreement on the split `val`.

1. dlib's network is read into torch (`legan.models.face_resnet.read_dlib`), and `CENTRING` of people's mean descriptor subtracted.
2. Each 3x3 convolution of 256 channels becomes two, by the principal components of its outputs on training crops (Zhang et al.,
   "Accelerating very deep convolutional networks", TPAMI 2016, section 3.1).
3. The whole is trained to the descriptors of dlib's network: mean squared distance, on crops changed as a camera might (shift, turn,
   light, tone, blur, JPEG, flips), a part of them blends of two people's crops, whose descriptors dlib tells as well as any.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from legan.core.config import config_to_dict
from legan.core.files import make_folder, sha256_of
from legan.core.images import to_network
from legan.core.weights import save_weights
from legan.data.faces import LabelledFaces
from legan.faces.embeddings import model_path
from legan.models.face_resnet import DEFAULT, FaceResNet, FaceResNetConfig, Factored, read_dlib
from legan.train.export import data_facts, provenance
from legan.train.identity import changed

WEIGHTS = "identity.safetensors"
# Share of the mean descriptor that is subtracted. Distances stay as they are; cosines of two people, which crowd near 0.84 with all of it
# left in, spread. The larger the share, the less the order of cosines agrees with that of distances.
CENTRING = 0.5
N_FACTORED = 800  # crops whose activations choose the components
N_JUDGED = 200  # held-out crops for the agreement


def main() -> None:
    """Read the command line, distil, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="data set folder of crops; may be repeated")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=DEFAULT.rank)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4, help="highest learning rate of Adam; falls to 0 as a cosine")
    parser.add_argument("--blends", type=float, default=0.3, help="share of a batch that are blends of two crops")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    make_folder(options.out)
    train, held_out = (LabelledFaces(options.data, split) for split in ("train", "val"))
    random = np.random.default_rng(options.seed)
    judged = held_out.images(spread(held_out.person, N_JUDGED, random))

    teacher = read_dlib(model_path())
    sample = train.images(spread(train.person, N_FACTORED, random))
    centre(teacher, sample)
    student = factored(teacher, sample, options.rank)
    n_weights = sum(p.numel() for p in student.parameters())
    print(f"{len(train)} crops of {len(np.unique(train.person))} people, {n_weights} weights, seed {options.seed}", flush=True)

    student, teacher = (net.to(memory_format=torch.channels_last) for net in (student, teacher))  # type: ignore[call-overload]
    with (options.out / "steps.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["step", "seconds", "loss", "distance", "spearman"])
        for row in distil(student, teacher, train, judged, random, options):
            table.writerow(row)
            file.flush()
            print(*row, flush=True)
            write(student, int(row[0]), train, options)


def write(net: FaceResNet, step: int, train: LabelledFaces, options: argparse.Namespace) -> None:
    """Write the network as it is after `step` steps."""
    metadata = {
        "model": "legan-identity",
        "face_resnet": config_to_dict(net.config),
        "teacher": {"file": model_path().name, "sha256": sha256_of(model_path()), "licence": "CC0-1.0"},
        "training": {"centring": CENTRING} | {name: getattr(options, name) for name in ("steps", "batch", "lr", "blends")},
        "steps": step,
        "seed": options.seed,
        **data_facts(train.facts()),
        **provenance(),
    }
    save_weights(
        options.out / WEIGHTS, {name: tensor.contiguous() for name, tensor in net.state_dict().items()}, metadata, half=True
    )


def spread(person: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """Draw n images, of each person as many."""
    order = random.permutation(len(person))
    _, place, count = np.unique(person[order], return_inverse=True, return_counts=True)
    rank = np.empty(len(order), np.int64)  # of an image among its person's
    rank[np.argsort(place, kind="stable")] = np.concatenate([np.arange(c) for c in count])
    return order[np.argsort(rank, kind="stable")][:n]


@torch.no_grad()
def centre(net: FaceResNet, crops: np.ndarray) -> None:
    """Subtract most of the crops' mean descriptor."""
    net.fc.bias -= CENTRING * features(net, crops).mean(0)  # type: ignore[misc]


class Moments:
    """Forward hook that sums what is needed for the mean and the covariance of a layer's channels."""

    def __init__(self) -> None:
        self.n, self.total, self.products = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        y = output.movedim(1, -1).flatten(0, 2).double()  # (B * H * W, C)
        self.n, self.total, self.products = self.n + len(y), self.total + y.sum(0), self.products + y.T @ y

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Mean (C,) and covariance (C, C)."""
        mean = self.total / self.n
        return mean, self.products / self.n - mean.outer(mean)


@torch.no_grad()
def factored(net: FaceResNet, crops: np.ndarray, rank: int) -> FaceResNet:
    """Return the network with its widest convolutions factored: of each one's outputs, the first `rank` principal components."""
    student = FaceResNet(FaceResNetConfig(rank)).eval()
    names = [name for name, module in student.named_modules() if isinstance(module, Factored)]
    whole = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    moments = {name: Moments() for name in names}
    hooks = [whole[name].register_forward_hook(moments[name]) for name in names]
    features(net, crops)
    for hook in hooks:
        hook.remove()

    state = student.state_dict()
    for name, tensor in net.state_dict().items():
        if name in state:
            state[name] = tensor
    for name in names:
        mean, covariance = moments[name].mean_and_covariance()
        basis = torch.linalg.eigh(covariance)[1][:, -rank:]  # (256, rank)
        weight, bias = whole[name].weight.double(), whole[name].bias.double()  # type: ignore[union-attr]
        state[f"{name}.spatial.weight"] = (basis.T @ weight.flatten(1)).view(rank, 256, 3, 3).float()
        state[f"{name}.mix.weight"] = basis[:, :, None, None].float()
        state[f"{name}.mix.bias"] = (mean + basis @ (basis.T @ (bias - mean))).float()
    student.load_state_dict(state)
    return student


def distil(
    student: FaceResNet,
    teacher: FaceResNet,
    train: LabelledFaces,
    held_out: np.ndarray,
    random: np.random.Generator,
    options: argparse.Namespace,
) -> Iterator[tuple[float, ...]]:
    """Train the student; yields step, seconds, loss, and on the held-out crops the mean distance and the Spearman correlation."""
    optimizer = torch.optim.Adam(student.parameters(), options.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, options.steps))
    truth, start = features(teacher, held_out), time.perf_counter()
    losses: list[float] = []
    for step in range(options.steps + 1):
        if step % 50 == 0 or step == options.steps:
            found = features(student, held_out)
            loss = float(np.mean(losses)) if losses else float("nan")
            distance = float((found - truth).norm(dim=1).mean())
            rank_correlation = float(spearmanr(distances(found), distances(truth)).statistic)
            yield step, round(time.perf_counter() - start), round(loss, 5), round(distance, 4), round(rank_correlation, 4)
            losses = []
        if step == options.steps:
            return
        x = to_network(draw(train, options.batch, options.blends, random))
        with torch.no_grad():
            wanted = teacher(x)
        loss = (student(x) - wanted).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())


def draw(faces: LabelledFaces, n: int, blends: float, random: np.random.Generator) -> np.ndarray:
    """Draw n changed crops uint8 (n, 128, 128, 3), every person as often; of each, with the chance `blends`, a mixture with another."""
    people = random.choice(np.unique(faces.person), 2 * n)
    crops = faces.images([int(random.choice(np.flatnonzero(faces.person == person))) for person in people])
    mixed = random.random(n) < blends
    share = np.where(mixed, random.uniform(0.3, 0.7, n), 1)[:, None, None, None]
    blended = (share * crops[:n] + (1 - share) * crops[n:]).astype(np.uint8)
    return np.stack([changed(crop, random) for crop in blended])


@torch.no_grad()
def features(net: FaceResNet, crops: np.ndarray, batch_size: int = 32) -> Tensor:
    """Descriptors (n, 128) of crops."""
    return torch.cat([net(to_network(crops[i : i + batch_size])) for i in range(0, len(crops), batch_size)])


def distances(descriptors: Tensor) -> np.ndarray:
    """Euclidean distances of all pairs."""
    return torch.pdist(descriptors).numpy()


if __name__ == "__main__":
    main()
