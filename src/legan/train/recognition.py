"""Training of the identity network: its features tell people apart whatever the light and the expression.

Cross entropy over the training people, as LightCNN publishes it, or with a margin between them (CosFace, ArcFace). The data sets show
each person under many lights and expressions; the rest of what a camera does is in `train/recognition_pictures.py`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from legan.core.config import config_to_dict, load_config
from legan.core.errors import ConfigError
from legan.core.images import to_network
from legan.core.weights import save_weights
from legan.data.faces import LabelledFaces
from legan.metrics.match import all_pairs, auc, draw_pairs, score_pairs, tar_at_far
from legan.models.lightcnn import INPUT_SIZE, LightCNN, standardise
from legan.train.averaged_task import AveragedTask
from legan.train.export import data_facts, provenance, trained_state
from legan.train.init import training_length
from legan.train.loop import Outcome, Rehearsal
from legan.train.recognition_config import IdentityDataConfig, RecognitionConfig, preset
from legan.train.recognition_pictures import changed
from legan.train.start import on_folders, start
from legan.train.task import Batch, Update, autocast, mixed_dtype

WEIGHTS = "identity.safetensors"  # in the run folder, when the training is finished

_N_HELD_OUT = 12  # images a person and domain in each evaluation
_FAR = 1e-2
_N_PAIRED = 1000  # images of which every pair is looked at; of more, as many pairs are drawn


class IdentityBatches:
    """Random crops and who they show, drawn anew for each step from (seed, step, place in the batch).

    Every person of a folder is drawn as often as any other, and of a person every domain as often: a few photos weigh as much as
    many relit crops. `picture` (B, 3, 128, 128) in [-1, 1], `person` (B,) from 0 to the number of people.

    Raises:
        ConfigError: weights that do not fit the folders.
    """

    def __init__(self, faces: LabelledFaces, config: IdentityDataConfig, seed: int) -> None:
        self.faces, self.config, self.seed = faces, config, seed
        self.batch_size = config.batch_size
        n_folders = len(faces.folders)
        weights = np.array(config.weights or [1.0] * n_folders)
        if len(weights) != n_folders or (weights < 0).any() or not weights.sum() > 0:
            raise ConfigError(f"data weights {list(config.weights)} do not fit {n_folders} folders: give one each, above 0")
        self._weights = weights / weights.sum()
        self._members = [_by_person_and_domain(faces, np.flatnonzero(faces.folder == index)) for index in range(n_folders)]

    def __call__(self, step: int, rank: int, n_ranks: int) -> Batch:
        share = self.batch_size // n_ranks
        randoms = [np.random.default_rng([self.seed, step, place]) for place in range(rank * share, (rank + 1) * share)]
        indices = [self._draw(random) for random in randoms]
        crops = self.faces.images(indices)
        pictures = [changed(crop, random, self.config.augment) for crop, random in zip(crops, randoms, strict=True)]
        return {"picture": to_network(np.stack(pictures)), "person": torch.from_numpy(self.faces.person[indices])}

    def _draw(self, random: np.random.Generator) -> int:
        people = self._members[int(random.choice(len(self._members), p=self._weights))]
        domains = people[int(random.integers(len(people)))]
        return int(random.choice(domains[int(random.integers(len(domains)))]))


def _by_person_and_domain(faces: LabelledFaces, members: np.ndarray) -> list[list[np.ndarray]]:
    people = []
    for person in np.unique(faces.person[members]):
        own = members[faces.person[members] == person]
        people.append([own[faces.domain[own] == domain] for domain in sorted(set(faces.domain[own]))])
    return people


class RecognitionTask(AveragedTask):
    """Trains a `LightCNN`; its moving average is what is evaluated and exported.

    Args:
        config: all settings.
        device: where the training runs.
        n_people: number of classes.
        start: crops (B, 3, 128, 128) in [-1, 1] of the training set, by which the new network's layers are scaled.
        held_out: crops of other people, for figures.
        data: description of the training data, kept in checkpoints.
    """

    def __init__(
        self,
        config: RecognitionConfig,
        device: torch.device,
        n_people: int,
        start: Tensor,
        held_out: LabelledFaces,
        data: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self.config = config
        self.device, self.dtype = device, mixed_dtype(config.precision, device)
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        net = LightCNN(replace(config.network, n_classes=n_people)).to(memory_format=self.layout)  # type: ignore[call-overload]
        standardise(net, start)
        if config.margin.kind != "softmax" and net.fc2 is not None:
            net.fc2.bias.requires_grad_(False)  # cosines have none
        rate = config.rate
        optimizer = rate.optimizer([p for p in net.parameters() if p.requires_grad])
        super().__init__(net, optimizer, rate.lr, rate.n_warmup_steps, config.loop.n_steps, rate.average, data)
        self.held_out, self.picked = held_out, _spread(held_out)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """One update: cross entropy, with the margin that the step asks for."""
        net: LightCNN = self.networks["net"].train()  # type: ignore[assignment]
        margin, person = self.config.margin, batch["person"]
        with autocast(self.dtype, self.device):
            features = net(batch["picture"])
        features = features.float()

        if margin.kind == "softmax":
            logits = plain = net.classify(features)
        else:
            # The classifier's rows are directions; dropout hides features as it does before a published classifier.
            features = functional.dropout(features, self.config.network.dropout, net.training)
            plain = functional.linear(functional.normalize(features), functional.normalize(net.fc2.weight))  # type: ignore[union-attr]
            rise = min(1.0, step / margin.n_rise_steps) if margin.n_rise_steps else 1.0
            logits = margin.scale * with_margin(plain, person, margin.kind, rise * margin.margin)

        loss = functional.cross_entropy(logits, person)
        right = (plain.detach().argmax(1) == person).float().mean()
        yield Update("net", loss, {"right": right})

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Verification of held-out people: AUC, and TAR at FAR 1e-2, among the crops of each domain."""
        features = self._features(self.picked)
        domains, people = self.held_out.domain[self.picked], self.held_out.person[self.picked]
        figures = {}
        for domain in sorted(set(domains)):
            chosen = domains == domain
            n_of_person = np.unique(people[chosen], return_counts=True)[1]
            if len(n_of_person) < 2 or n_of_person.max() < 2:
                continue  # one image a person, or one person: nothing to verify
            few = chosen.sum() <= _N_PAIRED
            pairs = (
                all_pairs(people[chosen]) if few else draw_pairs(people[chosen], _N_PAIRED**2 // 2, np.random.default_rng(0))
            )
            scores = score_pairs(features[chosen], pairs)
            figures[f"val/{domain}/auc"] = auc(scores, pairs.same)
            figures[f"val/{domain}/tar"] = tar_at_far(scores, pairs.same, _FAR)
        return figures

    @torch.no_grad()
    def _features(self, indices: np.ndarray) -> np.ndarray:
        net, parts = self.networks["average"], []
        for i in range(0, len(indices), 64):
            x = to_network(self.held_out.images(indices[i : i + 64])).to(self.device)
            with autocast(self.dtype, self.device):
                parts.append(net(x).float().cpu())
        return torch.cat(parts).numpy()


def _spread(faces: LabelledFaces) -> np.ndarray:
    """Indices of up to `_N_HELD_OUT` crops of each person in each domain, spread evenly over the lights and expressions."""
    groups = [group for person in _by_person_and_domain(faces, np.arange(len(faces))) for group in person]
    # An odd stride in (expression, lighting) order; a linspace would give each expression the same few lights.
    picked = [
        group[(np.arange(min(_N_HELD_OUT, len(group))) * max(1, len(group) // _N_HELD_OUT + 1)) % len(group)]
        for group in groups
    ]
    return np.unique(np.concatenate(picked))


def with_margin(cosine: Tensor, person: Tensor, kind: str, margin: float) -> Tensor:
    """Make the right class harder to reach: cosines (B, n) with that of `person` (B,) lowered.

    cosface: cos t - margin. arcface: cos(t + margin); beyond a half turn, where that would rise again, cos t - margin * sin(margin).
    """
    own = cosine.gather(1, person[:, None])
    if kind == "cosface":
        lowered = own - margin
    else:
        sine = (1 - own.square()).clamp_min(1e-7).sqrt()
        turned = own * math.cos(margin) - sine * math.sin(margin)
        lowered = torch.where(own > -math.cos(margin), turned, own - margin * math.sin(margin))
    return cosine.scatter(1, person[:, None], lowered)


def build_recognition(config: RecognitionConfig, device: torch.device) -> tuple[RecognitionTask, IdentityBatches]:
    """Make the task and its batches.

    Raises:
        DataError: a folder that cannot be used, without held-out people, or with crops of another size.
        ConfigError: weights that do not fit the folders, or classes in the config, which come from the data.
    """
    if config.network.n_classes:
        raise ConfigError("network.n_classes comes from the data: leave it out")
    cv2.setNumThreads(1)  # many small pictures: threads would only get in each other's way
    folders = [Path(folder) for folder in config.data.folders]
    train, held_out = (LabelledFaces(folders, split, INPUT_SIZE, config.data.memory_gb) for split in ("train", "val"))
    n_people = len(np.unique(train.person))
    batches = IdentityBatches(train, config.data, config.loop.seed)
    start = batches(0, 0, 1)["picture"]
    return RecognitionTask(config, device, n_people, start, held_out, train.facts()), batches


def train_recognition(
    preset_name: str,
    data: Sequence[Path],
    run: Path,
    overrides: Sequence[str] = (),
    devices: int = 1,
    dry_run: bool = False,
) -> Outcome | Rehearsal:
    """Train the identity network in a run folder, or continue the training that it holds; at the end write its weights.

    Args:
        preset_name: "lite", "lightcnn9" or "lightcnn29".
        data: data set folders.
        run: the run folder; `identity.safetensors` in it is the result.
        overrides: settings such as "margin.kind=arcface".
        devices: processes to train in.
        dry_run: build everything, time a few steps, write nothing.

    Raises:
        LeganError: as `run_task`.
    """
    config = load_config(RecognitionConfig, overrides=overrides, base=preset(preset_name))
    config = on_folders(config, data)
    return start(build_recognition, config, run, devices, dry_run, partial(export_recognition, config))


def export_recognition(config: RecognitionConfig, run: Path) -> Path:
    """Write the averaged network of a run's newest checkpoint to `identity.safetensors` in it, as float16, without classifier.

    Raises:
        WeightsError: the run has no checkpoint that can be read.
    """
    state = trained_state(run)
    folders, training = state["extra"]["data"], config_to_dict(config)
    training["data"]["folders"] = [Path(folder).name for folder in config.data.folders]
    metadata = {
        "model": "legan-identity",
        "lightcnn": config_to_dict(config.network),
        "training": training,
        **training_length(state["n_steps_done"], config.data.batch_size, None),
        "seed": config.loop.seed,
        **data_facts(folders),
        **provenance(),
    }
    tensors = {name: t for name, t in state["networks"]["average"].items() if not name.startswith("fc2.")}
    save_weights(run / WEIGHTS, tensors, metadata, half=True)
    return run / WEIGHTS
