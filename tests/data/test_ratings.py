"""Ratings: bad files are refused or counted, cleaning leaves out what it should, labels are means and spreads."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.rated_sets import make_rated_set

from legan.core.errors import DataError
from legan.data.manifest import image_names, read_manifest
from legan.data.ratings import Rules, clean, image_labels, read_gold, read_labels, read_ratings, with_splits


def table(*lines: tuple[object, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=["rater", "image", "rating", "seconds", "order"])
    return frame.astype({"rating": float, "seconds": float})


def some(n_raters: int = 4, n_images: int = 6, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return table(*((f"r{r}", f"i{i}", random.integers(0, 11), 3.0, i) for r in range(n_raters) for i in range(n_images)))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rater,image,score\na,x,3\n", "lacks the column 'rating'"),
        ("image,rating\nx,3\n", "lacks the column 'rater'"),
        ("rater,image,rating\na,x,11\n", "has the rating 11 in line 2: ratings go from 0 to 10"),
        ("rater,image,rating\na,x,3\na,y,-1\n", "has the rating -1 in line 3"),
        ("rater,image,rating\na,x,good\n", "has the rating 'good' in line 2: give a number"),
        ("rater,image,rating\na,,3\n", "has no image in line 2"),
        ("rater,image,rating\n", "holds no answers"),
        ("", "is not a CSV file"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_ratings(written(tmp_path / "ratings.csv", text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_ratings(tmp_path / "none.csv")


def test_optional_columns_and_skipped_answers(tmp_path: Path) -> None:
    frame = read_ratings(written(tmp_path / "r.csv", "image,rating,rater\n001.png,,7\n001.png,4.5,8\n"))
    assert list(frame.columns) == ["rater", "image", "rating", "seconds", "order"]
    assert frame["image"].tolist() == ["001.png"] * 2 and frame["rater"].tolist() == ["7", "8"]
    assert frame["rating"].isna().tolist() == [True, False] and frame["seconds"].isna().all()


def test_every_exclusion_is_counted() -> None:
    ratings = pd.concat(
        [
            some(),
            table(
                ("r0", "i0", 9, 3, 9),  # a second answer of r0
                ("r0", "elsewhere", 5, 3, 10),
                ("r1", "i9", np.nan, 3, 11),
                ("r2", "i9", 5, 0.2, 12),
                *((f"same{i % 1}", f"i{i}", 5, 3, i) for i in range(6)),
                *(("hasty", f"i{i}", i, 0.3, i) for i in range(6)),
                ("r3", "alone", 5, 3, 13),
            ),
        ],
        ignore_index=True,
    )
    images = [f"i{i}" for i in range(10)] + ["alone"]
    kept = clean(ratings, Rules(), images)
    assert kept.exclusions == {
        "duplicate": 1, "unknown image": 1, "constant rater": 6, "too fast rater": 6, "skipped": 1, "too fast": 1, "too few raters": 1,
    }  # fmt: skip
    assert len(kept.ratings) == 24 and kept.n_before == len(ratings) == len(kept.ratings) + sum(kept.exclusions.values())
    pd.testing.assert_frame_equal(kept.ratings[["rater", "image", "rating"]], some()[["rater", "image", "rating"]])


def test_an_image_skipped_and_then_rated_is_rated() -> None:
    answers = table(
        ("a", "x", np.nan, 3, 1), ("a", "x", 7, 3, 2), ("b", "x", 6, 3, 1), ("a", "y", 1, 3, 3), ("b", "y", 2, 3, 2)
    )
    kept = clean(answers, Rules())
    assert kept.exclusions == {"skipped": 1} and sorted(kept.ratings["rating"]) == [1, 2, 6, 7]


def test_gold_items_check_the_raters_and_are_left_out(tmp_path: Path) -> None:
    gold = read_gold(written(tmp_path / "gold.csv", "image,low,high\ng1,8,10\ng2,0,2\n"))
    answers = [("r0", "g1", 9), ("r0", "g2", 1), ("r1", "g1", 9), ("r1", "g2", 1), ("bad", "g1", 2), ("bad", "g2", 1)]
    ratings = pd.concat([some(2), table(*((*a, 3, 0) for a in answers), ("bad", "i0", 3, 3, 0))], ignore_index=True)
    kept = clean(ratings, Rules(), gold=gold)
    assert kept.exclusions == {"failed gold items": 3, "gold item": 4}
    assert set(kept.ratings["rater"]) == {"r0", "r1"}


def test_one_rater_only_leaves_nothing() -> None:
    with pytest.raises(DataError, match=r"no answer is left after cleaning \(6 too few raters\): an image needs 2 raters"):
        clean(some(n_raters=1))


def test_ratings_of_another_set() -> None:
    with pytest.raises(DataError, match="the ratings name images such as 'i0', the data set such as 'other'"):
        clean(some(), images=["other"])


def test_labels_are_means_and_spreads() -> None:
    labels = image_labels(
        table(("a", "x", 2, 1, 1), ("b", "x", 4, 1, 1), ("c", "x", 9, 1, 1), ("a", "w", 5, 1, 2), ("b", "w", 5, 1, 2))
    )
    assert labels["name"].tolist() == ["w", "x"] and labels["mean"].tolist() == [5, 5]
    assert labels["std"].tolist() == [0, pytest.approx(np.std([2, 4, 9], ddof=1))]
    assert "raters" not in labels
    simulated = table(("simulated-000", "x", 2, 1, 1), ("simulated-001", "x", 4, 1, 1))
    assert image_labels(simulated)["raters"].tolist() == ["simulated"]


def test_splits_come_from_the_data_set(tmp_path: Path) -> None:
    data = make_rated_set(tmp_path / "set", size=16)
    manifest = read_manifest(data)
    ratings = table(*((r, name, k % 11, 3, k) for r in "ab" for k, name in enumerate(image_names(manifest))))
    labels = with_splits(image_labels(ratings), data)
    assert labels["split"].tolist() == manifest.set_index("path").loc[labels["name"], "split"].tolist()
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    assert read_labels(tmp_path / "ratings.csv", [data])["name"].tolist() == labels["name"].tolist()
    with pytest.raises(DataError, match=r"has no image 'zz\.png'"):
        with_splits(pd.DataFrame({"name": ["zz.png"], "mean": [1.0], "std": [1.0]}), data)


def test_splits_without_a_data_set_do_not_change() -> None:
    labels = pd.DataFrame({"name": [f"{i}.png" for i in range(2000)], "mean": 5.0, "std": 1.0})
    shares = with_splits(labels)["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.05) and shares["val"] == pytest.approx(0.1, abs=0.03)
    assert with_splits(labels)["split"].equals(with_splits(labels)["split"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,mean,split\nx,3,train\n", "lacks the column 'std'"),
        ("name,mean,std,split\nx,12,1,train\n", "labels 'x' with 12 and 1"),
        ("name,mean,std,split\nx,2,-1,train\n", "labels 'x' with 2 and -1"),
        ("name,mean,std,split\nx,2,1,train\nx,3,1,train\n", "labels 'x' twice"),
        ("name,mean,std,split\nx,2,1,trian\n", "unknown split 'trian'"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(written(tmp_path / "labels.csv", text))


def test_ratings_name_images_by_path_key_or_plain_file_name() -> None:
    images = [f"shards/p{i}/i{i}" for i in range(6)]
    by_key, by_path = some(), some()
    by_path["image"] = "data/set/" + pd.Series(images).iloc[by_path["order"].to_numpy(int)].to_numpy(object)
    kept = clean(by_key, images=images).ratings
    assert set(kept["image"]) == set(images)
    assert clean(by_path, images=images).ratings.equals(kept)
    # The same answer under two names of one image is one answer.
    both = clean(pd.concat([by_key, by_path], ignore_index=True), images=images)
    assert both.exclusions == {"duplicate": len(by_key)}


def test_labels_name_images_by_plain_file_name(tmp_path: Path) -> None:
    data = make_rated_set(tmp_path / "set", n_identities=10)
    labels = pd.DataFrame(
        {"name": [f"photos/set/{name}" for name in image_names(read_manifest(data))], "mean": 5.0, "std": 1.0}
    )
    assert with_splits(labels, data)["name"].tolist() == image_names(read_manifest(data)).tolist()
