"""Does light come from where it should? A small network learns the lighting classes from renders only, and names relit photos'.

    python experiments/relight/check_light.py --rendered data/rendered --relit data/london

Prints how often the class is right, and how often it is the right one or a neighbouring flash (at most 24.5 degrees away).
"""

import argparse
import io
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from legan.core.conditions import LIGHTING_NAMES, LIGHTINGS
from legan.data.manifest import read_bytes, read_manifest

SIDE = 40
NEIGHBOUR = 24.5  # degrees: the next flash of a row, at most
FACE = (slice(28, 126), slice(15, 113))


def main() -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rendered", type=Path, required=True)
    parser.add_argument("--relit", type=Path, required=True)
    parser.add_argument("--people", type=int, default=100, help="rendered people to train on")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rendered = read_manifest(options.rendered)
    train = rendered[rendered["split"] == "train"]
    train = train[train["identity"].isin(sorted(train["identity"].unique())[: options.people])]
    start = time.perf_counter()
    net = learn(*features(options.rendered, train), options.epochs)
    print(f"trained on {len(train)} renders of {options.people} people, seed 0, {time.perf_counter() - start:.0f} s\n")
    print("| crops | n | people | class right | right or one flash beside | mean angle, degrees |")
    print("| --- | --- | --- | --- | --- | --- |")
    report("renders, held out people", net, options.rendered, rendered[rendered["split"] != "train"])
    relit = read_manifest(options.relit)
    relit = relit[relit["domain"] == "relit"]
    report("relit photos", net, options.relit, relit)
    for expression in ("neutral", "smile"):
        report(f"relit photos, {expression}", net, options.relit, relit[relit["expression"] == expression])
    sure = relit[relit["confidence"] >= 0.7]
    report("relit photos, confidence 0.7 and more", net, options.relit, sure)


def features(folder: Path, rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Relative log luminance of the face (n, 1, SIDE, SIDE) and classes (n,)."""
    images = []
    for row in rows.to_dict("records"):
        image = np.asarray(Image.open(io.BytesIO(read_bytes(folder, row))).convert("L"), np.float32)
        small = cv2.resize(np.log(image[FACE] + 8), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        images.append(small - small.mean() * 0.7 - 0.3 * 4.5)  # most of the exposure taken out, so that room light can be told
    classes = [LIGHTING_NAMES.index(name) for name in rows["lighting"]]
    return torch.from_numpy(np.stack(images)[:, None]), torch.tensor(classes)


def learn(images: torch.Tensor, classes: torch.Tensor, n_epochs: int) -> nn.Module:
    """Train the classifier, with gain and contrast varied."""
    layers: list[nn.Module] = []
    for n_in, n_out in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(n_in, n_out, 3, 2, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 25, len(LIGHTINGS)))
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    n_steps = n_epochs * (len(classes) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, n_steps)
    for _ in range(n_steps):
        chosen = torch.randint(len(classes), (64,))
        x = images[chosen] * (1 + 0.15 * torch.randn(64, 1, 1, 1)) + 0.1 * torch.randn(64, 1, 1, 1)
        x = torch.roll(x, tuple(torch.randint(-2, 3, (2,)).tolist()), (2, 3)) + 0.05 * torch.randn_like(x)
        loss = nn.functional.cross_entropy(net(x), classes[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def report(name: str, net: nn.Module, folder: Path, rows) -> None:
    """Print one row of the table."""
    if not len(rows):
        return
    images, classes = features(folder, rows)
    with torch.inference_mode():
        named = torch.cat([net(part).argmax(dim=1) for part in images.split(512)])
    angles = ANGLES[named.numpy(), classes.numpy()]
    right, near = 100 * (named == classes).float().mean(), 100 * (angles <= NEIGHBOUR).mean()
    n_people = rows["identity"].nunique()
    print(f"| {name} | {len(rows)} | {n_people} | {right:.0f}% | {near:.0f}% | {np.nanmean(angles[np.isfinite(angles)]):.1f} |")


def _angles() -> np.ndarray:
    """Angle between the flashes of two classes in degrees; room light is infinitely far from every flash."""
    table = np.full((len(LIGHTINGS), len(LIGHTINGS)), np.inf)
    for i, a in enumerate(LIGHTINGS):
        for j, b in enumerate(LIGHTINGS):
            if a.direction is not None and b.direction is not None:
                table[i, j] = np.degrees(np.arccos(np.clip(a.direction @ b.direction, -1, 1)))
    np.fill_diagonal(table, 0)
    return table


ANGLES = _angles()

if __name__ == "__main__":
    main()
