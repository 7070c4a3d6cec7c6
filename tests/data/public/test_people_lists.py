"""LFW, insightface's .bin files and IJB-B, on tiny files in their exact forms; wrong lines are named by file and line."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from legan.core.errors import DataError
from legan.data.public.casia_webface import read_casia_webface
from legan.data.public.ijbb import read_ijbb
from legan.data.public.insightface_bin import read_bin
from legan.data.public.lfw import find_listed_images, read_lfw, read_pairs

PAIRS = (
    "2\t2\n"
    "Abel_Pacheco\t1\t4\n"
    "Akhmed_Zakayev\t1\t3\n"
    "Abdel_Madi_Shabneh\t1\tDean_Barker\t1\n"
    "Abdul_Rahman\t1\tPortia_de_Rossi\t12\n"
    "Aaron_Tippin\t1\t2\n"
    "Abel_Pacheco\t4\t2\n"
    "Dean_Barker\t1\tAaron_Tippin\t2\n"
    "Abel_Pacheco\t1\tAkhmed_Zakayev\t3\n"
)


def test_lfw_pairs(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(PAIRS)
    pairs = read_pairs(tmp_path / "pairs.txt")
    assert pairs.n_folds == 2 and pairs.same == [True, True, False, False] * 2
    assert pairs.images[pairs.first[0]] == "Abel_Pacheco/Abel_Pacheco_0001"
    assert pairs.images[pairs.second[3]] == "Portia_de_Rossi/Portia_de_Rossi_0012"
    assert len(pairs.images) == len(set(pairs.images)) == 11
    assert pairs.first[0] == pairs.first[7], "an image in two pairs is one image"
    (tmp_path / "dev.txt").write_text("1\nA\t1\t2\nA\t1\tB\t1\n")  # pairsDevTest.txt: no number of folds
    assert read_pairs(tmp_path / "dev.txt").same == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ten\t300\n", r"pairs.txt, line 1: cannot read 'ten\t300'"),
        ("", "line 1"),
        (
            PAIRS.replace("Aaron_Tippin\t1\t2", "Aaron_Tippin\t1"),
            r"pairs.txt, line 6: cannot read 'Aaron_Tippin\t1'.*NAME, NUMBER",
        ),
        (PAIRS.replace("Abel_Pacheco\t4\t2", "Abel_Pacheco\tfour\t2"), "pairs.txt, line 7"),
        (PAIRS.rsplit("\n", 2)[0] + "\n", "has 7 pairs where its first line says 8"),
    ],
)
def test_wrong_pairs_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs.txt")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PAIRS,
        PAIRS.replace("\n", "\r\n"),
        PAIRS.replace("\n", "\t\n").replace("2\t2", "2\t2\t", 1),
        PAIRS.replace("\t", ","),
        PAIRS.replace("\t", " "),
        PAIRS.replace("\t", " \t "),
        "name,imagenum1,imagenum2,\n" + PAIRS.replace("\t", ",").split("\n", 1)[1].replace("\n", ",\n"),
        PAIRS + "\n\n",
    ],
)
def test_lfw_pairs_in_other_spellings(tmp_path: Path, text: str) -> None:
    (tmp_path / "right.txt").write_text(PAIRS)
    (tmp_path / "pairs.txt").write_bytes(text.encode())
    right, found = read_pairs(tmp_path / "right.txt"), read_pairs(tmp_path / "pairs.txt")
    assert found[:4] == right[:4]


def test_numbers_of_pairs_are_plain_digits(tmp_path: Path) -> None:
    for number in ("1_0", "\u0661", "-1", "0", "1.0"):
        (tmp_path / "pairs.txt").write_text(PAIRS.replace("Abel_Pacheco\t4\t2", f"Abel_Pacheco\t{number}\t2"))
        with pytest.raises(DataError, match="line 7"):
            read_pairs(tmp_path / "pairs.txt")


def test_images_of_a_list_are_found_whatever_their_ending(tmp_path: Path) -> None:
    names = ["A/A_0001.png", "B/B_0002.JPEG", "Zoe\u0308/Zoe\u0308_0001.jpg", "C/C_7.webp"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "B" / "B_0002.txt").touch()
    found = find_listed_images(tmp_path, ["A/A_0001", "B/B_0002", "Zo\u00eb/Zo\u00eb_0001", "C/C_0007", "A/A_0001"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [*names, names[0]]
    with pytest.raises(DataError, match=r"A_0002\.jpg does not exist: the list of pairs names it"):
        find_listed_images(tmp_path, ["A/A_0002"])


def test_lfw_and_casia_people(tmp_path: Path) -> None:
    for name in ("lfw/A_B/A_B_0001.jpg", "lfw/C_D/C_D_0001.jpg", "lfw/A_B/A_B_0002.jpg", "0000045/001.jpg", "0000099/007.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [image.identity for image in read_lfw(tmp_path / "lfw")] == ["A_B", "A_B", "C_D"]
    assert [image.identity for image in read_casia_webface(tmp_path)] == ["casia0000045", "casia0000099"]
    with pytest.raises(DataError, match="<seven digits>"):
        read_casia_webface(tmp_path / "lfw")


def test_bin_as_python_2_wrote_it(tmp_path: Path) -> None:
    """Protocol 2: images are Python 2's byte strings (opcode U), truth values opcodes 0x88 and 0x89."""
    content = b"\x80\x02(]q\x00(U\x03abcq\x01U\x02deq\x02U\x01fU\x01ge]q\x03(\x88\x89e\x86q\x04.".replace(b"(]q\x00", b"]q\x00")
    (tmp_path / "lfw.bin").write_bytes(content)
    images, same = read_bin(tmp_path / "lfw.bin")
    assert images == [b"abc", b"de", b"f", b"g"] and list(same) == [True, False]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [bool, np.bool_, int, np.int64])
