"""Edits of photographs of people that no network saw in training, from the photos under their own light: the judge, identity, Q."""

from dataclasses import dataclass

import numpy as np
from classifiers import NEAR, Judge, Verdict
from edits import Crops, Edits, edit_to, judged, numbers, scores, targets_of
from tables import Figure, Table, figure

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.faces.embeddings import SAME_PERSON_DISTANCE, Embedding
from legan.metrics.verification import all_pairs, match_scores, score_pairs
from legan.models.editors import Networks
from legan.quality.scorer import QualityScorer

FAR = 0.01


@dataclass(frozen=True)
class PhotoEdits:
    """Edits of photos to every expression under many lightings, and the judge's verdict on them."""

    inputs: Crops
    edits: Edits
    verdict: Verdict

    @property
    def person(self) -> np.ndarray:
        """Whom each edit shows."""
        return self.inputs.person[self.edits.source]


def edit_photos(networks: Networks, judge: Judge, inputs: Crops, n_lights: int, seed: int) -> PhotoEdits:
    """Edit each photo to all expressions, each under `n_lights` lightings."""
    edits = edit_to(networks, inputs, *targets_of(len(inputs), n_lights, np.random.default_rng(seed)))
    return PhotoEdits(inputs, edits, judged(judge, edits.images))


def class_shares(found: PhotoEdits, judge: Judge, real: Crops) -> dict[str, dict[str, Figure]]:
    """Shares right: of the edits, of real crops (`real`: relit and re-expressed) by their own class, and of unedited inputs."""
    edits, verdict, person = found.edits, found.verdict, found.person
    before = judged(judge, found.inputs.images)
    lighting, expression = verdict.lighting.argmax(1), verdict.expression.argmax(1)
    still_lighting, still_expression = before.lighting.argmax(1)[edits.source], before.expression.argmax(1)[edits.source]
    on_real = judged(judge, real.images)
    lit, real_lighting = real.lighting >= 0, on_real.lighting.argmax(1)
    return {
        "near": {
            "edit": figure(NEAR[lighting, edits.lighting], person),
            "true crop": figure(NEAR[real_lighting, real.lighting][lit], real.person[lit]),
            "nothing": figure(NEAR[still_lighting, edits.lighting], person),
        },
        "exact": {
            "edit": figure(lighting == edits.lighting, person),
            "true crop": figure((real_lighting == real.lighting)[lit], real.person[lit]),
            "nothing": figure(still_lighting == edits.lighting, person),
        },
        "expression": {
            "edit": figure(expression == edits.expression, person),
            "true crop": figure(on_real.expression.argmax(1) == real.expression, real.person),
            "nothing": figure(still_expression == edits.expression, person),
        },
    }


def expression_table(found: PhotoEdits) -> Table:
    """Which expression the judge sees in the edits, a row a target; neutral and smiling photos apart."""
    rows = []
    seen = found.verdict.expression.argmax(1)
    for before in np.unique(found.inputs.expression):
        for target, name in enumerate(EXPRESSIONS):
            own = (found.edits.expression == target) & (found.inputs.expression[found.edits.source] == before)
            counts = np.bincount(seen[own], minlength=len(EXPRESSIONS)) / own.sum()
            rows.append((EXPRESSIONS[before], name, *(f"{count:.1%}" for count in counts), int(own.sum())))
    columns = ("photo", "asked", *(f"seen: {name}" for name in EXPRESSIONS), "n")
    return Table("expressions", "Photos of validation people: expression seen in the edit", columns, rows)


def lighting_table(found: PhotoEdits) -> Table:
    """How often the judge sees the lighting that was asked for, a row a lighting."""
    rows = []
    seen = found.verdict.lighting.argmax(1)
    for target, name in enumerate(LIGHTING_NAMES):
        own = found.edits.lighting == target
        if not own.any():
            continue
        counts = np.bincount(seen[own & ~NEAR[seen, target]], minlength=len(LIGHTING_NAMES))
        wrong = f"{LIGHTING_NAMES[counts.argmax()]} ({counts.max() / own.sum():.0%})" if counts.any() else None
        near, exact = NEAR[seen[own], target].mean(), (seen[own] == target).mean()
        rows.append((name, f"{exact:.1%}", f"{near:.1%}", wrong, int(own.sum())))
    columns = ("asked", "exact", "within one neighbour", "most frequent other", "n")
    return Table("lightings", "Photos of validation people: lighting seen in the edit", columns, rows)


