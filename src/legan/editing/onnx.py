"""An editor's generator as an ONNX file, for programs without PyTorch: image, expression and lighting in, the edited image out.

The file is compared with the network it came from before it gets its name. Use: docs/onnx.md.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from legan.core.errors import ConfigError, WeightsError
from legan.core.files import write_atomic
from legan.core.images import load_photo, to_network
from legan.core.weights import asset
from legan.editing.loader import is_run, load_crop_editor
from legan.models.editors import Networks

SUFFIX = ".onnx"
INPUTS, OUTPUT = ("image", "expression", "lighting"), "edited"
OPSET = 20  # the first that can sample an image at given places and lay out their grid
TOLERANCE = 1e-2  # in [-1, 1]: a little more than one of 256 levels
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


class _Image(nn.Module):
    """The generator's image alone, within [-1, 1]."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, expression: Tensor, lighting: Tensor) -> Tensor:
        return self.generator(image, expression, lighting).image


def export_onnx(source: Path, out: Path, known_faults: Sequence[str] = ()) -> dict[str, Any]:
    """Write an editor's generator as ONNX and return its metadata.

    Inputs `image` (B, 3, S, S) in [-1, 1], `expression` (B, 6), `lighting` (B, 20), or as many as the editor has classes, any B; output
    `edited` (B, 3, S, S) in [-1, 1]; all float32. The file's metadata holds, as JSON: `legan` (what the weights file says about itself),
    `expressions` (their names in the code's order) and `lightings` (name, azimuth and elevation of each).

    Args:
        source: a weights file of an editor, `packaged`, or the folder of a run, whose newest checkpoint is taken.
        out: the file to write, .onnx.
        known_faults: of a run, as for `export_run`.

    Raises:
        WeightsError: a package is missing, `source` is no editor, or onnxruntime gives another image than the network.
        ConfigError: a folder that is no run, or faults of a file that is exported already.
        LeganError: `out` cannot be written.
    """
    out = Path(out)
    if out.suffix != SUFFIX:
        raise WeightsError(f"cannot export to {out}: give a name that ends in {SUFFIX}")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise WeightsError(f"ONNX needs {', '.join(missing)}: install with `pip install legan[onnx]`")
    networks = _networks(Path(source), known_faults)
    data = _as_onnx(networks)
    error = largest_error(data, networks)
    if not error <= TOLERANCE:  # NaN too
        raise WeightsError(
            f"{out} was not written: onnxruntime's image differs from the network's by {error:.3g}, more than {TOLERANCE:g}; update "
            "torch, onnxscript and onnxruntime"
        )
    write_atomic(out, data)
    return networks.metadata


def largest_error(data: bytes, networks: Networks) -> float:
    """Largest difference in [-1, 1] between an ONNX file's edits and the network's, on packaged faces, whatever their number."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    errors = []
    for n in (1, 3):
        inputs = _examples(networks, n)
        with torch.inference_mode():
            expected = networks.generator(*inputs).image.numpy()
        (found,) = session.run([OUTPUT], dict(zip(INPUTS, (x.numpy() for x in inputs), strict=True)))
        errors.append(float(np.abs(found - expected).max()))
    return max(errors)


def _networks(source: Path, known_faults: Sequence[str]) -> Networks:
    if known_faults and not is_run(source):
        raise ConfigError(f"{source} is exported already, with its faults: leave --fault out, or export its run folder")
    editor = load_crop_editor(source, known_faults=known_faults)
    if not isinstance(editor, Networks):
        raise WeightsError(f"the editor '{source}' has no network to export: name a weights file or a run folder")
    return editor


def _examples(networks: Networks, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Packaged faces, expressions and lightings, `n` of each, different from one another."""
    paths = sorted(asset("faces").glob("*.png"))
    faces = [load_photo(paths[i % len(paths)]).image.resize((networks.size, networks.size)) for i in range(n)]
    n_expressions, n_lightings = len(networks.classes.expressions), len(networks.classes.lightings)
    expressions = torch.eye(n_expressions)[[(1 + i) % n_expressions for i in range(n)]]
    lightings = torch.eye(n_lightings)[[(3 + 5 * i) % n_lightings for i in range(n)]]
    return to_network(faces), expressions, lightings


def _as_onnx(networks: Networks) -> bytes:
    batch = torch.export.Dim("batch")
    with _quiet():
        program = torch.onnx.export(
            _Image(networks.generator).eval(),
            _examples(networks, 2),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes={name: {0: batch} for name in INPUTS},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is, where no file is named
    facts = {
        "legan": networks.metadata,
        "expressions": networks.classes.expressions,
        "lightings": [asdict(lighting) for lighting in networks.classes.lightings],
    }
    model = program.model_proto
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    return model.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says about packages that are not needed, and about its own parts, from the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(torch|onnxscript|onnx_ir|copyreg)\b")
            yield
    finally:
        logger.setLevel(level)
