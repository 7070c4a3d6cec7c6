"""What the commands can be asked for: a frozen dataclass a command, whose fields are its options, and the arguments of its function.

An option is declared here and nowhere else: name, type, default, and in `Option` the help, with range and unit. The command line
(`legan.commands.options`), docs/commands.md and the functions all take it from here. Imports nothing heavy: `--help` reads this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from legan.core.errors import ConditionError, ConfigError, no_such

if TYPE_CHECKING:
    from legan.core.workers import RunJobs
    from legan.editing.editor import Face
    from legan.faces.align import Faces
    from legan.models.editors import LightingSpec


class Option:
    """How the command line reads a field.

    Args:
        help: what it is.
        names: of the option, where it is not the field's name with dashes (`--min-match`); a short one (`-o`) comes in addition.
        metavar: of the value, in the help.
        min: the least number.
    """

    def __init__(self, help: str, *names: str, metavar: str | None = None, min: float | None = None) -> None:
        self.help, self.names, self.metavar, self.min = help, names, metavar, min


# Options that several commands have.
Seed = Annotated[int, Option("Seed of all random draws: the same seed gives the same result.")]
Device = Annotated[str, Option("Where the networks run: cpu, cuda, cuda:1, mps.")]
Identity = Annotated[
    str,
    Option("Identity embedding of the match score: packaged, dlib, lightcnn, lightcnn9, lightcnn29, insightface, or weights."),
]
EditorWeights = Annotated[
    Path | None,
    Option(
        "Weights of the editor: a file that `legan export` wrote, `packaged`, `fitted` (a fitted 3D head instead of a network: extra "
        "`render`), or a model on the Hugging Face hub, owner/name[@revision] (extra `hub`).",
        "--editor",
        metavar="PATH|ID",
    ),
]
QualityWeights = Annotated[
    Path | None,
    Option(
        "Weights of the quality model Q that `legan train quality` wrote, `robust` (adversarially trained, for losses) or "
        "`simulated`, instead of the packaged ones.",
        "--quality",
    ),
]
FaceSearch = Annotated[
    "Faces", Option("auto: 128x128 images are face crops, others are searched; aligned: all are crops; detect: none is.")
]


@dataclass(frozen=True)
class Engine:
    """Where the workers of a command run."""

    engine: Annotated[str, Option("local: processes of this machine; ray: actors on a Ray cluster (extra `bulk`).")] = "local"
    address: Annotated[
        str | None,
        Option(
            "Ray: auto (the cluster of this machine, the default), local (a new one that ends with the command), ray://HOST:10001."
        ),
    ] = None
    gpus: Annotated[float | None, Option("Ray: share of a GPU for each worker, 0 by default.")] = None
    timeout: Annotated[
        float | None, Option("Ray: seconds after which a job is tried again, 1800 by default.", metavar="SECONDS")
    ] = None

    def driver(self) -> "RunJobs | None":
        """Return what drives the workers; None for local processes.

        Raises:
            ConfigError: an unknown engine, or options of another one.
        """
        options = {"address": self.address, "gpus": self.gpus, "timeout_s": self.timeout}
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if self.engine == "local":
            if given:
                raise ConfigError("--address, --gpus and --timeout belong to a cluster: add --engine ray")
            return None
        if self.engine != "ray":
            raise ConfigError(no_such("--engine", self.engine, ("local", "ray")))
        from functools import partial

        from legan.core.cluster import run_on_ray

        return partial(run_on_ray, **given)


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Check a number that may be left out.

    Raises:
        ConfigError: `value` is below `low` or above `high`.
    """
    if value is not None and not low <= value <= high:
        raise ConfigError(f"{name} {value:g} is out of range: give a number from {low} to {high}")


def check_min_match(min_match: float | None) -> None:
    """Check a least match score.

    Raises:
        ConditionError: it is not a cosine.
    """
    if min_match is not None and not -1 <= min_match <= 1:
        raise ConditionError(f"min-match {min_match:g} is out of range: give a cosine from -1 to 1")