def test_bin_of_every_protocol(tmp_path: Path, protocol: int, kind: type) -> None:
    images = [os.urandom(40) for _ in range(6)]
    path = tmp_path / "own.bin"
    path.write_bytes(pickle.dumps((images, [kind(value) for value in (1, 0, 1)]), protocol=protocol))
    found = read_bin(path)
    assert found.images == images and list(found.same) == [True, False, True] and found.same.dtype == bool


class Evil:
    """Asks for a command to be run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


class FakeImage:
    """A class of the project's own, which is no more welcome."""


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_bin_that_would_run_code_is_refused_and_does_not(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "ran"
    for content in (Evil(target), ([b"a", Evil(target)], [True]), ([b"a", b"b"], [Evil(target)])):
        (tmp_path / "evil.bin").write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(DataError, match=r"evil.bin is refused: it asks for (posix|os)\.system.*can run code"):
            read_bin(tmp_path / "evil.bin")
    assert not target.exists()
    hidden = b"cnumpy\nload\n(S'x'\ntR."
    for content, asked in (
        (hidden, "numpy.load"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (pickle.dumps(([np.zeros(3, np.uint8)] * 2, [True])), "_reconstruct|ndarray"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "numbers of kind"),
        (b"Pelsewhere\n.", "outside the file"),
    ):
        (tmp_path / "evil.bin").write_bytes(content)
        with pytest.raises(DataError, match=f"evil.bin is refused.*{asked}"):
            read_bin(tmp_path / "evil.bin")


def nested(n: int) -> bytes:
    """A tuple of itself twice, n times over, as arguments of what stands for numpy's dtype."""
    return b"cnumpy\ndtype\n(K\x00" + b"q\x00h\x00\x86" * n + b"tR."


@pytest.mark.parametrize(
    "content",
    [
        nested(60),
        b"\x80\x04}(" + b"K\x00" + b"\x94h\x00\x86" * 1 + b"K\x01u.",  # a dict, whose keys would be hashed
        b"\x80\x04\x8e" + (10**12).to_bytes(8, "little") + b"x.",  # a terabyte of bytes
        b"\x80\x04\x8d" + (10**12).to_bytes(8, "little") + b"x.",  # of text
        b"\x80\x04\x95" + (10**12).to_bytes(8, "little") + b"x.",  # in a frame
        b"\x80\x02]r" + (4 * 10**9).to_bytes(4, "little") + b".",  # the four thousand millionth place of the memo
        b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",  # lists in lists
        b"I" + b"9" * 100_000 + b"\n.",
        b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"\xff.",
        b"c_codecs\nencode\nq\x00(X\x00\x00\x01\x00" + b"x" * 65536 + b"q\x01U\x06latin1q\x02tRq\x03"
        + b"(" + b"h\x00h\x01h\x02\x86R" * 20_000 + b"l.",  # 64 KB encoded twenty thousand times
    ],
)  # fmt: skip
def test_bin_that_asks_for_more_than_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"x\.bin") as caught:
        read_bin(tmp_path / "x.bin")
    assert time.monotonic() - start < 10 and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or no file of insightface's"),
        (b"\x89PNG", "damaged or no file|is refused"),
        (pickle.dumps(([b"a", b"b"], [True]))[:-4], "damaged or no file|is refused"),
        (pickle.dumps([1, 2, 3]), "does not hold a list of images and a list of truth values"),
        (pickle.dumps(([b"a", b"b", b"c"], [True])), "holds 3 images for 1 pairs"),
        (pickle.dumps(([b"a", "b"], [True])), "not encoded bytes but str"),
        (pickle.dumps(([b"a", b"b"], [7])), "truth values holds something else"),
        (pickle.dumps(([], [])), "holds 0 images"),
    ],
)
def test_bin_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_bin(tmp_path / "x.bin")
    with pytest.raises(DataError, match="does not exist"):
        read_bin(tmp_path / "none.bin")


