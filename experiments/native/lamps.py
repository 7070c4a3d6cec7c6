"""Superposition on rendered people: three lamps mixed, and a flash alone in the dark, against the truth.

    python experiments/native/lamps.py --renders FOLDER [--people 20] [--seed 0] [--sheet lamps.png]

The people (seeds 900000 on, whom no model was trained with) are at rest under room light. The truth is made from their own renders under
the twenty classes (`legan.data.edits.mixed`), which share nothing with the editor but that light adds up. The three
lamps are different flashes drawn by the seed, of factors 0.2 to 1, in a room of 0 to 1. Beside the mixture stand the class of the
strongest lamp, and the best of all twenty classes, which only the truth tells. Measured where the person is, since an edit leaves what
is not the person as it was; `--whole` measures the whole crop.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor

from legan.core.conditions import LIGHTING_NAMES
from legan.core.images import from_network, to_network, to_unit
from legan.core.light import Lamp, LightSetup
from legan.data.edits import mixed
from legan.editing.loader import load_editor
from legan.models.editors import LightingSpec, Networks
from legan_faces3d.render.renderer import Renderer

FIRST_SEED = 900_000  # people that no model was trained with
FLASHES = ("03", "05", "09", "11", "15", "17")  # each of them alone, for the second table


def crops_of(renderer: list[Renderer], seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The twenty crops of a person at rest, uint8 (20, S, S, 3), and where the person is, bool (S, S)."""
    path = folder / f"{seed}-lamps.npz"
    if not path.exists():
        if not renderer:
            renderer.append(Renderer())
        path.parent.mkdir(parents=True, exist_ok=True)
        result = renderer[0].render(seed, "neutral")
        np.savez(path, images=result.images, matte=result.matte)
    found = np.load(path)
    return found["images"], found["matte"] > 127


def drawn(rng: np.random.Generator) -> LightSetup:
    """Three lamps, the strongest first."""
    names = rng.choice(LIGHTING_NAMES[1:], 3, replace=False)
    factors = np.sort(rng.uniform(0.2, 1, 3))[::-1]
    return LightSetup(tuple(Lamp(str(n), float(f)) for n, f in zip(names, factors, strict=True)), float(rng.uniform()))


def true_light(crops: np.ndarray, setup: LightSetup) -> np.ndarray:
    """What the light shows, made from crops under the classes."""
    lamps = setup.in_classes()
    return mixed(crops[0], crops[lamps.classes], lamps)


def edited(networks: Networks, x: Tensor, lighting: LightingSpec) -> Tensor:
    """The crop at rest under a light (1, 3, S, S) in [0, 1]."""
    return to_unit(networks.translate(x, networks.target_codes(x, "neutral", lighting)).image)


def agreement(image: Tensor, truth: Tensor, where: np.ndarray) -> tuple[float, float]:
    """SSIM, and mean absolute difference in [0, 1], over the pixels of a mask (S, S)."""
    a, b = (one[0].permute(1, 2, 0).numpy() for one in (image, truth))
    similar = structural_similarity(a, b, channel_axis=2, data_range=1.0, gaussian_weights=True, sigma=1.5, full=True)[1]
    return float(similar[where].mean()), float(np.abs(a - b)[where].mean())


def as_unit(crop: np.ndarray) -> Tensor:
    """Crop uint8 (S, S, 3) -> (1, 3, S, S) in [0, 1]."""
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255


def line(label: str, values: np.ndarray) -> str:
    """A row of a table: means of (n, 2) SSIM and L1, each with half a 95% interval."""
    half = 1.96 * values.std(0, ddof=1) / np.sqrt(len(values))
    cells = [f"{mean:.3f} ± {h:.3f}" for mean, h in zip(values.mean(0), half, strict=True)]
    return f"| {label} | " + " | ".join(cells) + " |"


def main() -> None:
    """Read the command line, edit, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renders", type=Path, required=True, help="keeps the renders there")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="measure the whole crop, not the person alone")
    parser.add_argument("--sheet", type=Path, help="writes a PNG: before, mixture, truth; class, flash alone, truth")
    words = parser.parse_args()
    networks, rng, renderer = load_editor().networks, np.random.default_rng(words.seed), []
    people = [crops_of(renderer, seed, words.renders) for seed in range(FIRST_SEED, FIRST_SEED + words.people)]
    three: dict[str, list[tuple[float, float]]] = {}
    alone: dict[str, list[tuple[float, float]]] = {}
    rows = []
    for crops, matte in people:
        where = np.ones_like(matte) if words.whole else matte
        x, setup = to_network(Image.fromarray(crops[0])), drawn(rng)
        truth = as_unit(true_light(crops, setup))
        mixture = edited(networks, x, setup)
        classes = [agreement(edited(networks, x, name), truth, where) for name in LIGHTING_NAMES]
        strongest = LIGHTING_NAMES.index(str(setup.lamps[0].direction))
        three.setdefault("not edited", []).append(agreement(as_unit(crops[0]), truth, where))
        three.setdefault("class of the strongest lamp", []).append(classes[strongest])
        for name in (str(lamp.direction) for lamp in setup.lamps):
            own = as_unit(crops[LIGHTING_NAMES.index(name)])
            three.setdefault("for comparison: a class against its own truth", []).append(
                agreement(edited(networks, x, name), own, where)
            )
        three.setdefault("best class", []).append(max(classes))
        three.setdefault("mixture", []).append(agreement(mixture, truth, where))

        name = str(rng.choice(FLASHES))
        dark = LightSetup((Lamp(name),), 0.0)
        true_flash, flash, plain = as_unit(true_light(crops, dark)), edited(networks, x, dark), edited(networks, x, name)
        alone.setdefault("class", []).append(agreement(plain, true_flash, where))
        alone.setdefault("flash alone", []).append(agreement(flash, true_flash, where))
        shown = (to_unit(x), mixture, truth, plain, flash, true_flash)
        rows.append(np.concatenate([from_network(2 * one - 1)[0] for one in shown], axis=1))
    for title, table in (("three lamps", three), ("a flash alone", alone)):
        print(f"| {title}, n = {len(people)}, seed {words.seed} | SSIM | L1 |\n| --- | --- | --- |")
        print("\n".join(line(label, np.array(values)) for label, values in table.items()) + "\n")
    better = np.array(three["mixture"])[:, 0] > np.array(three["best class"])[:, 0]
    print(f"The mixture is more like the truth than the best class for {better.sum()} of {len(people)} people.")
    if words.sheet:
        Image.fromarray(np.concatenate(rows[:8])).save(words.sheet)


if __name__ == "__main__":
    main()
