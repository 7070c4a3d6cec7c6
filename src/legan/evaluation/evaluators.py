"""The networks and the classifier that images are measured with, chosen by name or file; results name the ones that were used.

`efficientnet-lite0`, learned from ImageNet, and `lightcnn`, a small LightCNN, come with legan and need no download. `lightcnn9`,
`lightcnn29`, `inception` (the network of FID), `alex` and `vgg` (those of LPIPS) are files that the user has, in the folder that
`LEGAN_MODELS` names. Anything else is a path: weights of `legan train identity`, or an official LightCNN checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.errors import WeightsError, nearest
from legan.core.files import sha256_of
from legan.core.geometry import CROP_SIZE
from legan.core.images import resized, to_network, to_unit
from legan.core.weights import PACKAGED, load_state, packaged
from legan.evaluation.edit_classifier import EditClassifier
from legan.faces.embeddings import KNOWN_FILES, Embedding, load_embedding, model_file
from legan.metrics import feature_networks
from legan.metrics.images import layer_distance, psnr, ssim
from legan.models.lightcnn import INPUT_SIZE, load_lightcnn
from legan.models.quality import FeatureQuality, load_quality_net
from legan.quality.scorer import QualityScorer, load_quality
from legan.requests import EvaluationNetworks

EFFICIENTNET = "efficientnet-lite0"
_TORCHVISION = "https://download.pytorch.org/models"
_HUB_FOLDERS = (Path("~/.cache/torch/hub/checkpoints"),)  # where torchvision and pytorch-fid themselves download to
# The digits in a name are the first of the file's SHA-256, as torch hub names files.
_FILES = {
    "inception": ("pt_inception-2015-12-05-6726825d.pth", "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights"),
    "alex": ("alexnet-owt-7be5be79.pth", _TORCHVISION),
    "vgg": ("vgg16-397923af.pth", _TORCHVISION),
}
_LIGHTCNN = "lightcnn"  # the packaged one
_LIGHTCNNS = (_LIGHTCNN, "lightcnn9", "lightcnn29")
# For distances of distributions, and for distances of two images.
FID_NETWORKS = (EFFICIENTNET, *_LIGHTCNNS, "inception")
LPIPS_NETWORKS = (EFFICIENTNET, *_LIGHTCNNS, "alex", "vgg")

IMAGE_METRICS = ("edited", "lpips", "ssim", "psnr", "match", "quality")  # of each image; NaN where there is none
Arrays = dict[str, np.ndarray]  # by name, a row an image
Layers = Callable[[Tensor], list[Tensor]]


class Evaluators:
    """The networks of a `EvaluationNetworks`, loaded, and the classifier of edits, where there is one.

    Raises:
        WeightsError, ConfigError: an unknown network, or a device that this machine does not have.
    """

    def __init__(self, networks: EvaluationNetworks, edits: EditClassifier | None = None) -> None:
        self.edits = edits
        self.fid: FeatureNetwork = load_fid_network(networks.fid_network, networks.device)
        self.lpips: FeatureNetwork = load_lpips_network(networks.lpips_network, networks.device)
        self.embedding: Embedding = load_embedding(networks.identity, networks.device)
        # float32 everywhere, so that scores do not depend on the machine.
        self.quality: QualityScorer = load_quality(networks.quality, networks.device, "fp32")
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

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return features (B, d) of images, uint8 (B, S, S, 3)."""
        return self.fid.features(to_network(images)).numpy()

    def measure(self, images: np.ndarray, truths: np.ndarray, has_truth: np.ndarray) -> Arrays:
        """Return `features` (B, d), `embedding` (B, e) and each of `IMAGE_METRICS` (B,); NaN for `edited` and `match`, set later.

        Args:
            images, truths: uint8 (B, S, S, 3); the results, and the true edits.
            has_truth: (B,) whether there is a truth.
        """
        x, x_true = to_network(images), to_network(truths[has_truth])
        layers = self.lpips.read(x)
        features = torch.cat(list(map(pooled, layers)), 1).cpu() if self._shares_layers else self.fid.features(x)
        values: Arrays = {"features": features.float().numpy(), **{name: np.full(len(x), np.nan) for name in IMAGE_METRICS}}
        if has_truth.any():
            kept = torch.from_numpy(has_truth)
            own = [layer[kept] for layer in layers]
            values["lpips"][has_truth] = layer_distance(own, self.lpips.read(x_true), self.lpips.weights).cpu()
            u, u_true = to_unit(x[kept]), to_unit(x_true)
            values["ssim"][has_truth], values["psnr"][has_truth] = ssim(u, u_true), psnr(u, u_true)
        values["embedding"] = self.embedding.embed(to_unit(resized(x, CROP_SIZE).clamp(-1, 1)), batch_size=len(x))
        values["quality"][:] = self.quality.predict(resized(x, self.quality.size)).score.numpy()
        return values


class _Loaded(NamedTuple):
    net: nn.Module
    facts: dict[str, Any]


