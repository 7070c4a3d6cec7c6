"""Edit the lighting and the expression of a face photo (LEGAN, Banerjee et al., CVPR Workshops 2021).

    >>> import legan
    >>> editor = legan.load_editor()
    >>> editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")

Names are loaded on first use, so that `import legan` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legan.core.conditions import EXPRESSIONS, LIGHTINGS
    from legan.core.errors import LeganError
    from legan.core.light import Lamp, LightSetup
    from legan.editing.editor import Edit, Editor, Readings, edit, load_editor
    from legan.editing.marks import Mark, read_mark
    from legan.matching import Match, match
    from legan.quality.metric import QualityScore
    from legan.quality.scorer import QualityLoss, QualityScorer, load_quality, score


__version__ = "0.1.0"

_HOMES = {
    "Edit": "legan.editing.editor",
    "Editor": "legan.editing.editor",
    "edit": "legan.editing.editor",
    "load_editor": "legan.editing.editor",
    "Mark": "legan.editing.marks",
    "read_mark": "legan.editing.marks",
    "Match": "legan.matching",
    "match": "legan.matching",
    "Readings": "legan.editing.editor",
    "QualityLoss": "legan.quality.scorer",
    "QualityScorer": "legan.quality.scorer",
    "QualityScore": "legan.quality.metric",
    "load_quality": "legan.quality.scorer",
    "score": "legan.quality.scorer",
    "EXPRESSIONS": "legan.core.conditions",
    "LIGHTINGS": "legan.core.conditions",
    "LeganError": "legan.core.errors",
    "Lamp": "legan.core.light",
    "LightSetup": "legan.core.light",
}
__all__ = [
    "EXPRESSIONS",
    "LIGHTINGS",
    "Edit",
    "Editor",
    "Lamp",
    "LeganError",
    "LightSetup",
    "Mark",
    "Match",
    "QualityLoss",
    "QualityScore",
    "QualityScorer",
    "Readings",
    "edit",
    "load_editor",
    "load_quality",
    "match",
    "read_mark",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'legan' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
