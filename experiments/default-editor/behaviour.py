"""What an edit leaves alone, and what lies between two edits: disentanglement, partial strengths, angles, neutralise first."""

import numpy as np
import torch
from classifiers import NEAR, Judge, Verdict
from edits import Crops, edit, edit_partly, judged, numbers, one_hot
from tables import Table, figure

from legan.core.conditions import EXPRESSIONS, LIGHTINGS, lighting_code
from legan.faces.embeddings import SAME_PERSON_DISTANCE, Embedding
from legan.models.editors import Networks

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOLERANCE = 0.02  # a probability may fall by so little from one strength to the next
ROW = [i for i, light in enumerate(LIGHTINGS) if light.elevation == 3.0]  # the flashes at eye level, from left to right
AZIMUTHS = np.array([LIGHTINGS[i].azimuth for i in ROW], float)
FLASHES = [i for i, light in enumerate(LIGHTINGS) if light.azimuth is not None]
N_FACES = 96  # edits of a row whose identity is measured: dlib takes its time
NEUTRAL = EXPRESSIONS.index("neutral")


def disentanglement_table(name: str, networks: Networks, judge: Judge, dlib: Embedding, inputs: Crops, n_lights: int) -> Table:
    """A row an edit: how often lighting, expression and person come out as they should, which is as before where not asked for.

    "As before" is the known class; of a photo under its own light, of no class, it is what the judge sees in the photo.
    """
    before = judged(judge, inputs.images)
    lighting = np.where(inputs.lighting >= 0, inputs.lighting, before.lighting.argmax(1))
    lights = _some_lights(n_lights)
    vectors = numbers(dlib, inputs.images)
    rows = []
    for what in ("only lighting", "only expression", "both"):
        drawn = [
            (i, e, light)
            for i in range(len(inputs))
            for e in (range(len(EXPRESSIONS)) if what != "only lighting" else [inputs.expression[i]])
            for light in ((lights if what == "only lighting" else lights[::3]) if what != "only expression" else [lighting[i]])
            if (what == "only lighting" or e != inputs.expression[i]) and (what == "only expression" or light != lighting[i])
        ]
        source, to_expression, to_lighting = np.array(drawn).T
        images = edit(
            networks,
            inputs.images[source],
            None if what == "only lighting" else one_hot(to_expression, len(EXPRESSIONS)),
            None if what == "only expression" else one_hot(to_lighting, len(LIGHTINGS)),
        )
        seen, person = judged(judge, images), inputs.person[source]
        right = (
            NEAR[seen.lighting.argmax(1), to_lighting],
            seen.lighting.argmax(1) == to_lighting,
            seen.expression.argmax(1) == to_expression,
        )
        some = np.sort(np.random.default_rng(0).permutation(len(images))[:N_FACES])
        kept = np.linalg.norm(numbers(dlib, images[some]) - vectors[source[some]], axis=1) < SAME_PERSON_DISTANCE
        rows.append((what, *(figure(values, person) for values in right), len(images), figure(kept, person[some]), len(some)))
    columns = ("changed", "lighting, within one neighbour", "lighting, exact", "expression", "n", "person (dlib)", "n of it")
    title = f"{name}: what comes out as it should, asked for or as before"
    return Table(f"disentanglement, {name}", title, columns, rows)


