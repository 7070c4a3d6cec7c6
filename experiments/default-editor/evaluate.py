"""Every measure of an editor in one run: renders whose true edit is known, photos of people that nothing was trained on.

    python experiments/default-editor/evaluate.py --rendered data/rendered --photos data/london --photos data/reexpressed \
        --judge runs/judge.safetensors --out runs/measured [--weights editor.safetensors] [--quality q.safetensors]

Prints Markdown as it measures; `--out` gets all of it as table.md, with table.json. `--photos` are sets of `legan relight` and
`legan reexpress`: measured inputs are the photos under their own light of the split `val`, the other crops of these people say how
far the judge can be trusted. The judge is made by classifiers.py. Intervals are 95% bootstrap intervals over people.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import behaviour
import cv2
import numpy as np
import pairs
import photos
import torch
from classifiers import NEAR, Judge
from edits import Crops, load_crops
from people_grid import people_grid
from tables import Figure, Table

from legan.core.conditions import EXPRESSIONS
from legan.core.files import sha256_of, write_atomic
from legan.faces.embeddings import Embedding, load_embedding
from legan.models.editors import Networks, load_networks
from legan.quality.scorer import load_quality

SECTIONS = ("pairs", "classes", "identity", "quality", "disentanglement", "strengths", "angles", "neutral")
N_REAL = 640  # relit and re-expressed crops that say how far the judge and Q can be trusted
N_REAL_FACES = 160  # of them, for the identity networks: dlib takes its time
SMILE = EXPRESSIONS.index("smile")
BARS = {"near": (0.90, 0.80), "exact": (None, None), "expression": (0.90, 0.75)}  # renders, photos
WORDS = {"near": "lighting, within one neighbour", "exact": "lighting, exact", "expression": "expression"}


@dataclass(frozen=True)
class Options:
    """The command line."""

    rendered: Path
    photos: list[Path]
    judge: Path | None
    out: Path | None
    weights: Path | None
    quality: list[Path]
    grid: Path | None
    only: list[str]
    n: int
    n_lights: int
    seed: int
    threads: int


class Measures:
    """The measures; what several need is computed once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.networks: Networks = load_networks(options.weights)

    @cached_property
    def judge(self) -> Judge:
        assert self.options.judge is not None  # read_options asks for it
        return Judge(self.options.judge)

    @cached_property
    def dlib(self) -> Embedding:
        return load_embedding("dlib")

    @cached_property
    def pairs(self) -> dict[str, pairs.Pairs]:
        renders = load_crops([self.options.rendered], "test", ["render"], with_mattes=True)
        return pairs.edit_pairs(self.networks, renders, self.options.n, self.options.seed)

    @cached_property
    def inputs(self) -> Crops:
        """Photos under their own light; one image a person and expression, though both sets may hold it."""
        return load_crops(self.options.photos[:1], "val", ["photo"])

    @cached_property
    def neutral(self) -> Crops:
        return self.inputs.of(self.inputs.expression != SMILE)

    @cached_property
    def real(self) -> Crops:
        return load_crops(self.options.photos, "val", ["relit", "reexpressed"], N_REAL)

    @cached_property
    def edited(self) -> photos.PhotoEdits:
        return photos.edit_photos(self.networks, self.judge, self.inputs, self.options.n_lights, self.options.seed)

    @cached_property
    def identities(self) -> list[photos.Identity]:
        some = self.real.of(np.arange(0, len(self.real), N_REAL // N_REAL_FACES))
        crops = self.edited.inputs.images, self.edited.edits.images, self.edited.edits.source, some
        return [photos.identity(one, *crops) for one in (self.dlib, load_embedding("packaged"))]

    @cached_property
    def shares(self) -> dict[str, dict[str, dict[str, Figure]]]:
        return {
            "renders": pairs.class_rows(self.judge, self.pairs),
            "photos": photos.class_shares(self.edited, self.judge, self.real),
        }

    def tables(self, section: str) -> list[Table]:
        """The tables of a section."""
        options, networks = self.options, self.networks
        if section == "pairs":
            return [pairs.likeness_table(self.pairs)]
        if section == "classes":
            return [self._class_table(), photos.expression_table(self.edited), photos.lighting_table(self.edited)]
        if section == "identity":
            return [photos.identity_table(self.edited, self.identities)]
        if section == "quality":
            scorers = {"packaged": load_quality(), **{path.name: load_quality(path) for path in options.quality}}
            return [photos.quality_table(self.edited, scorers, self.real)]
        if section == "disentanglement":
            some = self.pairs["both"].inputs
            renders = some.of(np.arange(min(32, len(some))))
            sets = {"photos of validation people": self.inputs, "rendered test people": renders}
            return [
                behaviour.disentanglement_table(name, networks, self.judge, self.dlib, crops, 6) for name, crops in sets.items()
            ]
        if section == "strengths":
            return [behaviour.strength_table(networks, self.judge, self.neutral, 6)]
        if section == "angles":
            return [behaviour.angle_table(networks, self.judge, self.neutral)]
        return [behaviour.neutral_first_table(networks, self.judge, self.inputs.of(self.inputs.expression == SMILE))]

    def _class_table(self) -> Table:
        rows = []
        for where, (place, shares) in enumerate(self.shares.items()):
            for what, found in shares.items():
                chance = {"near": NEAR.mean(), "exact": 1 / len(NEAR), "expression": 1 / len(EXPRESSIONS)}[what]
                bar = BARS[what][where]
                cells = found["edit"], bar and f"{bar:.0%}", found["true crop"], found["nothing"], f"{chance:.1%}"
                rows.append((f"{place}: {WORDS[what]}", *cells, found["edit"].n))
        columns = ("class seen by the judge", "edit", "bar", "real crops", "unedited input", "chance", "n")
        return Table("classes", "Both attributes asked for: how often the judge sees them", columns, rows)

    def bars(self, sections: list[str], done: dict[str, Table]) -> Table:
        """The bars of the project, those that these sections decide."""
        rows: list[tuple] = []
        if "pairs" in sections:
            before, after = (done["pairs"].rows[-1][column] for column in (5, 6))
            rows.append(("renders, both changed: SSIM", after, ">= 0.70", _met(after.mean >= 0.70)))
            gain = after.mean - before.mean
            rows.append(("renders, both changed: SSIM above the input", f"{gain:.3f}", ">= 0.15", _met(gain >= 0.15)))
        if "classes" in sections:
            for where, (place, shares) in enumerate(self.shares.items()):
                for what, found in shares.items():
                    bar = BARS[what][where]
                    if bar is not None:
                        rows.append(
                            (f"{place}: {WORDS[what]}", found["edit"], f">= {bar:.0%}", _met(found["edit"].mean >= bar))
                        )
        if "identity" in sections:
            kept = done["identity"].rows[0][2]
            rows.append(("photos: identity kept (dlib)", kept, ">= 90%", _met(kept.mean >= 0.9)))
        if "quality" in sections:
            for row in done["quality"].rows:
                rows.append((f"photos: change of mean Q ({row[0]})", row[3], "within 1.0", _met(abs(row[3].mean) <= 1)))
        return Table("bars", "Bars", ("measure", "reached", "bar", "met"), rows)


def _met(is_met: bool) -> str:
    return "yes" if is_met else "**no**"


def main() -> None:
    """Read the arguments, measure, write, print."""
    options = read_options()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    measures, done = Measures(options), {}
    for section in options.only:
        start = time.perf_counter()
        for table in measures.tables(section):
            done[table.name] = table
            print(table.markdown(), end="\n\n", flush=True)
        print(f"{section}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    tables: list[Table] = [measures.bars(options.only, done), *done.values()]
    judge = options.judge and sha256_of(options.judge)
    head = (
        f"Editor {measures.networks.checksum[:12]} ({measures.networks.metadata.get('steps')} steps), seed {options.seed}, "
        f"{options.n} pairs of renders a kind, {options.n_lights} lightings an expression and photo; "
        f"judge {judge and judge[:12]}."
    )
    text = "\n\n".join([head, *(table.markdown() for table in tables if table.rows)]) + "\n"
    print("\n\n".join([head, tables[0].markdown()]))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        write_atomic(options.out / "table.md", text.encode())
        facts = {"editor": measures.networks.checksum, "judge": judge, "seed": options.seed}
        facts |= {"n": options.n, "n_lights": options.n_lights, "tables": {table.name: table.as_json() for table in tables}}
        write_atomic(options.out / "table.json", (json.dumps(facts, indent=1) + "\n").encode())
    if options.grid is not None:
        people_grid(measures.networks, measures.neutral).save(options.grid)


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rendered", type=Path, required=True, help="the rendered set")
    parser.add_argument("--photos", type=Path, action="append", default=[], help="a set of photos; may be repeated")
    parser.add_argument("--judge", type=Path, help="weights file that classifiers.py wrote")
    parser.add_argument("--out", type=Path, help="folder for table.md and table.json")
    parser.add_argument("--weights", type=Path, help="an exported editor; the packaged one by default")
    parser.add_argument("--quality", type=Path, action="append", default=[], help="a further Q; may be repeated")
    parser.add_argument("--grid", type=Path, help="also draw the edits of all validation people to this PNG")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="some of the measures")
    parser.add_argument("--n", type=int, default=500, help="pairs of renders of each kind")
    parser.add_argument("--n-lights", type=int, default=5, help="lightings drawn for each expression of a photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = Options(**vars(parser.parse_args()))
    if options.only != ["pairs"] and (options.judge is None or not options.photos):
        parser.error("all measures but `pairs` need --judge and --photos")
    return options


if __name__ == "__main__":
    main()
