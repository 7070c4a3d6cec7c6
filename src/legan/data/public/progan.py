"""Samples of ProGAN (Karras et al., ICLR 2018), as its authors publish them.

Layout: `100k-generated-images/celebahq-1024x1024/...`, at any depth; folders of other things (bedrooms, cars) are left out. A
folder that has no such name above the images is taken as samples of faces.
"""

import re
from pathlib import Path

from legan.data.public.layout import SourceImage, images_in, required

_FACES = ("celebahq", "celeba", "ffhq")
_OTHERS = ("bedroom", "car", "cat", "church", "horse", "lsun", "cifar", "mnist", "dog", "boat", "bird", "bus")
_IS_OTHER = re.compile(rf"({'|'.join(_OTHERS)})(e?s)?([-_\d]|$)")  # not caroline/ or categories/


def read_progan(folder: Path) -> list[SourceImage]:
    """Return all samples of faces, each an identity of its own.

    Raises:
        DataError: no images of faces.
    """
    folder = Path(folder)
    images = []
    for path in images_in(folder):
        data = face_data(path.relative_to(folder))
        if data is not None:
            images.append(SourceImage(path, f"progan-{_name(path, folder)}", "progan", f"progan/{data or 'faces'}"))
    return required(images, folder, "100k-generated-images/celebahq-1024x1024/<image>")


def face_data(path: Path) -> str | None:
    """Return which face data made a sample, by the folders in its path: "" where none is named, None for other things."""
    folders = [part.lower() for part in path.parts[:-1]]
    for part in folders:
        for name in _FACES:
            if part.startswith(name):
                return name
    return None if any(_IS_OTHER.match(part) for part in folders) else ""


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")