def strength_table(networks: Networks, judge: Judge, inputs: Crops, n_lights: int) -> Table:
    """Judge's probability of the target over strengths, and how often it never falls."""
    rows = []
    for attribute in ("expression", "lighting"):
        n = len(EXPRESSIONS) if attribute == "expression" else len(LIGHTINGS)
        targets = range(n) if attribute == "expression" else _some_lights(n_lights)
        own = inputs.expression if attribute == "expression" else inputs.lighting
        source, target = np.array([(i, t) for i in range(len(inputs)) for t in targets if t != own[i]]).T
        code = one_hot(target, n)
        codes = (code, None) if attribute == "expression" else (None, code)
        verdicts = [judged(judge, images) for images in edit_partly(networks, inputs.images[source], *codes, STRENGTHS)]
        chances = np.stack([getattr(verdict, attribute)[np.arange(len(target)), target] for verdict in verdicts], 1)
        monotone = (np.diff(chances, axis=1) >= -TOLERANCE).all(1)
        reached = chances[:, -1] - chances[:, 0] > 0.5
        person = inputs.person[source]
        rows.append(
            (
                attribute,
                *(f"{mean:.2f}" for mean in chances.mean(0)),
                figure(monotone, person),
                figure(monotone[reached], person[reached]) if reached.any() else None,
                len(target),
            )
        )
    columns = (
        "attribute",
        *(f"strength {strength:g}" for strength in STRENGTHS),
        "rows that never fall",
        "of those that rise by 0.5",
        "n",
    )
    title = f"Photos of validation people: mean probability of the target; a row falls when it loses more than {TOLERANCE:g}"
    return Table("strengths", title, columns, rows)


def _some_lights(n: int) -> np.ndarray:
    """Some of the lightings, spread evenly over their numbers, and so over the directions."""
    return np.round(np.linspace(0, len(LIGHTINGS) - 1, n)).astype(int)


def seen_azimuth(verdict: Verdict) -> np.ndarray:
    """Mean azimuth (n,) in degrees of the flashes that the judge sees, weighted with their probabilities."""
    weights = verdict.lighting[:, FLASHES]
    return (weights * [LIGHTINGS[i].azimuth for i in FLASHES]).sum(1) / weights.sum(1).clip(1e-9)


def angle_table(networks: Networks, judge: Judge, inputs: Crops) -> Table:
    """Lights asked for by angle, at the flashes and half-way between them: which azimuth the judge sees."""
    asked = np.sort(np.concatenate([AZIMUTHS, (AZIMUTHS[1:] + AZIMUTHS[:-1]) / 2]))
    codes = np.stack([lighting_code(float(angle)) for angle in asked])
    source = np.repeat(np.arange(len(inputs)), len(asked))
    from_codes = np.tile(codes, (len(inputs), 1))
    images = edit(networks, inputs.images[source], None, torch.from_numpy(from_codes))
    seen = seen_azimuth(judged(judge, images)).reshape(len(inputs), len(asked))
    between, left, right = seen[:, 1::2], seen[:, 0:-2:2], seen[:, 2::2]
    inside = (between >= np.minimum(left, right)) & (between <= np.maximum(left, right))
    rows = []
    for name, columns in (("at the flashes", slice(0, None, 2)), ("half-way", slice(1, None, 2))):
        angles = np.tile(asked[columns], len(inputs))
        values = seen[:, columns].ravel()
        person = np.repeat(inputs.person, seen[:, columns].shape[1])
        error = figure(np.abs(values - angles), person, False)
        inside_share = figure(inside.ravel(), person) if name == "half-way" else None
        rows.append((name, f"{np.corrcoef(values, angles)[0, 1]:.3f}", error, inside_share, len(values)))
    title = "Photos of validation people: azimuth asked for and azimuth seen, degrees"
    columns_ = ("lights", "correlation", "mean distance", "seen between the two flashes", "n")
    return Table("angles", title, columns_, rows)


def neutral_first_table(networks: Networks, judge: Judge, smiling: Crops) -> Table:
    """Smiling photos to every expression, at once and by way of their neutral edit; lights as they are."""
    n, kinds = len(smiling), len(EXPRESSIONS)
    neutral = edit(networks, smiling.images, one_hot(np.full(n, NEUTRAL), kinds), None)
    rows = []
    for target, name in enumerate(EXPRESSIONS):
        code = one_hot(np.full(n, target), kinds)
        at_once = judged(judge, edit(networks, smiling.images, code, None)).expression.argmax(1) == target
        cells = [figure(at_once, smiling.person)]
        if target == NEUTRAL:
            rows.append((name, *cells, None, n))
            continue
        in_two = judged(judge, edit(networks, neutral, code, None)).expression.argmax(1) == target
        rows.append((name, *cells, figure(in_two, smiling.person), n))
    title = "Smiling photos of validation people: expression reached"
    return Table("neutral first", title, ("asked", "at once", "by way of neutral", "n"), rows)
