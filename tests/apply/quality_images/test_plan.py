"""The plan: as many pictures as asked, people and settings in their splits, ladders of degradations, equal for equal seeds."""

from collections import Counter

import pytest
from tests.apply.quality_images.sets import make_rendered_set

from legan.apply.quality_images.catalogue import Catalogue
from legan.apply.quality_images.drawing import Drawing
from legan.apply.quality_images.pictures import FAKES, EditorFile
from legan.apply.quality_images.plan import draw_plan
from legan.core.errors import ConfigError, DataError
from legan.synthesis.degradations import DEGRADATIONS, STRENGTHS

EDITORS = [EditorFile("a", "step00100", 1.0), EditorFile("b", "step00400", 0.6), EditorFile("c", "step01600", 0.3)]
N = 600


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    renders = make_rendered_set(tmp_path_factory.mktemp("renders") / "set", 20)
    relit = make_rendered_set(tmp_path_factory.mktemp("relit") / "set", 12, "relit", "q")
    return Catalogue([renders, relit])


@pytest.fixture(scope="module")
def drawing(catalogue):
    return Drawing(catalogue, EDITORS, seed=3)


@pytest.fixture(scope="module")
def groups(drawing):
    return draw_plan(drawing, N)


@pytest.fixture(scope="module")
def pictures(groups):
    return [picture for group in groups for picture in group]


def test_as_many_pictures_as_asked_each_of_its_own_name(pictures):
    assert len(pictures) == N and len({picture.name for picture in pictures}) == N


def test_all_kinds_and_clean_pictures_are_there(pictures):
    kinds = Counter(picture.kind for picture in pictures)
    assert set(kinds) == {"render", *FAKES} and min(kinds.values()) > 0.03 * N


def test_people_keep_their_split(catalogue, pictures):
    for picture in pictures:
        for row in picture.sources:
            assert catalogue.rows[row]["split"] == picture.facts["split"]


def test_held_out_settings_are_in_the_test_split_only(drawing, pictures):
    held_out = {f"{kind}/{name}" for kind, names in drawing.held_out.items() for name in names}
    assert len(held_out) >= 10
    assert {picture.facts["split"] for picture in pictures if picture.setting in held_out} == {"test"}
    for kind in FAKES:
        n = len(drawing.settings[kind]) - (kind == "relit")
        assert len(drawing.held_out[kind]) == round(n / 4)


def test_references_are_clean_pictures_of_the_same_person_and_condition(pictures):
    by_name = {picture.name: picture for picture in pictures}
    for picture in pictures:
        if not picture.reference:
            continue
        clean = by_name[picture.reference]
        if picture.degradation == "none" or clean.kind != picture.kind:
            assert clean.fault == 0 and clean.degradation == "none"
        assert clean.facts["identity"] == picture.facts["identity"]
        assert clean.facts["lighting"] == picture.facts["lighting"] and clean.facts["expression"] == picture.facts["expression"]
    for picture in pictures:
        if picture.kind in ("graded", "edit", "relit") and picture.fault > 0 and picture.setting != "relit/mirrored":
            assert picture.reference


def test_ladders_have_all_strengths_on_one_test_picture(pictures):
    for name in DEGRADATIONS:
        steps = Counter(
            picture.reference
            for picture in pictures
            if picture.degradation == name and picture.facts["split"] == "test" and not picture.fault
        )
        whole = [reference for reference, n in steps.items() if n == len(STRENGTHS)]
        assert len(whole) >= 3
    assert all((picture.degradation == "none") == (picture.strength == 0) for picture in pictures)


def test_equal_seeds_give_equal_plans(catalogue, groups):
    assert draw_plan(Drawing(catalogue, EDITORS, seed=3), N) == groups
    assert draw_plan(Drawing(catalogue, EDITORS, seed=4), N) != groups


def test_kinds_can_be_chosen(catalogue):
    found = draw_plan(Drawing(catalogue, [], seed=0), 200, ("swap",))
    assert {group[0].kind for group in found} == {"render", "swap"} and sum(map(len, found)) == 200


@pytest.mark.parametrize(("n", "kinds", "message"), [(50, ("swap",), "at least 100"), (200, ("swaps",), "did you mean 'swap'")])
def test_wrong_requests_are_refused(catalogue, n, kinds, message):
    with pytest.raises(ConfigError, match=message):
        draw_plan(Drawing(catalogue, [], seed=0), n, kinds)


def test_one_person_alone_gives_no_swaps(tmp_path):
    catalogue = Catalogue([make_rendered_set(tmp_path / "set", 1)])
    with pytest.raises(DataError, match=r"'swap'.*--kinds"):
        draw_plan(Drawing(catalogue, [], seed=0), 200, ("swap",))


def test_a_person_in_two_splits_of_two_folders_is_refused(tmp_path):
    from legan.core.manifest import read_manifest, write_manifest

    first, second = (make_rendered_set(tmp_path / name, 1) for name in ("a", "b"))
    write_manifest(read_manifest(second).assign(split="test").to_dict("records"), second)
    with pytest.raises(DataError, match="different splits"):
        Catalogue([first, second])


def test_a_folder_without_test_people_gives_every_other_person_of_val(tmp_path):
    from legan.core.manifest import read_manifest, write_manifest

    folder = make_rendered_set(tmp_path / "set", 5)
    frame = read_manifest(folder)
    val = ["d001", "d002", "d004"]
    frame = frame.assign(split=frame["identity"].map(lambda name: "val" if name in val else "train"))
    write_manifest(frame.to_dict("records"), folder)
    splits = {row["identity"]: row["split"] for row in Catalogue([folder]).rows}
    assert splits == {"d000": "train", "d001": "val", "d002": "test", "d003": "train", "d004": "val"}
