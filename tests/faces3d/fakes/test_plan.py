"""The plan: as many images as asked, people and settings in their splits, ladders of degradations, equal for equal seeds."""

from collections import Counter

import pytest
from tests.faces3d.fakes.sets import make_rendered_set

from legan.core.errors import ConfigError, DataError
from legan.data.degradations import DEGRADATIONS, STRENGTHS
from legan_faces3d.fakes.images import FAKES, Catalogue, EditorFile
from legan_faces3d.fakes.plan import Drawing, draw_plan

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
def images(groups):
    return [planned_image for group in groups for planned_image in group]


def test_as_many_images_as_asked_each_of_its_own_name(images):
    assert len(images) == N and len({planned_image.name for planned_image in images}) == N


def test_all_kinds_and_clean_images_are_there(images):
    kinds = Counter(planned_image.kind for planned_image in images)
    assert set(kinds) == {"render", *FAKES} and min(kinds.values()) > 0.03 * N


def test_people_keep_their_split(catalogue, images):
    for planned_image in images:
        for row in planned_image.sources:
            assert catalogue.rows[row]["split"] == planned_image.facts["split"]


def test_held_out_settings_are_in_the_test_split_only(drawing, images):
    held_out = {f"{kind}/{name}" for kind, names in drawing.held_out.items() for name in names}
    assert len(held_out) >= 10
    assert {planned_image.facts["split"] for planned_image in images if planned_image.setting in held_out} == {"test"}
    for kind in FAKES:
        n = len(drawing.settings[kind]) - (kind == "relit")
        assert len(drawing.held_out[kind]) == round(n / 4)


def test_references_are_clean_images_of_the_same_person_and_condition(images):
    by_name = {planned_image.name: planned_image for planned_image in images}
    for planned_image in images:
        if not planned_image.reference:
            continue
        clean = by_name[planned_image.reference]
        if planned_image.degradation == "none" or clean.kind != planned_image.kind:
            assert clean.fault == 0 and clean.degradation == "none"
        assert clean.facts["identity"] == planned_image.facts["identity"]
        assert (
            clean.facts["lighting"] == planned_image.facts["lighting"]
            and clean.facts["expression"] == planned_image.facts["expression"]
        )
    for planned_image in images:
        if (
            planned_image.kind in ("graded", "edit", "relit")
            and planned_image.fault > 0
            and planned_image.setting != "relit/mirrored"
        ):
            assert planned_image.reference


def test_ladders_have_all_strengths_on_one_test_image(images):
    for name in DEGRADATIONS:
        steps = Counter(
            planned_image.reference
            for planned_image in images
            if planned_image.degradation == name and planned_image.facts["split"] == "test" and not planned_image.fault
        )
        whole = [reference for reference, n in steps.items() if n == len(STRENGTHS)]
        assert len(whole) >= 3
    assert all((planned_image.degradation == "none") == (planned_image.strength == 0) for planned_image in images)


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
    from legan.data.manifest import read_manifest, write_manifest

    first, second = (make_rendered_set(tmp_path / name, 1) for name in ("a", "b"))
    write_manifest(read_manifest(second).assign(split="test").to_dict("records"), second)
    with pytest.raises(DataError, match="different splits"):
        Catalogue([first, second])


def test_a_folder_without_test_people_gives_every_other_person_of_val(tmp_path):
    from legan.data.manifest import read_manifest, write_manifest

    folder = make_rendered_set(tmp_path / "set", 5)
    frame = read_manifest(folder)
    val = ["d001", "d002", "d004"]
    frame = frame.assign(split=frame["identity"].map(lambda name: "val" if name in val else "train"))
    write_manifest(frame.to_dict("records"), folder)
    splits = {row["identity"]: row["split"] for row in Catalogue([folder]).rows}
    assert splits == {"d000": "train", "d001": "val", "d002": "test", "d003": "train", "d004": "val"}