@dataclass(frozen=True)
class FeatureNetwork:
    """What turns images into features.

    Args:
        name: how results name it.
        layers: images (B, 3, S, S) in [-1, 1] -> its layers (B, C, h, w); one layer (B, d) is features as they are.
        size: S, the side that it reads; images of another are scaled, bilinearly and antialiased; None where any will do.
        weights: of the layers' channels, fitted to people's judgements: LPIPS's.
        provenance: file, SHA-256, and what the file says about itself.
    """

    name: str
    layers: Layers
    size: int | None = None
    weights: list[Tensor] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def read(self, x: Tensor) -> list[Tensor]:
        """Return the layers of images (B, 3, H, W) in [-1, 1]."""
        with torch.inference_mode():
            return self.layers(x if self.size is None else resized(x, self.size))

    def features(self, x: Tensor) -> Tensor:
        """Return features (B, d) of images (B, 3, H, W) in [-1, 1]: the layers, each averaged over places."""
        return torch.cat([pooled(layer) for layer in self.read(x)], 1).float().cpu()


def pooled(layer: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C), the mean over places; (B, d) as it is."""
    return layer.mean((2, 3)) if layer.ndim == 4 else layer


def load_fid_network(name: str | Path = EFFICIENTNET, device: str = "cpu") -> FeatureNetwork:
    """Return the network of FID, KID, precision and recall; a name of `FID_NETWORKS`, or a path.

    Raises:
        WeightsError: an unknown name, or a file that is missing, damaged or another one.
    """
    if str(name) == "inception":
        net, facts = _published("inception", feature_networks.Inception())
        net = _ready(net, device)
        return FeatureNetwork("inception", lambda x: [net(x.to(device))], feature_networks.INPUT_SIZE, None, facts)
    return _packaged_or_lightcnn(name, FID_NETWORKS, device)


def load_lpips_network(name: str | Path = EFFICIENTNET, device: str = "cpu") -> FeatureNetwork:
    """Return the network of distances of two images; a name of `LPIPS_NETWORKS`, or a path. Only `alex` and `vgg` give LPIPS.

    Raises:
        WeightsError: as `load_fid_network`.
    """
    word = str(name)
    if word not in ("alex", "vgg"):
        return _packaged_or_lightcnn(name, LPIPS_NETWORKS, device)
    net, facts = _published(word, feature_networks.alexnet() if word == "alex" else feature_networks.vgg16())
    net = _ready(net, device)
    weights = [weight.to(device) for weight in feature_networks.channel_weights(word)]
    return FeatureNetwork(word, lambda x: net(x.to(device)), None, weights, facts)


def _published(name: str, net: nn.Module) -> _Loaded:
    """Fill a network from its published file, whose name holds its checksum."""
    file, home = _FILES[name]
    path = model_file(name, file, home, _HUB_FOLDERS)
    checksum, expected = sha256_of(path), path.stem.rsplit("-", 1)[1]
    if not checksum.startswith(expected):
        raise WeightsError(f"{path} is not the published file (its SHA-256 does not start with {expected}): download it again")
    try:
        state = load_state(path, "weights file", "download it again")
        wanted = net.state_dict()
        # Classifiers that the network here does without are left out.
        net.load_state_dict({key: tensor for key, tensor in state.items() if key in wanted or key.startswith("features.")})
    except (RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} does not hold the tensors of {name} ({reason}): download it again") from error
    return _Loaded(net, {"file": path.name, "sha256": checksum})


def _packaged_or_lightcnn(name: str | Path, choices: tuple[str, ...], device: str) -> FeatureNetwork:
    if str(name) in (EFFICIENTNET, PACKAGED):
        return _efficientnet(device)
    return _lightcnn(name, choices, device)


def _efficientnet(device: str) -> FeatureNetwork:
    """The body of the packaged Q, which is EfficientNet-Lite0 as ImageNet taught it."""
    path = packaged("quality")
    net, metadata = load_quality_net(path)
    if not isinstance(net, FeatureQuality):
        raise WeightsError("the packaged Q has no body to read features with: install legan again")
    body = _ready(net.features.float(), device)
    facts: dict[str, Any] = {"file": path.name, "sha256": sha256_of(path), "body": metadata["body"]}
    return FeatureNetwork(EFFICIENTNET, lambda x: body(x.to(device)), net.config.enlarged, None, facts)


def _lightcnn(name: str | Path, choices: tuple[str, ...], device: str) -> FeatureNetwork:
    word = str(name)
    if word == _LIGHTCNN:
        path = packaged(_LIGHTCNN)
    elif word in _LIGHTCNNS:
        path = model_file(word, *KNOWN_FILES[word])
    else:
        path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"unknown feature network '{word}': choose from {', '.join(choices)}, or give a file{nearest(word, choices)}"
        )
    net, metadata = load_lightcnn(path)
    facts: dict[str, Any] = {"file": path.name, "sha256": sha256_of(path)}
    facts |= {key: metadata[key] for key in ("model", "steps", "seed", "data", "licence") if key in metadata}
    called = word if word in choices else path.name
    return FeatureNetwork(called, lightcnn_layers(_ready(net, device), device), INPUT_SIZE, None, facts)


def lightcnn_layers(net: nn.Module, device: str = "cpu") -> Layers:
    """Return a function from images to a LightCNN's layers: the outputs of its stem and each of its groups."""
    layers: list[Tensor] = []
    for module in (net.stem, *net.groups):  # type: ignore[union-attr, misc]
        module.register_forward_hook(lambda _module, _inputs, output: layers.append(output))  # type: ignore[union-attr]

    def read(x: Tensor) -> list[Tensor]:
        layers.clear()
        net(x.to(device))
        return list(layers)

    return read


def _ready(net: nn.Module, device: str) -> nn.Module:
    return net.eval().requires_grad_(False).to(device)
