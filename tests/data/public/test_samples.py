"""Sample folders of ProGAN and StyleGAN, and folders of images of any kind."""

import pytest
from PIL import Image

from legan.core.errors import DataError
from legan.data.public.folder import read_folder
from legan.data.public.progan import read_progan
from legan.data.public.stylegan import read_stylegan


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path)


def test_progan_takes_faces_and_leaves_bedrooms(tmp_path):
    base = tmp_path / "100k-generated-images"
    write(base / "celebahq-1024x1024" / "img00000001.png")
    write(base / "celebahq-1024x1024" / "img00000000.png")
    for other in ("lsun-bedroom", "car-256", "cats", "churches_outdoor"):
        write(base / other / "img00000000.png")
    found = read_progan(tmp_path)
    assert [image.path.name for image in found] == ["img00000000.png", "img00000001.png"]
    assert {image.setting for image in found} == {"progan/celebahq"} and len({image.identity for image in found}) == 2


def test_stylegan_tells_version_data_and_truncation(tmp_path):
    write(tmp_path / "ffhq-1024x1024" / "psi-0.5" / "00000" / "00001.png")
    write(tmp_path / "ffhq" / "stylegan2-config-f-psi-1.0" / "000001.png")
    write(tmp_path / "cats-256x256" / "psi-0.5" / "00001.png")
    assert {(image.kind, image.setting) for image in read_stylegan(tmp_path)} == {
        ("stylegan", "stylegan/ffhq-psi0.5"),
        ("stylegan2", "stylegan2/ffhq-psi1.0"),
    }


def test_a_flat_folder_of_samples_is_taken_as_faces(tmp_path):
    write(tmp_path / "seed0001.png")
    assert [image.setting for image in read_stylegan(tmp_path)] == ["stylegan/faces"]
    assert [image.setting for image in read_progan(tmp_path)] == ["progan/faces"]


def test_people_whose_names_begin_like_things_stay(tmp_path):
    for name in ("caroline", "birdie", "dogan", "categories"):
        write(tmp_path / name / "1.png")
    assert len(read_progan(tmp_path)) == len(read_stylegan(tmp_path)) == 4


def test_subfolders_are_people(tmp_path):
    for name in ("ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "single.png", ".hidden/3.png"):
        write(tmp_path / name)
    found = read_folder(tmp_path)
    assert [image.identity for image in found] == ["ann", "ann", "bob", "single"]
    assert {image.kind for image in found} == {"photo"}


@pytest.mark.parametrize("read", [read_progan, read_stylegan, read_folder])
def test_missing_and_empty_folders_say_what_to_do(tmp_path, read):
    with pytest.raises(DataError, match="not a folder"):
        read(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no images"):
        read(tmp_path)
