"""Conditions: names, codes, angles."""

import numpy as np
import pytest

from legan.core.conditions import (
    EXPRESSION_WORDS,
    EXPRESSIONS,
    LIGHTINGS,
    expression_code,
    expression_name,
    lighting_code,
    mirrored_lighting,
)
from legan.core.errors import ConditionError


def test_expression_codes() -> None:
    np.testing.assert_array_equal(expression_code("smile"), np.eye(6, dtype=np.float32)[1])
    np.testing.assert_allclose(expression_code("smile:0.7"), [0.3, 0.7, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(expression_code({"smile": 0.5, "scream": 0.5}), [0, 0.5, 0, 0, 0, 0.5])


def test_everyday_words_and_names_of_other_data_sets_are_understood() -> None:
    assert {meant for meant in EXPRESSION_WORDS.values()} == set(EXPRESSIONS)
    assert not set(EXPRESSION_WORDS) & set(EXPRESSIONS), "a name means itself"
    for word, meant in EXPRESSION_WORDS.items():
        np.testing.assert_array_equal(expression_code(word), expression_code(meant))
        assert expression_name(f" {word.upper()} ") == meant
    np.testing.assert_array_equal(expression_code("happy:0.5,surprised:0.25"), expression_code("smile:0.5,surprise:0.25"))
    np.testing.assert_array_equal(expression_code({"Happiness": 0.5}), expression_code("smile:0.5"))
    assert expression_name("happy", ("neutral", "happy")) == "happy", "a model's own names come first"
    assert expression_name("joy", ("neutral", "happy")) is None and expression_name("sad") is None
    with pytest.raises(ConditionError, match=r"unknown expression 'hapy'.*did you mean 'happy'"):
        expression_code("hapy")


@pytest.mark.parametrize("spec", ["smil", "smile:2", "smile:-1", "smile:x", "smile:0.6,squint:0.6", "smile:nan", ""])
def test_bad_expressions_are_refused(spec: str) -> None:
    with pytest.raises(ConditionError):
        expression_code(spec)


def test_unknown_expression_suggests_the_nearest() -> None:
    with pytest.raises(ConditionError, match="did you mean 'smile'"):
        expression_code("smlie")


def test_every_class_is_its_own_direction() -> None:
    for i, lighting in enumerate(LIGHTINGS):
        np.testing.assert_array_equal(lighting_code(lighting.name), np.eye(20, dtype=np.float32)[i])
        if lighting.azimuth is not None and lighting.elevation is not None:
            np.testing.assert_allclose(lighting_code((lighting.azimuth, lighting.elevation)), np.eye(20)[i], atol=1e-6)


@pytest.mark.parametrize("azimuth", np.linspace(-90, 90, 25))
def test_mixed_flashes_point_where_asked(azimuth: float) -> None:
    code = lighting_code(float(azimuth))
    azimuths = np.array([lighting.azimuth or 0.0 for lighting in LIGHTINGS])
    assert code.sum() == pytest.approx(1, abs=1e-6)
    assert (code >= 0).all() and (code > 0).sum() <= 2
    assert float(code @ azimuths) == pytest.approx(azimuth, abs=1e-4)


def test_words_and_text_angles() -> None:
    np.testing.assert_array_equal(lighting_code("left"), lighting_code(-60))
    np.testing.assert_array_equal(lighting_code("-45"), lighting_code(-45.0))
    np.testing.assert_array_equal(lighting_code("-45,20"), lighting_code((-45, 20)))
    np.testing.assert_array_equal(lighting_code("20"), lighting_code(20.0))  # degrees: the last class is 19
    np.testing.assert_array_equal(lighting_code("+15"), lighting_code(15))
    assert lighting_code("15").argmax() == 15, "a class"
    for number in (np.int64(-45), np.float32(-45)):
        np.testing.assert_array_equal(lighting_code(number), lighting_code(-45))


@pytest.mark.parametrize("spec", ["120", "-91", "0,90", "0,-5", "lef", "1,2,3", "--3", "nan", float("nan"), (1, 2, 3), ()])
def test_bad_lightings_are_refused(spec: object) -> None:
    with pytest.raises(ConditionError):
        lighting_code(spec)  # type: ignore[arg-type]


def test_mirror_is_its_own_inverse_and_flips_the_azimuth() -> None:
    for i, lighting in enumerate(LIGHTINGS):
        other = LIGHTINGS[mirrored_lighting(i)]
        assert mirrored_lighting(mirrored_lighting(i)) == i
        assert other.elevation == lighting.elevation
        assert other.azimuth == (None if lighting.azimuth is None else -lighting.azimuth)
    assert len(EXPRESSIONS) == 6
