"""For the reference of the site: the section `Example:` of a docstring is shown as code (griffe's parser knows `Examples:` alone)."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the section in every docstring that the reference reads."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each module, class and function once it is read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
