"""Any folder of pictures: each subfolder is a person; pictures that lie in the folder itself are people of their own."""

from pathlib import Path

from legan.data.sources.source import SourceImage, pictures_in, required


def read_folder(folder: Path, kind: str = "photo") -> list[SourceImage]:
    """Return all pictures; `kind` is what they are, "photo" or the name of what made them.

    Raises:
        DataError: no pictures.
    """
    folder = Path(folder)
    images = []
    for path in pictures_in(folder):
        parts = path.relative_to(folder).parts
        images.append(SourceImage(path, parts[0] if len(parts) > 1 else path.stem, kind, f"{kind}/{folder.resolve().name}"))
    return required(images, folder, "<person>/<picture> or <picture>")
