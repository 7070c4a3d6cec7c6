"""Result pages: each one HTML file that opens from disk, filled from the jinja2 templates `assets/*.html` (`page.html` is their base)."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from legan import __version__
from legan.core.files import write_atomic
from legan.core.images import encode_photo
from legan.core.metadata import Metadata
from legan.core.weights import ASSETS


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["version"] = __version__
    return environment


def fill_template(template: str, **values: Any) -> Markup:
    """Fill a template; all values are escaped, and the result is not escaped again when it is put into another."""
    return Markup(_environment().get_template(template).render(values))


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill a template, such as `filter.html`, and write the page; all values are escaped.

    Raises:
        LeganError: the file cannot be written.
    """
    write_atomic(path, fill_template(template, **values).encode())


def data_uri(image: Image.Image, quality: int = 85, metadata: Metadata | None = None) -> str:
    """An image as a `data:` URI (WebP) for `<img src>`."""
    data = encode_photo(image, "WEBP", quality=quality, metadata=metadata)
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