@dataclass(frozen=True)
class EditRequest:
    """What `legan edit` does to each photo. `lightings` also takes what `Editor.edit` takes."""

    expression: Annotated[
        str | None, Option("smile (or happy), smile:0.7, smile:0.5,squint:0.5; the photo's own by default.", "-e")
    ] = None
    lightings: Annotated[
        tuple["LightingSpec", ...],
        Option(
            "left, right, front, top, room; -45, +15, -45,20 (degrees: azimuth,elevation); a class 00..19; several lamps with "
            "factors: '-45 + 0.5*60,20'. With --grid it may be repeated.",
            "--lighting",
            "-l",
        ),
    ] = ()
    ambient: Annotated[
        float | None, Option("Share of the room's light, 0 (the lamps alone, in the dark) to 1 (as it is without it).")
    ] = None
    softness: Annotated[float | None, Option("Angular size of the lamps, 0 (as without it) to 120.", metavar="DEGREES")] = None
    light_color: Annotated[str | None, Option("Colour of the lamps: 3200K, #ffd0a0.", metavar="COLOR")] = None
    environment: Annotated[
        Path | None,
        Option("Light from an equirectangular map, its middle where the face looks: room.hdr, instead of --lighting."),
    ] = None
    light_like: Annotated[
        Path | None, Option("The light of another photo, estimated by the editor's critic, instead of --lighting.")
    ] = None
    strength: Annotated[float, Option("0: the photo as it is; 1: the whole edit; up to 1.5.", "-s")] = 1.0
    face: Annotated["Face", Option("largest, 1, 2, ... (1 is the largest), all, or aligned.")] = "largest"
    masks: Annotated[
        bool, Option("Also write the two masks as images, NAME.expression-mask.png and NAME.lighting-mask.png.")
    ] = False
    grid: Annotated[bool, Option("One labelled image instead: all expressions under the lightings.")] = False
    no_mark: Annotated[bool, Option("Do not mark the file as edited by an algorithm.")] = False
    overwrite: Annotated[bool, Option("Replace outputs that exist; an input is never replaced.")] = False
    force: Annotated[bool, Option("Also edit faces that are turned too far, cut, covered or too small for it.")] = False
    readings: Annotated[
        bool, Option("Measure each edit: match with the photo, naturalness, the critic's classes; takes time.")
    ] = False
    min_match: Annotated[
        float | None, Option("Least match score with the photo, -1 to 1: below it a lower strength is tried.")
    ] = None

    def check(self) -> None:
        """Check what needs no editor.

        Raises:
            ConditionError: options that exclude each other, a least match out of range, or nothing to change.
        """
        if self.grid and self.expression is not None:
            raise ConditionError("a grid shows all expressions: leave --expression out, or leave --grid out")
        if self.grid and self.masks:
            raise ConditionError("a grid has no masks: leave --masks out, or leave --grid out")
        if self.grid and (self.readings or self.min_match is not None):
            raise ConditionError("a grid is not measured: leave --readings and --min-match out, or leave --grid out")
        check_min_match(self.min_match)
        self._check_light()
        if not self.grid and len(self.lightings) > 1:
            raise ConditionError("several lightings need --grid: name one, or add --grid")
        if not self.grid and self.expression is None and not self.changes_light:
            raise ConditionError("nothing to change: name --expression, --lighting or both, such as --expression smile")

    @property
    def changes_light(self) -> bool:
        """Whether a lighting is given, in one of the three ways."""
        return bool(self.lightings) or self.environment is not None or self.light_like is not None

    def _check_light(self) -> None:
        sources = {"--lighting": self.lightings, "--environment": self.environment, "--light-like": self.light_like}
        given = [name for name, value in sources.items() if value]
        if len(given) > 1:
            raise ConditionError(f"{' and '.join(given)} both say what the light is: name one of them")
        of_lamps = {"--ambient": self.ambient, "--softness": self.softness, "--light-color": self.light_color}
        given = [name for name, value in of_lamps.items() if value is not None]
        if given and not self.lightings:
            raise ConditionError(f"{given[0]} goes with lamps: add --lighting, such as --lighting -45")


@dataclass(frozen=True)
class SynthesisRequest:
    """What `legan synthesize` builds."""

    renders: Annotated[tuple[Path, ...], Option("Data set folder of `legan render`; may be repeated.")]
    photos: Annotated[tuple[Path, ...], Option("Data set folder of photos; may be repeated.")] = ()
    editors: Annotated[
        Path | None,
        Option("Folder of editors' weights, snapshots of a training, for GAN edits; the packaged editor by default."),
    ] = None
    n: Annotated[int, Option("Number of images.")] = 8000
    seed: Seed = 0
    kinds: Annotated[str, Option("Kinds of fakes, with commas.")] = "graded,relit,warp,swap,edit,sample"


