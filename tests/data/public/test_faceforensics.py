"""FaceForensics++ frames in the layout of its own extraction script."""

import pytest
from PIL import Image

from legan.core.errors import DataError
from legan.data.public.faceforensics import read_faceforensics


def write_frames(folder, n):
    folder.mkdir(parents=True)
    for k in range(n):
        Image.new("RGB", (16, 16)).save(folder / f"{k:04d}.png")


@pytest.fixture
def videos(tmp_path):
    for video in ("033_097", "097_033"):
        write_frames(tmp_path / "manipulated_sequences/Deepfakes/c23/images" / video, 30)
    write_frames(tmp_path / "manipulated_sequences/Face2Face/c23/images/033_097", 3)
    for video in ("033", "500"):
        write_frames(tmp_path / "original_sequences/youtube/c23/images" / video, 4)
    return tmp_path


def test_frames_are_spread_over_each_video(videos):
    found = read_faceforensics(videos, n_frames=10)
    fakes = [image for image in found if image.kind == "deepfakes"]
    assert len(fakes) == 20 and {image.setting for image in fakes} == {"deepfakes/c23"}
    assert [image.path.stem for image in fakes[:10]] == [f"{k:04d}" for k in range(0, 30, 3)]
    assert sum(image.kind == "photo" for image in found) == 8


def test_host_donor_and_original_are_one_identity(videos):
    found = read_faceforensics(videos)
    by_video = {image.path.parent.name: image.identity for image in found}
    assert by_video["033_097"] == by_video["097_033"] == by_video["033"] != by_video["500"]


def test_other_layouts_are_refused(tmp_path):
    write_frames(tmp_path / "Deepfakes", 2)
    with pytest.raises(DataError, match="manipulated_sequences/Deepfakes"):
        read_faceforensics(tmp_path)
