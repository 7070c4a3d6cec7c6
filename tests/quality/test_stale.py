"""What a further run finds on disk is used only as long as the images are the same ones, and by one process at a time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import textured
from tests.evaluation.sets import make_set, tiny_choice, write_images, write_tiny_lightcnn
from tests.face_sets import draw_face, make_face_set, png
from tests.photo_makers import build_plain, write_photos

from legan.augmentation import augment
from legan.core.errors import DataError, LeganError
from legan.core.files import held_file, held_folder
from legan.data.import_faces import import_faces
from legan.evaluation import verification
from legan.evaluation.benchmark import evaluate
from legan.quality.scorer import score_images
from legan.requests import AugmentationRequest, EvaluationRequest, VerificationRequest
from legan_faces3d.photos import build_photo_set, list_photos


def test_a_replaced_image_is_scored_again(tmp_path: Path, tiny_quality: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(3):
        textured(128, 128, seed=i).save(folder / f"{i}.bmp")
    before = score_images([folder], tmp_path / "t.csv", tiny_quality)
    textured(128, 128, seed=9).save(folder / "1.bmp")  # as long as the first
    again = score_images([folder], tmp_path / "t.csv", tiny_quality)
    assert again == score_images([folder], tmp_path / "fresh.csv", tiny_quality)
    assert [a == b for a, b in zip(before, again, strict=True)] == [True, False, True]
    (folder / "2.bmp").unlink()
    assert len(score_images([folder], tmp_path / "t.csv", tiny_quality)) == 2


def test_results_of_an_evaluation_follow_their_images(tmp_path: Path, tiny_quality: Path) -> None:
    choice, inputs = tiny_choice(tmp_path, tiny_quality), write_images(tmp_path / "in", 16)
    results = write_images(tmp_path / "made", 16, change=5.0)
    asked = EvaluationRequest((str(inputs),), results=(f"m={results}",), n_resamples=0)
    before = evaluate(asked, tmp_path / "out", choice)["models"][0]["metrics"]
    (results / "3.png").write_bytes((inputs / "9.png").read_bytes())
    again = evaluate(asked, tmp_path / "out", choice)["models"][0]["metrics"]
    assert again != before and again == evaluate(asked, tmp_path / "fresh", choice)["models"][0]["metrics"]


def test_an_image_that_is_not_the_manifests_is_refused(tmp_path: Path, tiny_quality: Path, tiny_editor: Path) -> None:
    choice, data = tiny_choice(tmp_path, tiny_quality), make_set(tmp_path / "data")
    asked = EvaluationRequest((str(data),), (str(tiny_editor),), n=16, n_resamples=0)
    evaluate(asked, tmp_path / "out", choice)
    for person in range(8):
        (data / f"p{person}_0_3.png").write_bytes(png(draw_face(20 + person, 0, 3, 128)))
    with pytest.raises(DataError, match=r"p\d_0_3\.png.* has changed since the manifest was written: restore it"):
        evaluate(asked, tmp_path / "out", choice)
    options = VerificationRequest(str(write_tiny_lightcnn(tmp_path / "net.safetensors")), n_pairs=40, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="has changed since the manifest"):
        verification.verify("people", data, options)


@pytest.mark.slow
def test_people_whose_photos_changed_are_made_again(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", ["a_neutral.bmp", "b_neutral.bmp"])
    entries = list_photos(photos, "[a-z]")
    build_photo_set(tmp_path / "set", entries, {"version": 1}, build_plain)
    shards = {name: (tmp_path / "set" / "shards" / f"{name}.tar") for name in "ab"}
    before = {name: path.stat().st_mtime_ns for name, path in shards.items()}
    image = np.asarray(Image.open(photos / "a_neutral.bmp")).copy()
    image[:8] = 255 - image[:8]
    Image.fromarray(image).save(photos / "a_neutral.bmp")
    build_photo_set(tmp_path / "set", list_photos(photos, "[a-z]"), {"version": 1}, build_plain)
    assert shards["a"].stat().st_mtime_ns > before["a"] and shards["b"].stat().st_mtime_ns == before["b"]


def test_imports_and_what_was_augmented_from_them_name_another_source(
    tmp_path: Path, tiny_editor: Path, tiny_quality: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conftest import landmarks_at

    from legan.data import import_faces as imports
    from legan.faces.detect import Face

    monkeypatch.setattr(imports, "detect_largest", lambda image: [Face((40, 30, 168, 158), landmarks_at(40, 30, 128), 1.0)])
    source = tmp_path / "people"
    for i in range(10):
        (source / f"p{i}").mkdir(parents=True)
        textured(seed=i).save(source / f"p{i}" / "1.bmp")
    identity = str(write_tiny_lightcnn(tmp_path / "net.safetensors"))
    wish = AugmentationRequest("relight:1", editor=tiny_editor, quality=tiny_quality, identity=identity)
    import_faces("people", source, tmp_path / "set")
    augment(f"people={source}", tmp_path / "more", wish)
    textured(seed=77).save(source / "p3" / "1.bmp")
    with pytest.raises(DataError, match="was made with another pictures"):
        import_faces("people", source, tmp_path / "set")
    with pytest.raises(DataError, match="was made with another pictures"):
        augment(f"people={source}", tmp_path / "more", wish)


@pytest.mark.slow
def test_two_processes_never_write_one_table(tmp_path: Path, tiny_quality: Path) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(40):
        textured(128, 128, seed=i).save(folder / f"{i:02d}.png")
    command = [sys.executable, "-m", "legan", "score", folder, "-o", tmp_path / "t.csv", "--weights", tiny_quality]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 2])  # one after the other, or one refused
    assert codes == [0, 0] or any("another process is writing" in error for error in errors)
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 41


def test_whoever_fills_a_table_or_folder_has_it_alone(tmp_path: Path, tiny_quality: Path, tiny_editor: Path) -> None:
    folder, out = write_images(tmp_path / "in", 16), tmp_path / "out"
    out.mkdir()
    busy = pytest.raises(LeganError, match="another process is writing")
    with held_file(tmp_path / "t.csv"), busy:
        score_images([folder], tmp_path / "t.csv", tiny_quality)
    choice, identity = tiny_choice(tmp_path, tiny_quality), str(tmp_path / "tiny-net.safetensors")
    with held_folder(out):
        with busy:
            import_faces("people", folder, out)
        with busy:
            build_photo_set(out, list_photos(folder), {"version": 1}, build_plain)
        with busy:
            wish = AugmentationRequest("relight:1", editor=tiny_editor, quality=tiny_quality, identity=identity)
            augment(make_face_set(tmp_path / "set", 3, 128, (0,)), out, wish)
        with busy:
            evaluate(EvaluationRequest((str(folder),), results=(f"m={folder}",), n_resamples=0), out, choice)
        with busy:
            verification.verify("people", tmp_path / "set", VerificationRequest(identity, n_pairs=2, split="train", cache=out))
    assert not list(out.iterdir())