POINTS = "46.060 62.026 87.785 60.323 68.851 77.656 52.162 99.875 86.450 98.648"


@pytest.fixture
def ijbb(tmp_path: Path) -> Path:
    """Three images of two templates."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / "loose_crop" / name).write_bytes(b"")
    (tmp_path / "meta" / "ijbb_face_tid_mid.txt").write_text("1.jpg 1 69544\n2.jpg 1 69544\n3.jpg 11065 72938\n")
    (tmp_path / "meta" / "ijbb_name_5pts_score.txt").write_text("".join(f"{i}.jpg {POINTS} 0.999\n" for i in (1, 2, 3)))
    (tmp_path / "meta" / "ijbb_template_pair_label.txt").write_text("1 11065 0\n1 1 1\n")
    return tmp_path


def test_ijbb_lists(ijbb: Path) -> None:
    lists = read_ijbb(ijbb)
    assert [path.name for path in lists.images] == ["1.jpg", "2.jpg", "3.jpg"]
    assert list(lists.template) == [1, 1, 11065] and list(lists.medium) == [69544, 69544, 72938]
    assert lists.points.shape == (3, 5, 2) and lists.points[2, 1] == pytest.approx([87.785, 60.323])
    assert list(lists.first) == [1, 1] and list(lists.second) == [11065, 1] and list(lists.same) == [False, True]
    for path in (ijbb / "meta").iterdir():
        path.rename(path.with_name(path.name.replace("ijbb", "ijbc")))
    assert list(read_ijbb(ijbb).template) == [1, 1, 11065], "IJB-C is laid out likewise"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("face_tid_mid", "2.jpg 1 69544", "2.jpg one 69544", r"ijbb_face_tid_mid.txt, line 2: cannot read '2.jpg one 69544'"),
        ("face_tid_mid", "3.jpg 11065 72938", "3.jpg 11065", "ijbb_face_tid_mid.txt, line 3"),
        ("face_tid_mid", "2.jpg 1", "9.jpg 1", "name other images"),
        ("name_5pts_score", "3.jpg 46.060", "3.jpg", "ijbb_name_5pts_score.txt, line 3: .*ten coordinates"),
        ("template_pair_label", "1 1 1", "1 1 2", "ijbb_template_pair_label.txt, line 2"),
        ("template_pair_label", "1 11065 0", "1 11065", "ijbb_template_pair_label.txt, line 1: .*TEMPLATE TEMPLATE"),
        ("template_pair_label", "1 1 1", "1 1 1 7", "ijbb_template_pair_label.txt, line 2: cannot read '1 1 1 7'"),
        ("template_pair_label", "1 11065 0\n1 1 1\n", "", "ijbb_template_pair_label.txt is empty"),
    ],
)
def test_wrong_ijbb_lists_are_named(ijbb: Path, name: str, old: str, new: str, message: str) -> None:
    path = ijbb / "meta" / f"ijbb_{name}.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_ijbb(ijbb)


def test_missing_ijbb_parts_are_named(ijbb: Path) -> None:
    (ijbb / "loose_crop" / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"2.jpg does not exist: the lists name it"):
        read_ijbb(ijbb)
    (ijbb / "meta" / "ijbb_name_5pts_score.txt").unlink()
    with pytest.raises(DataError, match=r"ijbb_name_5pts_score.txt does not exist"):
        read_ijbb(ijbb)


HEAD = (
    "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT,"
    "RIGHT_EYE_X,RIGHT_EYE_Y,LEFT_EYE_X,LEFT_EYE_Y,NOSE_X,NOSE_Y,FRAME_NUM"
)


@pytest.fixture
def nist(tmp_path: Path) -> Path:
    """Two gallery templates and one probe of two frames and an image, with and without eyes."""
    (tmp_path / "protocol").mkdir()
    for name in ("img/1.jpg", "img/2.jpg", "img/3.jpg", "frames/4.jpg", "frames/5.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    rows = {
        "ijbb_1N_gallery_S1.csv": ["1,7,img/1.jpg,100,10,20,50,60,25,40,45,41,35,55,"],
        "ijbb_1N_gallery_S2.csv": ["2,8,img/2.jpg,101,1,2,30,40,,,,,,,"],
        "ijbb_1N_probe_mixed.csv": [
            "9,7,img/3.jpg,102,10,20,50,60,25,40,45,41,,,",
            "9,7,frames/4.jpg,103,10,20,50,60,,,,,,,1",
            "9,7,frames/5.jpg,103,10,20,50,60,,,,,,,31",
        ],
    }
    for name, lines in rows.items():
        (tmp_path / "protocol" / name).write_text("\n".join([HEAD, *lines]) + "\n")
    (tmp_path / "protocol" / "ijbb_11_S1_S2_matches.csv").write_text("1,9\n2,9\n")
    return tmp_path


def test_ijbb_as_nist_distributes_it(nist: Path) -> None:
    lists = read_ijbb(nist)
    assert [path.relative_to(nist).as_posix() for path in lists.images] == [
        "img/1.jpg", "img/2.jpg", "img/3.jpg", "frames/4.jpg", "frames/5.jpg",
    ]  # fmt: skip
    assert list(lists.template) == [1, 2, 9, 9, 9] and list(lists.medium) == [100, 101, 102, 103, 103]
    assert (
        lists.points[0, :3] == pytest.approx(np.array([[25, 40], [45, 41], [35, 55]])) and np.isnan(lists.points[:, 3:]).all()
    )
    assert np.isfinite(lists.points[:, :, 0]).sum(1).tolist() == [3, 0, 2, 0, 0]
    assert lists.boxes is not None and lists.boxes[1].tolist() == [1, 2, 30, 40]
    assert (list(lists.first), list(lists.second), list(lists.same)) == ([1, 2], [9, 9], [True, False])


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ijbb_1N_gallery_S1.csv", "SIGHTING_ID", "SIGHTING", r"gallery_S1.csv lacks the column 'SIGHTING_ID'"),
        ("ijbb_1N_gallery_S1.csv", "1,7,img/1.jpg", "one,7,img/1.jpg", r"gallery_S1.csv, line 2: template, person"),
        ("ijbb_1N_probe_mixed.csv", "9,7,frames/4.jpg", "9,8,frames/4.jpg", "template 9 .* more than one person"),
        ("ijbb_1N_probe_mixed.csv", "img/3.jpg", "../3.jpg", "outside"),
        ("ijbb_1N_probe_mixed.csv", "img/3.jpg", "img/9.jpg", r"9.jpg does not exist: the protocol names it"),
        ("ijbb_11_S1_S2_matches.csv", "2,9", "3,9", r"names the template 3, of which"),
        ("ijbb_11_S1_S2_matches.csv", "2,9", "two,9", r"matches.csv cannot be read"),
    ],
)
def test_wrong_files_of_nist_are_named(nist: Path, name: str, old: str, new: str, message: str) -> None:
    path = nist / "protocol" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_ijbb(nist)


def test_a_missing_file_of_nist_is_named(nist: Path) -> None:
    (nist / "protocol" / "ijbb_1N_gallery_S2.csv").unlink()
    with pytest.raises(DataError, match=r"gallery_S2.csv does not exist: it is a file of IJB-B's protocol"):
        read_ijbb(nist)
