"""CelebA (Liu, Luo, Wang and Tang, ICCV 2015), with its attributes, a set of the StarGAN paper. For research.

Layout: `Anno/list_attr_celeba.txt` (number of images, 40 names, then `000001.jpg -1 1 ...` a line), `Anno/identity_CelebA.txt`
(`000001.jpg 2880`), `Eval/list_eval_partition.txt` (`000001.jpg 0`: 0 train, 1 val, 2 test) and the images in `Img/img_align_celeba/` or
`Img/img_celeba/`; lists and image folders may lie in the folder itself too, as torchvision unpacks them. 202,599 images of 10,177 people.
"""

from collections.abc import Iterator
from pathlib import Path

from legan.core.errors import DataError
from legan.data.public.layout import SourceImage, lines_of, required, wrong_line

# The five of StarGAN's experiments on CelebA (Choi et al., CVPR 2018, section 5; --selected_attrs of the authors' code).
STARGAN_ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
_SPLITS = {"0": "train", "1": "val", "2": "test"}
_LISTS = {"list_attr_celeba.txt": "Anno", "identity_CelebA.txt": "Anno", "list_eval_partition.txt": "Eval"}
_FOLDERS = ("img_align_celeba", "img_celeba")


def read_celeba(folder: Path) -> list[SourceImage]:
    """Return all listed images with their people, splits, and those of StarGAN's five attributes that they have.

    Raises:
        DataError: a list or the image folder is missing, a line of another form, or an image that only one of the lists has.
    """
    folder = Path(folder)
    attributes, (identities, partitions) = _attributes(folder), (_column(folder, name) for name in list(_LISTS)[1:])
    images = _image_folder(folder)
    found = []
    for name, own in attributes.items():
        if name not in identities or partitions.get(name) not in _SPLITS:
            which = list(_LISTS)[1 if name not in identities else 2]
            raise DataError(
                f"{which} of {folder} does not say what {name} is, which list_attr_celeba.txt has: download the lists again"
            )
        split = _SPLITS[partitions[name]]
        found.append(
            SourceImage(images / name, f"celeba{identities[name]}", "photo", "photo/celeba", split=split, attributes=own)
        )
    return required(found, folder, "Img/img_align_celeba/<number>.jpg")


def _list(folder: Path, name: str) -> Path:
    places = folder / _LISTS[name] / name, folder / name
    return next((path for path in places if path.is_file()), places[0])


def _image_folder(folder: Path) -> Path:
    places = [place / name for place in (folder / "Img", folder) for name in _FOLDERS]
    found = next((path for path in places if path.is_dir()), None)
    if found is None:
        raise DataError(f"{folder} has no Img/img_align_celeba or Img/img_celeba: extract CelebA's images there")
    return found


def _attributes(folder: Path) -> dict[str, tuple[str, ...]]:
    path = _list(folder, "list_attr_celeba.txt")
    lines = lines_of(path, "CelebA's list of attributes, in Anno/")
    names = _heading(path, lines)
    found = {}
    for number, line in lines:
        name, *values = line.split()
        if len(values) != len(names) or not set(values) <= {"1", "-1"}:
            raise wrong_line(path, number, line, f"the image's name and {len(names)} numbers, 1 or -1")
        found[name] = tuple(one for one in STARGAN_ATTRIBUTES if values[names.index(one)] == "1")
    return found


def _heading(path: Path, lines: Iterator[tuple[int, str]]) -> list[str]:
    """The names of the attributes, from the first two lines."""
    (number, count), (_, heading) = next(lines, (1, "")), next(lines, (2, ""))
    names = heading.split()
    if not count.isdecimal() or not set(STARGAN_ATTRIBUTES) <= set(names):
        raise wrong_line(path, number, count, "the number of images, and the next line the names of the attributes")
    return names


def _column(folder: Path, name: str) -> dict[str, str]:
    """A list of a name and a number a line."""
    path, found = _list(folder, name), {}
    for number, line in lines_of(path, f"CelebA's, in {_LISTS[name]}/"):
        image, *values = line.split()
        if len(values) != 1 or not values[0].isdecimal():
            raise wrong_line(path, number, line, "the image's name and a number")
        found[image] = values[0]
    return found
