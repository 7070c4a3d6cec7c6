"""CASIA-WebFace (Yi et al., arXiv 1411.7923): a folder a person, `0000045/001.jpg`. For research, on request."""

from pathlib import Path

from legan.data.public.layout import SourceImage, images_in, required


def read_casia_webface(folder: Path) -> list[SourceImage]:
    """Return all images; each folder of digits is a person.

    Raises:
        DataError: no images in this layout.
    """
    folder = Path(folder)
    found = ((path, path.relative_to(folder).parts) for path in images_in(folder))
    images = (
        SourceImage(path, f"casia{parts[-2]}", "photo", "photo/casia-webface")
        for path, parts in found
        if len(parts) >= 2 and parts[-2].isdecimal()
    )
    return required(images, folder, "<seven digits>/<three digits>.jpg")