@dataclass(frozen=True)
class Identity:
    """Whether edits show the same person to one embedding: `kept` (n,) bool, and its closeness to the input (n,)."""

    name: str
    rule: str
    kept: np.ndarray
    closeness: np.ndarray
    real: Figure  # share of real crops of the person, under other conditions, that the rule accepts
    others: Figure  # share of real crops of other people that it accepts


def identity(embedding: Embedding, sources: np.ndarray, edits: np.ndarray, source_of: np.ndarray, real: Crops) -> Identity:
    """Compare edits with their inputs, and real crops among themselves.

    Args:
        embedding: `dlib` is judged by its own rule, a Euclidean distance below 0.6; any other by the cosine that accepts 1% of
            the pairs of real crops of different people.
        sources, edits: crops; `source_of` (n edits,) rows of `sources`.
        real: crops that no editor touched, of several people.
    """
    before, after, true = (numbers(embedding, images) for images in (sources, edits, real.images))
    pairs = all_pairs(real.person)
    if embedding.name == "dlib":
        closeness = -np.linalg.norm(after - before[source_of], axis=1)
        among = -np.linalg.norm(true[pairs.first] - true[pairs.second], axis=1)
        threshold, rule = -SAME_PERSON_DISTANCE, f"distance < {SAME_PERSON_DISTANCE}"
    else:
        closeness = match_scores(after, before[source_of])
        among = score_pairs(true, pairs)
        threshold = float(np.quantile(among[~pairs.same], 1 - FAR))
        rule = f"cosine > {threshold:.3f}, which {FAR:.0%} of pairs of different people reach"
    accepted, people = among > threshold, real.person[pairs.first]
    same, other = (figure(accepted[rows], people[rows]) for rows in (pairs.same, ~pairs.same))
    return Identity(embedding.name, rule, closeness > threshold, closeness, same, other)


def identity_table(found: PhotoEdits, results: list[Identity]) -> Table:
    """Identity by embedding and target expression."""
    rows = []
    for one in results:
        rows.append(
            (one.name, "all", figure(one.kept, found.person), f"{np.abs(one.closeness).mean():.3f}", one.real, one.others)
        )
        for target, name in enumerate(EXPRESSIONS):
            own = found.edits.expression == target
            kept = figure(one.kept[own], found.person[own])
            rows.append((one.name, name, kept, f"{np.abs(one.closeness[own]).mean():.3f}", None, None))
    title = "Photos of validation people: identity kept; " + "; ".join(f"{one.name}: {one.rule}" for one in results)
    columns = (
        "embedding",
        "target",
        "kept",
        "mean distance (dlib) or cosine",
        "real crops, same person",
        "real crops, two people",
    )
    return Table("identity", title, columns, rows)


def quality_table(found: PhotoEdits, scorers: dict[str, QualityScorer], real: Crops) -> Table:
    """Mean Q of inputs, edits and real relit or re-expressed crops; a row a quality model."""
    rows = []
    for name, scorer in scorers.items():
        before, after, true = (scores(scorer, images) for images in (found.inputs.images, found.edits.images, real.images))
        change = figure(after - before[found.edits.source], found.person, False)
        rows.append(
            (
                name,
                figure(before, found.inputs.person, False),
                figure(after, found.person, False),
                change,
                figure(true, real.person, False),
                len(after),
            )
        )
    columns = ("quality model", "Q of inputs", "Q of edits", "change", "Q of relit and re-expressed crops", "n")
    return Table("quality", "Photos of validation people: naturalness", columns, rows)
