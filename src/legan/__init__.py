"""Edit the lighting and the expression of a face photo (LEGAN, Banerjee et al., CVPR Workshops 2021).

    >>> import legan
    >>> editor = legan.load_editor()
    >>> editor("photo.jpg", expression="smile", lighting=-45).save("edited.jpg")

Names are loaded on first use, so that `import legan` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legan.apply.edit import Editor, edit, load_editor
    from legan.apply.edited import Edit
    from legan.apply.marks import Mark, read_mark
    from legan.apply.match import Match, match
    from legan.apply.quality import QualityLoss, QualityScorer, load_quality, score
    from legan.apply.quality_metric import QualityScore
    from legan.apply.readings import Readings
    from legan.core.conditions import EXPRESSIONS, LIGHTINGS
    from legan.core.errors import LeganError
    from legan.core.lamps import Lamp, LightSetup

__version__ = "0.1.0"

_HOMES = {
    "Edit": "legan.apply.edited",
    "Editor": "legan.apply.edit",
    "edit": "legan.apply.edit",
    "load_editor": "legan.apply.edit",
    "Mark": "legan.apply.marks",
    "read_mark": "legan.apply.marks",
    "Match": "legan.apply.match",
    "match": "legan.apply.match",
    "Readings": "legan.apply.readings",
    "QualityLoss": "legan.apply.quality",
    "QualityScorer": "legan.apply.quality",
    "QualityScore": "legan.apply.quality_metric",
    "load_quality": "legan.apply.quality",
    "score": "legan.apply.quality",
    "EXPRESSIONS": "legan.core.conditions",
    "LIGHTINGS": "legan.core.conditions",
    "LeganError": "legan.core.errors",
    "Lamp": "legan.core.lamps",
    "LightSetup": "legan.core.lamps",
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