@dataclass(frozen=True)
class FilterRequest:
    """What passes `legan filter`."""

    keep: Annotated[float | None, Option("Share of the images with a face to keep, 0..1, the most natural first.")] = None
    min_quality: Annotated[float | None, Option("Least score of Q, 0..10.")] = None
    min_match: Annotated[float | None, Option("Least match score with the reference, -1..1.")] = None
    duplicates: Annotated[bool, Option("Keep near-duplicates too.")] = False
    link: Annotated[bool, Option("Make hard links in place of copies.")] = False
    faces: FaceSearch = "auto"
    identity: Identity = "packaged"

    def check(self, reference: str | Path | None) -> None:
        """Check what needs no network.

        Raises:
            ConfigError: no bound is given, one is out of range, or a match without a reference.
        """
        if self.keep is None and self.min_quality is None and self.min_match is None:
            raise ConfigError("nothing to filter by: give --keep 0.7, --min-quality 5, or --min-match 0.85 with --reference")
        check_range("--keep", self.keep, 0, 1)
        check_range("--min-quality", self.min_quality, 0, 10)
        check_range("--min-match", self.min_match, -1, 1)
        if self.min_match is not None and reference is None:
            raise ConfigError("--min-match needs images of the person to compare with: name their folder with --reference")


@dataclass(frozen=True)
class EvaluationRequest:
    """What `legan evaluate` evaluates."""

    data: Annotated[
        tuple[str, ...],
        Option(
            "Data set, also at an address; may be repeated. With --results: folder of input images (or shard, manifest, address).",
            metavar="DIR[:SPLIT]",
        ),
    ]
    editors: Annotated[
        tuple[str, ...],
        Option(
            "Weights file, run folder, `packaged`, `fitted`, or a model on the hub; may be repeated.",
            "--editor",
            metavar="[NAME=]PATH",
        ),
    ] = ()
    results: Annotated[
        tuple[str, ...], Option("Folder of a model's results, named as their inputs; may be repeated.", metavar="NAME=DIR")
    ] = ()
    truth: Annotated[str | None, Option("With --results: folder of true edits, named as their inputs.", metavar="DIR")] = None
    real: Annotated[str | None, Option("With --results: folder of real images.", metavar="DIR")] = None
    split: Annotated[str, Option("train, val or test, where --data does not say.")] = "test"
    n: Annotated[int, Option("Number of edits drawn from each data set.")] = 2000
    seed: Seed = 0
    preference: Annotated[Path | None, Option("preference.json of `legan study export`.")] = None
    study: Annotated[
        Path | None, Option("Folder to write the images of a blinded preference study of two to four models to.")
    ] = None
    study_items: Annotated[int, Option("With --study: number of edits to show.")] = 60
    n_resamples: Annotated[int, Option("Bootstrap resamples of the intervals; 0 for none.", "--resamples")] = 1000


@dataclass(frozen=True)
class EvaluationNetworks:
    """The networks that `legan evaluate` measures with, and where they run."""

    fid_network: Annotated[
        str,
        Option(
            "Features of FID, KID, precision and recall: efficientnet-lite0, lightcnn, lightcnn9, lightcnn29, inception, or a file."
        ),
    ] = "efficientnet-lite0"
    lpips_network: Annotated[
        str, Option("Features of LPIPS: efficientnet-lite0, lightcnn, lightcnn9, lightcnn29, alex, vgg, or a file.")
    ] = "efficientnet-lite0"
    identity: Identity = "packaged"
    quality: QualityWeights = None
    device: Device = "cpu"


FARS = (1e-4, 1e-3, 1e-2, 1e-1)  # false accept rates at which TAR is reported


@dataclass(frozen=True)
class VerificationRequest:
    """How `legan verify` verifies."""

    identity: Identity = "packaged"
    fars: Annotated[
        tuple[float, ...],
        Option("False accept rate to report TAR at; may be repeated. 0.0001, 0.001, 0.01 and 0.1 by default.", "--far"),
    ] = FARS
    n_pairs: Annotated[int, Option("people: pairs to draw, half of one person, half of two.", "--pairs")] = 6000
    seed: Annotated[int, Option("people: seed of the draw of pairs.")] = 0
    split: Annotated[str, Option("people: split of a data set folder.")] = "test"
    pairs_file: Annotated[Path | None, Option("lfw: another list than pairs.txt in the folder.")] = None
    cache: Annotated[Path | None, Option("Folder for features as they are computed: run again, it continues.")] = None
    device: Device = "cpu"

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        for far in self.fars:
            if not 0 < far < 1:
                raise ConfigError(f"--far {far:g} is out of range: give a rate between 0 and 1, such as 1e-3")
        if self.n_pairs < 2 or self.seed < 0:
            raise ConfigError("give at least 2 pairs and a seed of 0 or more")


