"""Edits of photographs as users bring them: is only what was asked for changed, is it changed, is it the same person?

    python experiments/default-editor/anyone.py --photos ../shared/portraits data/portraits.csv --photos ../shared/london data/london.csv \
        --data data/relit --data data/reexpressed --data data/turned --judge runs/judge.safetensors [--weights editor.safetensors] \
        [--limit 30] [--grid runs/anyone.png] [--out runs/anyone]

`--photos` takes a folder and a CSV file with file, identity, expression and split; the split `val` is measured. `--data` are sets of
unedited crops: their split `train` fits the second judge, their split `val` holds the truths. Measured on aligned crops of 128 pixels:

- light: mean grey level of three disks (forehead, cheeks; radius 0.18 of the eye distance), edit of the expression alone against the
  photo; the same of what the edit draws, its gain and bias, without what it moves; and what the disks do between true crops of two
  expressions, renders under one light and photographs of one person;
- places: how far the landmark network sees eyes and mouth move when only light is edited, in pixels of the crop, and when
  `legan relight` changed it (it moves nothing, so that this is the error of the landmarks);
- expression: what two judges see, neither of which saw an edit. `judge` is made by classifiers.py; `features` is a logistic regression
  on EfficientNet-Lite0's features;
- person: dlib's distance between photo and edit, and between a photo and what `legan relight` made of it;
- regions: SSIM and distance of EfficientNet-Lite0's features round mouth and eyes, edit and input against the true crop.

Prints Markdown; `--out` gets table.md and table.json. Intervals: 95% bootstrap over people. The grid shows people: look at it, keep it
out of the repository.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from classifiers import Judge
from edits import one_hot
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import Table, figure
from torch.nn import functional as F

from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.files import make_folder, write_atomic
from legan.core.geometry import CROP_SIZE, EYE_DISTANCE, EYES_Y, MOUTH_Y
from legan.core.images import from_network, load_photo, png_bytes, to_network
from legan.data.faces import FaceDataset
from legan.faces.align import align
from legan.faces.detect import detect
from legan.faces.embeddings import DlibEmbedder
from legan.faces.landmarks import locate_in_crop
from legan.metrics.images import ssim
from legan.models.editors import Codes, Networks, load_networks
from legan.models.efficientnet import load_efficientnet
from legan.models.generator import apply_fields

DISK_RADIUS = 0.18 * EYE_DISTANCE
DISKS = {
    "forehead": (0.5, EYES_Y - 0.6 * EYE_DISTANCE),
    "left cheek": (0.5 - 0.6 * EYE_DISTANCE, EYES_Y + 0.75 * EYE_DISTANCE),
    "right cheek": (0.5 + 0.6 * EYE_DISTANCE, EYES_Y + 0.75 * EYE_DISTANCE),
}
SOME_LIGHTS = (0, 1, 4, 7, 10, 13, 14, 18, 19)
HARD_LIGHTS = (1, 7, 13, 19)  # of those, where dlib's distance is measured
EYES_AND_MOUTH = np.r_[36:48, 48:68]
OPEN = ("surprise", "disgust", "scream")
REGIONS = {  # left, top, right, bottom, fractions of the side
    "mouth": (0.3, MOUTH_Y - 0.13, 0.7, MOUTH_Y + 0.17),
    "eyes": (0.2, EYES_Y - 0.1, 0.8, EYES_Y + 0.1),
}


@dataclass(frozen=True)
class Photos:
    """Aligned crops of photos: `images` uint8 (n, 128, 128, 3), `person` (n,) numbers, `expression` (n,) classes, names of files."""

    name: str
    files: list[str]
    images: np.ndarray
    person: np.ndarray
    expression: np.ndarray


def read_photos(folder: Path, table: Path, limit: int | None) -> Photos:
    """Align the validation photos of a list; photos without a face are named."""
    with open(table, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("split", "val") == "val"]
    files, images, people, expressions = [], [], [], []
    for row in rows[:limit]:
        photo = load_photo(folder / row["file"])
        faces = detect(photo.image)
        if not faces:
            print(f"no face: {row['file']}")
            continue
        files.append(row["file"])
        images.append(np.asarray(align(photo.image, faces[0].landmarks).image))
        people.append(row["identity"])
        expressions.append(EXPRESSIONS.index(row["expression"]))
    return Photos(folder.name, files, np.stack(images), np.unique(people, return_inverse=True)[1], np.array(expressions))


def edited(
    networks: Networks, images: np.ndarray, expression: int | None, lighting: int | None, moves: bool = True
) -> np.ndarray:
    """Edit crops uint8 (n, 128, 128, 3) to classes; None keeps. Without `moves`, only draw: gain and bias, no displacement."""
    done = []
    for part in np.array_split(images, max(1, len(images) // 16)):
        x = to_network(part)
        kept = networks.target_codes(x, None, None) if expression is None or lighting is None else None
        codes = Codes(
            kept.expression if expression is None else one_hot([expression] * len(x), len(EXPRESSIONS)),
            kept.lighting if lighting is None else one_hot([lighting] * len(x), len(LIGHTINGS)),
        )
        out = networks.translate(x, codes)
        image = out.image if moves else apply_fields(x, torch.zeros_like(out.displacement), out.gain, out.bias).clamp(-1, 1)
        done.append(from_network(image))
    return np.concatenate(done)


def disk_levels(images: np.ndarray) -> np.ndarray:
    """Mean grey levels (n, 3) of the disks."""
    places = (np.arange(CROP_SIZE) + 0.5) / CROP_SIZE
    grey = images.astype(np.float64) @ [0.299, 0.587, 0.114]
    inside = [np.hypot(places[None] - x, places[:, None] - y) < DISK_RADIUS for x, y in DISKS.values()]
    return np.stack([grey[:, disk].mean(1) for disk in inside], 1)


class FeatureJudge:
    """Tells expressions by a logistic regression on EfficientNet-Lite0's features; fitted on unedited crops."""

    def __init__(self, folders: list[Path], n: int = 3000, seed: int = 0) -> None:
        self.net = load_efficientnet(6)
        faces = FaceDataset(folders, "train", memory_gb=0)
        random = np.random.default_rng(seed)
        # As many of each expression and domain.
        kinds = [
            (faces.expression == e) & (faces.domain == d) for e in range(len(EXPRESSIONS)) for d in sorted(set(faces.domain))
        ]
        kinds = [np.flatnonzero(kind) for kind in kinds if kind.any()]
        rows = np.concatenate([random.choice(kind, min(n // len(kinds), len(kind)), replace=False) for kind in kinds])
        self.model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        self.model.fit(self.features(faces.images(rows)), faces.expression[rows])
        val = FaceDataset(folders, "val", memory_gb=0)
        rows = random.choice(len(val), min(800, len(val)), replace=False)
        self.accuracy = float((self(val.images(rows)) == val.expression[rows]).mean())

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        """Means of the features over a grid of 4 x 4 places, (n, features)."""
        found = []
        for part in np.array_split(images, max(1, len(images) // 32)):
            maps = self.net(to_network(part))
            found.append(torch.cat([F.adaptive_avg_pool2d(m, 4).flatten(1) for m in (maps[4], maps[5])], 1))
        return torch.cat(found).numpy()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classes (n,)."""
        return self.model.predict(self.features(images))


def light_table(networks: Networks, photos: list[Photos], val: FaceDataset) -> Table:
    """Change of the disks' grey levels where only the expression was edited."""
    rows = []
    for one in photos:
        before = disk_levels(one.images)
        for name, moves in ((one.name, True), (f"{one.name}, what is drawn alone", False)):
            edits = [edited(networks, one.images, expression, None, moves) for expression in range(6)]
            change = np.concatenate([np.abs(disk_levels(images) - before) for images in edits])
            rows.append((name, *_level_cells(change, np.tile(one.person, 6))))
        a, b = _own_pairs(one).T
        if len(a):
            change = np.abs(before[a] - before[b])
            rows.append((f"{one.name}, two photographs of one person", *_level_cells(change, one.person[a])))
    truth, people = _true_changes(val)
    rows.append(("renders of two expressions", *_level_cells(truth, people)))
    columns = ("photos", "three disks, mean", "worst", "forehead, mean", "worst", "n")
    return Table("light", "Expression alone: change of grey levels (of 255)", columns, rows)


def _own_pairs(photos: Photos) -> np.ndarray:
    """Rows (n, 2) of two photographs of one person with two expressions."""
    a, b = np.triu_indices(len(photos.files), 1)
    is_pair = (photos.person[a] == photos.person[b]) & (photos.expression[a] != photos.expression[b])
    return np.stack([a[is_pair], b[is_pair]], 1)


def _level_cells(change: np.ndarray, people: np.ndarray) -> tuple:
    forehead = change[:, 0]
    worst = f"{change.max():.1f}", f"{forehead.max():.1f}"
    return figure(change.mean(1), people, False), worst[0], figure(forehead, people, False), worst[1], len(change)


def _true_changes(val: FaceDataset) -> tuple[np.ndarray, np.ndarray]:
    """Changes (n, 3) between the renders of a take under one light, and whom they show."""
    changes, people = [], []
    for take in np.unique(val.take[val.domain == "render"]):
        for lighting in (0, 4, 7, 10):
            crops = val.truth[take, :, lighting]
            if (crops >= 0).all():
                levels = disk_levels(val.images(crops))
                changes += [np.abs(levels[a] - levels[b]) for a in range(6) for b in range(a)]
                people += [val.person[crops[0]]] * 15
    return np.array(changes), np.array(people)


@dataclass(frozen=True)
class Relit:
    """Photographs of a set of `legan relight`, uint8 (n, 128, 128, 3), and what it made of them under each of `SOME_LIGHTS`."""

    name: str
    images: np.ndarray
    person: np.ndarray
    lit: dict[int, np.ndarray]


def read_relit(folders: list[Path], val: FaceDataset) -> list[Relit]:
    """The validation people of every set that has photographs and their relit versions."""
    found = []
    for number, folder in enumerate(folders):
        rows = np.flatnonzero((val.folder == number) & (val.domain == "photo"))
        truths = val.truth[val.take[rows], val.expression[rows]][:, list(SOME_LIGHTS)]  # (n, lights)
        rows, truths = rows[is_whole := (truths >= 0).all(1)], truths[is_whole]
        if len(rows):
            lit = {light: val.images(truths[:, k]) for k, light in enumerate(SOME_LIGHTS)}
            found.append(Relit(f"{folder.name}, by legan relight", val.images(rows), val.person[rows], lit))
    return found


def place_table(networks: Networks, photos: list[Photos], relit: list[Relit]) -> Table:
    """How far eyes and mouth seem to move where only light was edited, and where it was changed without an editor."""
    rows = []
    for one in (*photos, *relit):
        before = np.stack([locate_in_crop(image) for image in one.images])
        moves = []
        for lighting in SOME_LIGHTS:
            changed = one.lit[lighting] if isinstance(one, Relit) else edited(networks, one.images, None, lighting)
            after = np.stack([locate_in_crop(image) for image in changed])
            moves.append(np.linalg.norm(after - before, axis=2)[:, EYES_AND_MOUTH].mean(1))
        moves = np.concatenate(moves)
        rows.append((one.name, figure(moves, np.tile(one.person, len(SOME_LIGHTS)), False), f"{moves.max():.2f}", len(moves)))
    title = "Light alone: how far the landmarks of eyes and mouth are seen to move, pixels of 128"
    return Table("places", title, ("photos", "mean", "worst", "n"), rows)


def expression_table(networks: Networks, photos: list[Photos], judges: dict) -> tuple[Table, dict[tuple[str, int], np.ndarray]]:
    """What the judges see, a row a target; and the edits."""
    rows, edits = [], {}
    for one in photos:
        for target, name in enumerate(EXPRESSIONS):
            edits[one.name, target] = images = edited(networks, one.images, target, None)
            asked = one.expression != target
            cells = [figure(judge(images)[asked] == target, one.person[asked]) for judge in judges.values()]
            rows.append((one.name, name, *cells, int(asked.sum())))
        seen = [figure(judge(one.images) == one.expression, one.person) for judge in judges.values()]
        rows.append((one.name, "unedited, its own", *seen, len(one.images)))
    title = "Expression alone: the edit is seen as what was asked for"
    return Table("expressions", title, ("photos", "asked", *judges, "n"), rows), edits


def person_table(
    networks: Networks, photos: list[Photos], relit: list[Relit], edits: dict[tuple[str, int], np.ndarray]
) -> Table:
    """dlib's distance between photo and edit, and between a photo and itself under another light."""
    dlib, rows = DlibEmbedder(), []
    for one in (*photos, *relit):
        before = dlib(one.images)
        if isinstance(one, Relit):
            changed = {f"light {LIGHTINGS[k].name}": one.lit[k] for k in HARD_LIGHTS}
        else:
            changed = {EXPRESSIONS[t]: edits[one.name, t] for t in range(6)}
            changed |= {f"light {LIGHTINGS[k].name}": edited(networks, one.images, None, k) for k in HARD_LIGHTS}
        distances = {name: np.linalg.norm(dlib(images) - before, axis=1) for name, images in changed.items()}
        lights = [name for name in distances if name.startswith("light")]
        groups = {"light": lights}
        if not isinstance(one, Relit):
            groups["all"] = list(distances)
            groups["neutral, smile, squint, light"] = [name for name in distances if name not in OPEN]
            groups |= {name: [name] for name in EXPRESSIONS}
        for group, names in groups.items():
            values, people = np.concatenate([distances[name] for name in names]), np.tile(one.person, len(names))
            rows.append((one.name, group, figure(values < 0.6, people), figure(values < 0.45, people), len(values)))
    return Table("person", "dlib's distance between photo and edit", ("photos", "edits", "< 0.6", "< 0.45", "n"), rows)


@torch.inference_mode()
def region_table(networks: Networks, val: FaceDataset, n: int, seed: int) -> Table:
    """Edits of the expression alone against the true crop, round mouth and eyes."""
    random, net, rows = np.random.default_rng(seed), load_efficientnet(3), []
    for domain in ("render", "reexpressed"):
        pairs = []
        for source in random.permutation(np.flatnonzero((val.domain == domain) & (val.lighting >= 0))):
            known = np.flatnonzero(val.truth[val.take[source], :, val.lighting[source]] >= 0)
            known = known[known != val.expression[source]]
            if len(known):
                target = random.choice(known)
                pairs.append((source, target, val.truth[val.take[source], target, val.lighting[source]]))
            if len(pairs) == n:
                break
        source, target, truth = np.array(pairs).T
        x, y = (to_network(val.images(index)) for index in (source, truth))
        codes = Codes(one_hot(target, len(EXPRESSIONS)), networks.target_codes(x, None, None).lighting)
        fake = networks.translate(x, codes).image
        for region, (left, top, right, bottom) in REGIONS.items():
            box = [round(v * CROP_SIZE) for v in (left, top, right, bottom)]
            cut = [image[..., box[1] : box[3], box[0] : box[2]] for image in (x, fake, y)]
            likeness = [ssim((a + 1) / 2, (cut[2] + 1) / 2).numpy() for a in cut[:2]]
            distance = [_feature_distance(net, a, cut[2]) for a in cut[:2]]
            people = val.person[source]
            figures = [figure(values, people, False) for values in (*likeness, *distance)]
            rows.append((domain, region, *figures, len(source)))
    columns = ("crops", "region", "SSIM, nothing done", "SSIM, edit", "features, nothing done", "features, edit", "n")
    return Table("regions", "Expression alone, against the true crop", columns, rows)


def _feature_distance(net: torch.nn.Module, a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """Squared distance (n,) of unit features, mean over places and stages."""
    stages = zip(net(a), net(b), strict=True)
    each = [(F.normalize(p, dim=1) - F.normalize(q, dim=1)).square().sum(1).mean((1, 2)) for p, q in stages]
    return torch.stack(each).mean(0).numpy()


def grid(networks: Networks, photos: list[Photos], n: int = 16) -> np.ndarray:
    """Rows of a photo, its six expressions under its own light, and six lights, uint8 (H, W, 3)."""
    rows = []
    for one in photos:
        images = one.images[np.linspace(0, len(one.images) - 1, min(n, len(one.images))).astype(int)]
        columns = [images, *(edited(networks, images, e, None) for e in range(6))]
        columns += [edited(networks, images, None, k) for k in (0, 1, 4, 7, 10, 13)]
        rows += [np.concatenate(row, axis=1) for row in zip(*columns, strict=True)]
    return np.concatenate(rows)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs=2, action="append", required=True, metavar=("FOLDER", "CSV"))
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--limit", type=int, help="photos of each folder")
    parser.add_argument("--n", type=int, default=300, help="pairs with a truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grid", type=Path, help="write the grid here")
    parser.add_argument("--only-grid", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = load_networks(options.weights)
    photos = [read_photos(folder, table, options.limit) for folder, table in options.photos]
    if options.grid:
        write_atomic(options.grid, png_bytes(grid(networks, photos)))
        if options.only_grid:
            return
    val = FaceDataset(options.data, "val", memory_gb=0)
    features = FeatureJudge(options.data, seed=options.seed)
    print(f"The judge `features` tells {features.accuracy:.1%} of unedited crops of validation people (800).\n")
    judges = {"features": features}
    if options.judge:
        judge = Judge(options.judge)
        judges["judge"] = lambda images: judge(to_network(images)).expression.argmax(1)
    expressions, edits = expression_table(networks, photos, judges)
    relit = read_relit(options.data, val)
    tables = [expressions, light_table(networks, photos, val), place_table(networks, photos, relit)]
    tables += [person_table(networks, photos, relit, edits), region_table(networks, val, options.n, options.seed)]
    text = "\n\n".join(table.markdown() for table in tables)
    print(text)
    if options.out:
        make_folder(options.out)
        write_atomic(options.out / "table.md", (text + "\n").encode())
        write_atomic(options.out / "table.json", json.dumps({t.name: t.as_json() for t in tables}, indent=1).encode())


if __name__ == "__main__":
    main()
