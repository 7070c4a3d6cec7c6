"""What is measured on one model's pictures, a batch at a time: features, and each picture's own figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from legan.apply.embeddings import PACKAGED, Embedding, load_embedding
from legan.apply.evaluate.edit_seen import EditClassifier
from legan.apply.evaluate.exam import Exam, by_name, read_picture
from legan.apply.evaluate.networks import DEFAULT, FeatureNetwork, load_fid_network, load_lpips_network, pooled
from legan.apply.networks import FITTED, Codes, Networks, load_networks
from legan.apply.quality import QualityScorer, load_quality, resized
from legan.core.conditions import EXPRESSIONS, LIGHTINGS
from legan.core.errors import DataError, ImageError
from legan.core.images import from_network, to_network, to_unit
from legan.metrics.perceptual import layer_distance
from legan.metrics.pixels import psnr, ssim

FIGURES = ("edited", "lpips", "ssim", "psnr", "match", "quality")  # of each picture; NaN where there is none
N_SHOWN = 12  # pictures kept for the page
CROP = 128  # what identity embeddings read
INPUT, REAL = "input (nothing done)", "real images"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Contestant:
    """Whose pictures are measured.

    Args:
        name: in tables.
        checksum: of its weights or pictures; changes with anything that could change them.
        weights: of an editor.
        folder: of results, by the inputs' names. With neither, `name` is `INPUT` or `REAL`.
    """

    name: str
    checksum: str
    weights: Path | None = None
    folder: Path | None = None

    @property
    def is_model(self) -> bool:
        """Whether it is a model, not one of the two references."""
        return self.weights is not None or self.folder is not None


@dataclass(frozen=True)
class Choice:
    """The networks to judge by, as names or paths, and where they run; `quality` None is the packaged Q."""

    fid_network: str = DEFAULT
    lpips_network: str = DEFAULT
    identity: str = PACKAGED
    quality: Path | None = None
    device: str = "cpu"


class Judges:
    """The networks of a `Choice`, loaded, and the classifier of edits, where there is one.

    Raises:
        WeightsError, ConfigError: an unknown network, or a device that this machine does not have.
    """

    def __init__(self, choice: Choice, edits: EditClassifier | None = None) -> None:
        self.edits = edits
        self.fid: FeatureNetwork = load_fid_network(choice.fid_network, choice.device)
        self.lpips: FeatureNetwork = load_lpips_network(choice.lpips_network, choice.device)
        self.embedding: Embedding = load_embedding(choice.identity, choice.device)
        # float32 everywhere, so that scores do not depend on the machine.
        self.quality: QualityScorer = load_quality(choice.quality, choice.device, "fp32")
        self._shares_layers = self.fid.provenance.get("sha256", "") == self.lpips.provenance.get("sha256")

    @property
    def provenance(self) -> dict[str, dict[str, Any]]:
        """Name, file and checksum of each network, and what its file says about itself."""
        q: dict[str, Any] = {key: self.quality.metadata[key] for key in ("data", "licence") if key in self.quality.metadata}
        return {
            "fid": {"name": self.fid.name, **self.fid.provenance},
            "lpips": {"name": self.lpips.name, **self.lpips.provenance},
            "match": {"name": self.embedding.name, **self.embedding.provenance},
            "quality": {"sha256": self.quality.checksum, **q},
            **({"edits": dict(self.edits.provenance)} if self.edits is not None else {}),
        }

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Return features (B, d) of pictures, uint8 (B, S, S, 3)."""
        return self.fid.features(to_network(pictures)).numpy()

    def measure(self, pictures: np.ndarray, truths: np.ndarray, has_truth: np.ndarray) -> Arrays:
        """Return `features` (B, d), `embedding` (B, e) and each of `FIGURES` (B,), NaN for `edited` and `match`: these take more.

        Args:
            pictures, truths: uint8 (B, S, S, 3); what was made, and what should have been made.
            has_truth: (B,) whether there is a truth.
        """
        x, x_true = to_network(pictures), to_network(truths[has_truth])
        layers = self.lpips.read(x)
        features = torch.cat(list(map(pooled, layers)), 1).cpu() if self._shares_layers else self.fid.features(x)
        found: Arrays = {"features": features.float().numpy(), **{name: np.full(len(x), np.nan) for name in FIGURES}}
        if has_truth.any():
            kept = torch.from_numpy(has_truth)
            own = [layer[kept] for layer in layers]
            found["lpips"][has_truth] = layer_distance(own, self.lpips.read(x_true), self.lpips.weights).cpu()
            u, u_true = to_unit(x[kept]), to_unit(x_true)
            found["ssim"][has_truth], found["psnr"][has_truth] = ssim(u, u_true), psnr(u, u_true)
        found["embedding"] = self.embedding.embed(to_unit(resized(x, CROP).clamp(-1, 1)), batch_size=len(x))
        found["quality"][:] = self.quality.predict(resized(x, self.quality.size)).score.numpy()
        return found