@dataclass(frozen=True)
class AugmentationRequest:
    """What `legan augment` adds to a data set."""

    policy: Annotated[
        str,
        Option(
            "balance-expressions: fill the rare expressions of the training images up to the most frequent; relight:N: N random "
            "lights for each; both, both:N: new expressions under random lights, and N lights."
        ),
    ]
    ratio: Annotated[float | None, Option("At most this many synthetic images for each training image.")] = None
    min_quality: Annotated[
        float | None, Option("Least score of Q, 0..10; an image below is made again, at most three times.")
    ] = None
    min_match: Annotated[float | None, Option("Least match score with the source image, -1..1; likewise.")] = None
    names: Annotated[
        tuple[str, ...],
        Option("The editor's expression for a label of the data; may be repeated.", "--map", metavar="LABEL=EXPRESSION"),
    ] = ()
    seed: Seed = 0
    editor: EditorWeights = None
    quality: QualityWeights = None
    identity: Identity = "packaged"
    device: Device = "cpu"

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--min-quality", self.min_quality, 0, 10)
        check_range("--min-match", self.min_match, -1, 1)
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} is out of range: give 0 or more")


@dataclass(frozen=True)
class StudyRequest:
    """What `legan study create` creates."""

    source: Annotated[Path, Option("Data set folder, folder of images, or a folder for each model.", "--from")]
    out: Annotated[Path, Option("New folder for the study.", "-o")]
    kind: Annotated[str, Option("rating: how natural, 0..10; preference: the best of two to four models.")] = "rating"
    title: Annotated[str, Option("Shown on every page.")] = "Face study"
    gold: Annotated[
        Path | None,
        Option(
            "CSV of items with a known answer: image, low, high; or image, best. Images are in the source or beside the file."
        ),
    ] = None
    practice: Annotated[Path | None, Option("Folder of practice images, laid out as the source.")] = None
    n_practice: Annotated[int, Option("Practice items; drawn from the source without --practice.")] = 3
    n_items: Annotated[int | None, Option("Number of items to draw from the source; default: all.")] = None
    raters_per_item: Annotated[int, Option("Answers that each item gets.", min=1)] = 3
    database: Annotated[str | None, Option("PostgreSQL URL, instead of a file in the folder.")] = None
    seed: Seed = 0


@dataclass(frozen=True)
class Address:
    """Where `legan study serve` serves."""

    host: Annotated[str, Option("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Option("Port to listen on.")] = 8000
    admin: Annotated[str, Option("Admin pages: off, on (in addition to the raters'), only.")] = "off"
    public_url: Annotated[str, Option("Address for raters, through a proxy: https://...")] = ""
    proxy: Annotated[
        str,
        Option("The proxy's addresses or networks, such as 127.0.0.1, separated by commas: its X-Forwarded-For is trusted."),
    ] = ""


@dataclass(frozen=True)
class AppRequest:
    """Where `legan app` serves, and its limits."""

    host: Annotated[str, Option("Address to listen on; 127.0.0.1 is for this computer alone.")] = "127.0.0.1"
    port: Annotated[int, Option("Port to listen on.")] = 7860
    max_megabytes: Annotated[float, Option("Largest file that is taken, in MB.")] = 25
    max_megapixels: Annotated[float, Option("Largest photo that is taken, in megapixels.")] = 24
    max_photos: Annotated[int, Option("Photos in one batch.", min=1)] = 100
    max_seconds: Annotated[float, Option("Time of one batch, in seconds; what is done by then is packed.")] = 600
    max_queue: Annotated[int, Option("Edits that may wait at once; more are refused.", min=1)] = 20
    max_visitors: Annotated[
        int, Option("Photos that are held in memory at once, one a visitor; the one unused longest makes room.", min=1)
    ] = 16

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        check_range("--port", self.port, 1, 65535)
        for name, value in (
            ("--max-megabytes", self.max_megabytes),
            ("--max-megapixels", self.max_megapixels),
            ("--max-seconds", self.max_seconds),
        ):
            if not value > 0:
                raise ConfigError(f"{name} {value:g} is out of range: give more than 0")
