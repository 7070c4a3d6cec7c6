"""Edit the lighting and the expression of a face photo (LEGAN, Banerjee et al., CVPR Workshops 2021).

Names are loaded on first use, so that `import legan` is quick.

Example:
    >>> import legan
    >>> editor = legan.load_editor()
    >>> editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")
    >>> legan.EXPRESSIONS
    ('neutral', 'smile', 'surprise', 'squint', 'disgust', 'scream')
    >>> [light.name for light in legan.LIGHTINGS if light.azimuth == -45]
    ['04']
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legan import losses
    from legan.core.conditions import EXPRESSIONS, LIGHTINGS
    from legan.core.errors import LeganError
    from legan.core.light import Lamp, LightSetup
    from legan.data.faces import FaceDataset, load_dataset
    from legan.editing.editor import Edit, Editor, Readings
    from legan.editing.loader import edit, load_editor
    from legan.editing.marks import Mark, read_mark
    from legan.evaluation.benchmark import evaluate_editors as evaluate
    from legan.matching import Match, match
    from legan.models.critic import Critic
    from legan.models.generator import Generator
    from legan.models.quality import QualityModel
    from legan.quality.metric import ExpressionAccuracy, FaceQuality, LightingAccuracy, MatchScore
    from legan.quality.scorer import QualityLoss, QualityScorer, load_quality, score
    from legan.train.task import Task, Update

    __version__: str

# Where each public name lives, module:name.
_HOMES = {
    "EXPRESSIONS": "legan.core.conditions:EXPRESSIONS",
    "LIGHTINGS": "legan.core.conditions:LIGHTINGS",
    "LeganError": "legan.core.errors:LeganError",
    "Lamp": "legan.core.light:Lamp",
    "LightSetup": "legan.core.light:LightSetup",
    "Edit": "legan.editing.editor:Edit",
    "Editor": "legan.editing.editor:Editor",
    "Readings": "legan.editing.editor:Readings",
    "edit": "legan.editing.loader:edit",
    "load_editor": "legan.editing.loader:load_editor",
    "Mark": "legan.editing.marks:Mark",
    "read_mark": "legan.editing.marks:read_mark",
    "Match": "legan.matching:Match",
    "match": "legan.matching:match",
    "ExpressionAccuracy": "legan.quality.metric:ExpressionAccuracy",
    "FaceQuality": "legan.quality.metric:FaceQuality",
    "LightingAccuracy": "legan.quality.metric:LightingAccuracy",
    "MatchScore": "legan.quality.metric:MatchScore",
    "QualityLoss": "legan.quality.scorer:QualityLoss",
    "QualityScorer": "legan.quality.scorer:QualityScorer",
    "load_quality": "legan.quality.scorer:load_quality",
    "score": "legan.quality.scorer:score",
    "FaceDataset": "legan.data.faces:FaceDataset",
    "load_dataset": "legan.data.faces:load_dataset",
    "evaluate": "legan.evaluation.benchmark:evaluate_editors",
    "Generator": "legan.models.generator:Generator",
    "Critic": "legan.models.critic:Critic",
    "QualityModel": "legan.models.quality:QualityModel",
    "losses": "legan.losses",
    "Task": "legan.train.task:Task",
    "Update": "legan.train.task:Update",
}
__all__ = [
    "EXPRESSIONS",
    "LIGHTINGS",
    "Critic",
    "Edit",
    "Editor",
    "ExpressionAccuracy",
    "FaceDataset",
    "FaceQuality",
    "Generator",
    "Lamp",
    "LeganError",
    "LightSetup",
    "LightingAccuracy",
    "Mark",
    "Match",
    "MatchScore",
    "QualityLoss",
    "QualityModel",
    "QualityScorer",
    "Readings",
    "Task",
    "Update",
    "edit",
    "evaluate",
    "load_dataset",
    "load_editor",
    "load_quality",
    "losses",
    "match",
    "read_mark",
    "score",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = _installed_version()
    elif name in _HOMES:
        value = resolve_name(_HOMES[name])
    else:
        raise AttributeError(f"module 'legan' has no attribute '{name}'")
    globals()[name] = value
    return value


def _installed_version() -> str:
    """The version that was installed, of which pyproject.toml says where it comes from."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("legan")
    except PackageNotFoundError:
        return "0+not.installed"  # a folder of sources on the path


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
