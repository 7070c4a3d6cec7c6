"""Edits of rendered people whose true image is known: L1 in [0, 1], PSNR in dB, SSIM; and how the judge sees the same edits."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from classifiers import NEAR, Judge
from edits import Crops, edit, judged, one_hot
from tables import Figure, Table, figure

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.images import to_network, to_unit
from legan.data.edits import before_backdrop
from legan.metrics.images import psnr, ssim
from legan.models.editors import Networks

KINDS = ("lighting only", "expression only", "both")
METRICS = ("L1", "PSNR", "SSIM")


class Pairs(NamedTuple):
    """Result of one kind of edit: inputs, true crops, and edits uint8 (n, 128, 128, 3).

    The true crops show the person as rendered, before what lies behind the person in the input: an edit of light is of the person.
    """

    inputs: Crops
    truths: Crops
    images: np.ndarray


def draw_pairs(crops: Crops, kind: str, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of n (input, target) pairs of one person; `kind` says which attributes differ."""
    table = np.full((crops.person.max() + 1, len(EXPRESSIONS), len(LIGHTINGS)), -1)
    table[crops.person, crops.expression, crops.lighting] = np.arange(len(crops))
    sources, targets = [], []
    people, by_name = np.unique(crops.person), np.argsort(EXPRESSIONS)
    for k in range(n):
        person = people[k % len(people)]
        e1, e2 = random.choice(by_name, 2, replace=False)
        l1, l2 = random.choice(len(LIGHTINGS), 2, replace=False)
        sources.append(table[person, e1, l1])
        targets.append(table[person, e1 if kind == "lighting only" else e2, l1 if kind == "expression only" else l2])
    return np.array(sources), np.array(targets)


def likeness(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """L1, PSNR and SSIM of each crop uint8 (n, 128, 128, 3): (n, 3)."""
    parts = []
    for rows in np.array_split(np.arange(len(image)), max(1, len(image) // 50)):
        a, b = (to_unit(to_network(side[rows])) for side in (image, truth))
        parts.append(torch.stack([(a - b).abs().mean((1, 2, 3)), psnr(a, b), ssim(a, b)], 1).numpy())
    return np.concatenate(parts)


def edit_pairs(networks: Networks, renders: Crops, n: int, seed: int) -> dict[str, Pairs]:
    """Edit n pairs of each kind."""
    found = {}
    for number, kind in enumerate(KINDS):
        source, target = draw_pairs(renders, kind, n, np.random.default_rng([seed, number]))
        inputs, truths = renders.of(source), renders.of(target)
        expression = None if kind == "lighting only" else one_hot(truths.expression, len(EXPRESSIONS))
        lighting = None if kind == "expression only" else one_hot(truths.lighting, len(LIGHTINGS))
        images = edit(networks, inputs.images, expression, lighting)
        found[kind] = Pairs(inputs, before_same(inputs, truths), images)
    return found


def before_same(inputs: Crops, truths: Crops) -> Crops:
    """The true crops before what lies behind the person in the inputs."""
    if inputs.mattes is None or truths.mattes is None:
        return truths
    images = [
        before_backdrop([true], [np.maximum(a, b)], own)[0]
        for own, true, a, b in zip(inputs.images, truths.images, inputs.mattes, truths.mattes, strict=True)
    ]
    return replace(truths, images=np.stack(images))


def likeness_table(pairs: dict[str, Pairs]) -> Table:
    """Every metric of every kind, the unedited input beside the edit."""
    rows = []
    for kind, some in pairs.items():
        cells: list[Figure] = []
        nothing, edited = (likeness(images, some.truths.images) for images in (some.inputs.images, some.images))
        for m in range(len(METRICS)):
            cells += [figure(values[:, m], some.inputs.person, False) for values in (nothing, edited)]
        rows.append((kind, *cells, len(some.images)))
    columns = ("edit", *(f"{metric} {what}" for metric in METRICS for what in ("nothing", "edit")), "n")
    return Table("pairs", "Rendered test people: likeness to the true crop", columns, rows)


def class_rows(judge: Judge, pairs: dict[str, Pairs]) -> dict[str, dict[str, Figure]]:
    """Shares right where both attributes change: of the edit, of the true crop and of the unedited input."""
    some = pairs["both"]
    shares: dict[str, dict[str, Figure]] = {"near": {}, "exact": {}, "expression": {}}
    for what, images in (("edit", some.images), ("true crop", some.truths.images), ("nothing", some.inputs.images)):
        verdict = judged(judge, images)
        lighting, expression = verdict.lighting.argmax(1), verdict.expression.argmax(1)
        shares["near"][what] = figure(NEAR[lighting, some.truths.lighting], some.inputs.person)
        shares["exact"][what] = figure(lighting == some.truths.lighting, some.inputs.person)
        shares["expression"][what] = figure(expression == some.truths.expression, some.inputs.person)
    return shares
