"""`legan verify`: each protocol from files to figures, with an embedding that is known."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve
from tests.face_sets import draw_face, make_face_set, png
from typer.testing import CliRunner

from legan.cli import app
from legan.core.errors import ConfigError, DataError
from legan.evaluation import verification
from legan.evaluation.verification import aligned_crop, centre_crop, embed_all, verify
from legan.faces.align import Prepared
from legan.faces.embeddings import Embedding
from legan.requests import VerificationRequest


def colours(x: object) -> np.ndarray:
    """An embedding by mean colour, which tells drawn people apart mostly."""
    return x.numpy().mean((2, 3)) * 3 + x.numpy()[:, :, 40:60, 40:60].mean((2, 3))  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The known embedding stands for whatever is named; gives the sizes of the batches that it saw."""
    seen: list[int] = []

    def network(x: object) -> np.ndarray:
        seen.append(len(x))  # type: ignore[arg-type]
        return colours(x)

    embedding = Embedding("colours", network, {"sha256": "c0"})
    monkeypatch.setattr(verification, "load_embedding", lambda name, device: embedding)
    return seen


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def vector(crop: np.ndarray) -> np.ndarray:
    import torch

    return colours(torch.from_numpy(crop.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1)[0]


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """Twelve people with four images of 250 pixels, and a list of ten folds of four pairs."""
    random = np.random.default_rng(0)
    for person in range(12):
        folder = tmp_path / f"P_{person}"
        folder.mkdir()
        for number in range(1, 5):
            image = np.full((250, 250, 3), 90, np.uint8)
            image[53:193, 55:195] = np.asarray(
                Image.fromarray(draw_face(person, number % 6, 3 * number, 128)).resize((140, 140))
            )
            Image.fromarray(image).save(folder / f"P_{person}_{number:04d}.jpg", quality=95)
    lines = ["10\t2"]
    for _ in range(10):
        a, b, c, d = random.choice(12, 4, replace=False)
        lines += [f"P_{a}\t1\t3", f"P_{b}\t2\t4", f"P_{a}\t2\tP_{c}\t1", f"P_{b}\t3\tP_{d}\t4"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_lfw_protocol(lfw: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Faces are those that the detector finds, or the middle of the image; every pair counts."""
    calls = []

    def prepare(path: Path, size: int, faces: str) -> Prepared:
        calls.append(path)
        assert faces == "detect"
        return Prepared(path, None if path.name == "P_1_0002.jpg" else centre_crop(path))

    monkeypatch.setattr(verification, "prepare", prepare)
    found = verify("lfw", lfw, VerificationRequest(fars=(0.1,)), plot=tmp_path / "roc.png")
    assert len(calls) == len(set(calls)), "each image once"
    assert found.figures.n_same == found.figures.n_other == 20
    lines = [line.split("\t") for line in (lfw / "pairs.txt").read_text().splitlines()[1:]]
    pairs = [((w[0], w[1]), (w[0], w[2])) if len(w) == 3 else ((w[0], w[1]), (w[2], w[3])) for w in lines]
    sides = [
        np.stack([vector(centre_crop(lfw / n / f"{n}_{int(i):04d}.jpg")) for n, i in side]) for side in zip(*pairs, strict=True)
    ]
    scores, same = cosines(*sides), np.array([len(words) == 3 for words in lines])
    assert found.scores == pytest.approx(scores, abs=1e-5)
    assert found.figures.auc == pytest.approx(roc_auc_score(same, scores))
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    assert found.figures.tar[0.1] == pytest.approx(tar[far <= 0.1].max())
    assert (found.notes != ()) == (lfw / "P_1" / "P_1_0002.jpg" in calls)
    assert Image.open(tmp_path / "roc.png").width > 300
    assert "accuracy" in str(found) and found.as_json()["embedding"] == "colours"
    (lfw / "P_1" / "P_1_0001.jpg").unlink()
    (lfw / "P_2" / "P_2_0001.jpg").unlink()
    with pytest.raises(DataError, match=r"_0001.jpg does not exist: the list of pairs names it"):
        verify("lfw", lfw, VerificationRequest())


def test_bin_protocol(tmp_path: Path) -> None:
    images, same = [], [True, False] * 10
    for pair, is_same in enumerate(same):
        for person, light in ((pair, 0), (pair if is_same else pair + 50, 13)):
            buffer = io.BytesIO()
            Image.fromarray(draw_face(person, 0, light, 112)).save(buffer, "JPEG", quality=95)
            images.append(buffer.getvalue())
    (tmp_path / "own.bin").write_bytes(pickle.dumps((images, same), protocol=4))
    found = verify("bin", tmp_path / "own.bin", VerificationRequest())
    vectors = np.stack([vector(aligned_crop(data, "")) for data in images])
    assert found.scores == pytest.approx(cosines(vectors[::2], vectors[1::2]), abs=1e-5)
    assert list(found.same) == same and found.figures.auc == pytest.approx(roc_auc_score(same, found.scores))
    (tmp_path / "bad.bin").write_bytes(pickle.dumps(([b"text", b"text"], [True])))
    with pytest.raises(DataError, match=r"image bad.bin#0 is a text file"):
        verify("bin", tmp_path / "bad.bin", VerificationRequest())


@pytest.mark.parametrize("kind", ["bomb", "postscript"])
def test_images_in_a_bin_are_looked_at_before_they_are_decoded(tmp_path: Path, kind: str) -> None:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    data = bomb.getvalue() if kind == "bomb" else b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n"
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([data, data], [True])))
    with pytest.raises(DataError, match=r"image x\.bin#\d is (too large|a PostScript file)") as caught:
        verify("bin", tmp_path / "x.bin", VerificationRequest())
    assert "\n" not in str(caught.value)


def test_an_insightface_crop_becomes_ours() -> None:
    """Its eyes, at their five-point places, come to the eyes of a crop."""
    from legan.faces.embeddings import ARCFACE_CROP_POINTS as ARCFACE_CROP_POINTS
    from legan.faces.embeddings import INPUT_POINTS

    image = np.zeros((112, 112, 3), np.uint8)
    for x, y in INPUT_POINTS[:2]:
        image[round(y) - 3 : round(y) + 3, round(x) - 3 : round(x) + 3] = 255
    crop = aligned_crop(png(image), "")[..., 0].astype(float)
    assert crop.shape == (128, 128)
    for half, (x, y) in zip((slice(0, 64), slice(64, 128)), ARCFACE_CROP_POINTS[:2] * 128, strict=True):
        part = crop[:, half]
        rows, columns = np.mgrid[:128, half]
        centre = (rows * part).sum() / part.sum() + 0.5, (columns * part).sum() / part.sum() + 0.5
        assert centre == pytest.approx((y, x), abs=1.5)


def test_nists_protocol_of_ijbb(tmp_path: Path) -> None:
    """A face by its eyes, and one by its box, are the crops that they were put in the image at."""
    from legan.faces.embeddings import ARCFACE_CROP_POINTS

    (tmp_path / "protocol").mkdir()
    (tmp_path / "img").mkdir()
    crops = [draw_face(person, 0, 3 * take, 128) for person in range(3) for take in range(2)]
    head = (
        "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT,RIGHT_EYE_X,RIGHT_EYE_Y,LEFT_EYE_X,"
    )
    head += "LEFT_EYE_Y,NOSE_X,NOSE_Y"
    rows: list[list[str]] = [[], [], []]
    for k, crop in enumerate(crops):
        person, take = divmod(k, 2)
        photo = np.zeros((200, 220, 3), np.uint8)
        photo[40:168, 50:178] = crop
        (tmp_path / "img" / f"{k}.png").write_bytes(png(photo))
        right, left = ARCFACE_CROP_POINTS[:2] * 128 + [49.5, 39.5]
        points = f"{right[0]},{right[1]},{left[0]},{left[1]},," if take else ",,,,,"
        height = 0.85 * 128
        box = f"{50 + 64 - height / 2},{40 + 0.1 * 128},{height},{height}"
        rows[2 if take else person % 2].append(f"{k + 10},{person},img/{k}.png,{k},{box},{points}")
    for name, lines in zip(("1N_gallery_S1", "1N_gallery_S2", "1N_probe_mixed"), rows, strict=True):
        (tmp_path / "protocol" / f"ijbb_{name}.csv").write_text("\n".join([head, *lines]) + "\n")
    pairs = [(a, b) for a in (10, 12, 14) for b in (11, 13, 15)]
    (tmp_path / "protocol" / "ijbb_11_S1_S2_matches.csv").write_text("".join(f"{a},{b}\n" for a, b in pairs))
    found = verify("ijbb", tmp_path, VerificationRequest(fars=(0.1,)))
    units = np.stack([vector(crop) for crop in crops])
    expected = cosines(np.stack([units[a - 10] for a, _ in pairs]), np.stack([units[b - 10] for _, b in pairs]))
    assert found.scores == pytest.approx(expected, abs=2e-3)
    assert found.notes == ("6 templates of 6 images", "3 faces without the points of both eyes are cut by their box")


def test_ijbb_protocol(tmp_path: Path) -> None:
    """Eight templates of two media; the oracle averages as insightface's evaluation does."""
    random = np.random.default_rng(3)
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    faces, points, crops = [], [], []
    from legan.faces.embeddings import ARCFACE_CROP_POINTS as ARCFACE_CROP_POINTS

    spots = " ".join(f"{value:.3f}" for value in (ARCFACE_CROP_POINTS * 128 - 0.5).ravel())
    for template in range(8):
        for image in range(3):
            name = f"{len(faces) + 1}.png"
            crop = draw_face(template // 2, image, 3 * image, 128)
            (tmp_path / "loose_crop" / name).write_bytes(png(crop))
            faces.append(f"{name} {template + 100} {min(image, 1)}")
            points.append(f"{name} {spots} 0.99")
            crops.append(crop)
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8)]
    random.shuffle(pairs)
    labels = [f"{a + 100} {b + 100} {int(a // 2 == b // 2)}" for a, b in pairs]
    for name, lines in (("face_tid_mid", faces), ("name_5pts_score", points), ("template_pair_label", labels)):
        (tmp_path / "meta" / f"ijbb_{name}.txt").write_text("\n".join(lines) + "\n")
    found = verify("ijbb", tmp_path, VerificationRequest(fars=(0.1,)))
    units = np.stack([vector(crop) for crop in crops])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    templates = [units[3 * t] + units[3 * t + 1 : 3 * t + 3].mean(0) for t in range(8)]
    expected = cosines(np.stack([templates[a] for a, _ in pairs]), np.stack([templates[b] for _, b in pairs]))
    same = [a // 2 == b // 2 for a, b in pairs]
    assert found.scores == pytest.approx(expected, abs=2e-3)
    far, tar, _ = roc_curve(same, found.scores, drop_intermediate=False)
    assert found.figures.tar[0.1] == pytest.approx(tar[far <= 0.1].max())
    assert found.figures.auc == pytest.approx(roc_auc_score(same, found.scores))
    assert found.notes == ("8 templates of 24 images",)


def test_own_people_and_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in range(6):
        (tmp_path / "people" / f"p{person}").mkdir(parents=True)
        for number in range(4):
            (tmp_path / "people" / f"p{person}" / f"{number}.png").write_bytes(png(draw_face(person, number, 3 * number, 128)))
    (tmp_path / "people" / "p0" / "broken.png").write_bytes(b"no image")
    found = verify("people", tmp_path / "people", VerificationRequest(n_pairs=60, seed=2))
    again, other = (verify("people", tmp_path / "people", VerificationRequest(n_pairs=60, seed=seed)) for seed in (2, 3))
    assert np.array_equal(found.scores, again.scores) and not np.array_equal(found.scores, other.scores)
    assert found.notes[0] == "6 people, 25 images, seed 2"
    n_left_out = 60 - len(found.scores)
    assert n_left_out == 0 or found.notes[1] == f"1 images without a face left out, with {n_left_out} pairs"
    data = make_face_set(tmp_path / "data", n_identities=20, size=128, lightings=(0, 13))
    tested = verify("people", data, VerificationRequest(n_pairs=40))
    assert tested.figures.n_same == 20 and tested.notes[0].startswith("2 people, 24 images"), "the split test alone"


def test_a_cache_goes_on_where_it_stopped(tmp_path: Path, known: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legan.evaluation.verification.BLOCK", 4)
    embedding = verification.load_embedding("any", "cpu")
    crops = [draw_face(i, 0, 0, 64) for i in range(10)]
    names = [str(i) for i in range(10)]

    def crop_at(index: int) -> np.ndarray | None:
        if index == 9 and not done:
            raise KeyboardInterrupt
        return None if index == 2 else crops[index]

    done: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        embed_all(embedding, names, crop_at, tmp_path / "cache")
    done.append(True)
    known.clear()
    features, found = embed_all(embedding, names, crop_at, tmp_path / "cache")
    assert known == [2], "only the last block"
    whole, _ = embed_all(embedding, names, crop_at)
    assert np.array_equal(features, whole) and list(np.flatnonzero(~found)) == [2] and not features[2].any()
    with pytest.raises(DataError, match="features of other images"):
        embed_all(embedding, names[1:], crop_at, tmp_path / "cache")
    whole_block = (tmp_path / "cache" / "00000004.npz").read_bytes()
    for damage in (b"half", whole_block[: len(whole_block) // 2]):
        (tmp_path / "cache" / "00000004.npz").write_bytes(damage)
        with pytest.raises(DataError, match=r"00000004.npz is damaged"):
            embed_all(embedding, names, crop_at, tmp_path / "cache")
    with pytest.raises(DataError, match="no face found in any of 3"):
        embed_all(embedding, names[:3], lambda index: None)


def test_a_cache_is_of_these_images(lfw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "prepare", lambda path, size, faces: Prepared(path, None, "none"))
    options = VerificationRequest(cache=tmp_path / "cache")
    first, again = verify("lfw", lfw, options), verify("lfw", lfw, options)
    assert first.notes == again.notes and "cut by the middle" in again.notes[0]
    Image.fromarray(draw_face(5, 1, 3, 250)).save(lfw / "P_0" / "P_0_0001.jpg")
    with pytest.raises(DataError, match="features of other images"):
        verify("lfw", lfw, options)


def test_the_plot_is_checked_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give a name that ends in \.png"):
        verify("people", tmp_path / "nowhere", VerificationRequest(), plot=tmp_path / "roc.pdf")


def test_wrong_wishes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown protocol 'lwf': choose from lfw, bin, ijbb, people; did you mean 'lfw'"):
        verify("lwf", tmp_path, VerificationRequest())
    with pytest.raises(ConfigError, match="--far 2 is out of range"):
        verify("people", tmp_path, VerificationRequest(fars=(2.0,)))
    result = CliRunner().invoke(app, ["verify", "people", str(tmp_path / "nowhere")])
    assert result.exit_code == 2 and "is not a folder" in result.stderr


def test_the_verb_prints_figures(tmp_path: Path) -> None:
    data = make_face_set(tmp_path / "data", n_identities=20, size=128, lightings=(0, 13))
    result = CliRunner().invoke(app, ["verify", "people", str(data), "--pairs", "40", "--far", "0.1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (
        found["n_same"] == 20 and list(found["tar"]) == ["0.1"] and 0 <= found["auc"] <= 1 and found["embedding"] == "colours"
    )