class Painter:
    """Gives a contestant's pictures for questions of an exam.

    Raises:
        DataError: a folder of results that lacks some, or an editor of crops of another size.
        WeightsError: weights that cannot be used.
    """

    def __init__(self, contestant: Contestant, exam: Exam, device: str) -> None:
        self.contestant, self.exam = contestant, exam
        self.networks: Networks | None = load_networks(contestant.weights, device) if contestant.weights else None
        self.refuses = str(contestant.weights) == FITTED
        self.refused = np.zeros(0, bool)  # of the last questions: which stayed as they were; for an editor that refuses some
        self.results = results_of(contestant.folder, exam) if contestant.folder else None
        self.size = exam.library.images(exam.source[:1]).shape[1]
        if self.networks is not None and self.networks.size != self.size:
            raise DataError(
                f"{contestant.name} edits crops of {self.networks.size} pixels and {exam.name} has {self.size}: leave that editor out"
            )

    def paint(self, questions: np.ndarray) -> np.ndarray:
        """Return pictures, uint8 (B, S, S, 3), for questions by number.

        Raises:
            ImageError: the editor's pictures are not finite or out of range; the message names it.
            DataError: results of another size.
        """
        exam = self.exam
        if self.networks is not None:
            return self._edited(self.networks, questions)
        if self.results is not None:
            return np.stack([read_picture(self.results[int(k)], self.size) for k in questions])
        return exam.library.images((exam.source if self.contestant.name == INPUT else exam.real)[questions])

    def _edited(self, networks: Networks, questions: np.ndarray) -> np.ndarray:
        assert self.exam.target is not None, "editors are asked on data sets only"
        expression, lighting = torch.from_numpy(self.exam.target[questions]).T
        codes = Codes(
            functional.one_hot(expression, len(EXPRESSIONS)).float(), functional.one_hot(lighting, len(LIGHTINGS)).float()
        )
        x = to_network(self.exam.library.images(self.exam.source[questions]))
        if self.refuses:
            from legan.apply.fitted import FittedNetworks

            assert isinstance(networks, FittedNetworks)
            done, self.refused = networks.attempt(x, codes)
            return done
        try:
            return from_network(networks.translate(x, codes, len(x)).image)
        except ImageError as error:
            raise ImageError(f"{self.contestant.name}: {error}") from error


def results_of(folder: Path, exam: Exam) -> list[Path]:
    """Return the result for each question, by its source's name.

    Raises:
        DataError: a result is missing.
    """
    found = by_name(folder)
    missing = [name for name in exam.names if name not in found]
    if missing:
        raise DataError(
            f"{folder} lacks a result for {len(missing)} of {len(exam)} inputs, the first is {missing[0]}: "
            "give each result the name of its input"
        )
    return [found[name] for name in exam.names]
