"""Lamps: what is read, what is refused, and which flashes they are made of."""

import numpy as np
import pytest

from legan.core.conditions import LIGHTINGS, lighting_code
from legan.core.errors import ConditionError
from legan.core.light import Lamp, LightSetup, colour_factors, from_weights, plain_and_mixed


def by_name(setup: LightSetup) -> dict[str, list[float]]:
    lamps = setup.in_classes()
    return {LIGHTINGS[k].name: factors.round(4).tolist() for k, factors in zip(lamps.classes, lamps.flashes, strict=True)}


def test_several_lamps() -> None:
    setup = LightSetup.parse("-45 + 0.5*60,3", ambient=0.25)
    assert by_name(setup) == {"04": [1, 1, 1], "11": [0.5, 0.5, 0.5]}
    assert setup.in_classes().room.tolist() == [0.25, 0.25, 0.25]
    assert LightSetup.parse("Left + 0.25*19 + 2*left").lamps == (Lamp("left"), Lamp("19", 0.25), Lamp("left", 2))
    assert by_name(LightSetup.parse("left + 2*left")) == {"03": [3, 3, 3]}


@pytest.mark.parametrize(
    ("text", "directions"),
    [
        ("-45+60", ["-45", "60"]),
        ("left + +15", ["left", "+15"]),
        ("+15", ["+15"]),
        ("-45,+20 + 30, +10", ["-45,+20", "30, +10"]),
        ("0.5*+15,5+right", ["+15,5", "right"]),
        (" 07 +14 ", ["07", "14"]),
    ],
)
def test_pluses_between_lamps_and_before_degrees(text: str, directions: list[str]) -> None:
    assert [lamp.direction for lamp in LightSetup.parse(text).lamps] == directions


def test_a_lamp_between_flashes_is_their_mixture() -> None:
    # -50 lies a third of the way from -45 to -60; 20.5 half-way from the row at 3 degrees to that at 38.
    assert by_name(LightSetup.parse("-50")) == {"03": [0.3333] * 3, "04": [0.6667] * 3}
    assert by_name(LightSetup.parse("0.5*-60,20.5")) == {"03": [0.25] * 3, "14": [0.25] * 3}


def test_what_needs_no_mixture_stays_a_code() -> None:
    for plain in ("-45", -45, (-45, 20), "room", "07", np.float32(30)):
        assert plain_and_mixed(plain) == (plain, None)
    assert plain_and_mixed(LightSetup((Lamp((-45, 20)),))) == ((-45, 20), None)
    assert plain_and_mixed(LightSetup.parse("1*-45", colour="#ffffff")) == ("-45", None)
    assert plain_and_mixed(LightSetup()) == ("room", None)
    for mixed in (
        "-45 + 60",
        "0.5*-45",
        LightSetup.parse("-45", 0.9),
        LightSetup.parse("-45", softness=1),
        LightSetup((), 0.5),
    ):
        plain, lamps = plain_and_mixed(mixed)
        assert plain == "room" and lamps is not None


def test_softness_spreads_evenly_round_the_lamp() -> None:
    hard, soft = LightSetup.parse("0,30").in_classes(), LightSetup.parse("0,30", softness=50).in_classes()
    assert set(hard.classes) < set(soft.classes) and np.allclose(soft.flashes.sum(0), 1)
    directions = np.array([LIGHTINGS[k].direction for k in soft.classes])
    assert abs(soft.flashes[:, 0] @ directions[:, 0]) < 0.01  # as much from the left as from the right
    mirrored = LightSetup.parse("-40,20", softness=30).in_classes()
    assert abs(mirrored.flashes[:, 0] @ [LIGHTINGS[k].direction[0] for k in mirrored.classes] + 0.6) < 0.05

    # By hand: directions drawn by chance in the disc.
    rng, code = np.random.default_rng(0), np.zeros(20)
    for _ in range(2000):
        radius, turn = 25 * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        place = radius * np.cos(turn) / np.cos(np.radians(30 + radius * np.sin(turn))), 30 + radius * np.sin(turn)
        code += lighting_code(place) / 2000
    assert np.abs(soft.flashes[:, 0] - code[soft.classes]).max() < 0.03


def test_softness_beyond_the_classes_counts_as_their_edge() -> None:
    edge = by_name(LightSetup.parse("90,0", softness=40))
    assert edge["13"][0] > 0.6 and sum(value[0] for value in edge.values()) == pytest.approx(1, abs=1e-3)


def test_colours() -> None:
    assert colour_factors("#ffffff").tolist() == [1, 1, 1]
    assert np.allclose(colour_factors("#808080"), 1)
    # 188 of 255 is half of white's light.
    assert np.allclose(colour_factors("#FFBC00"), np.array([1, 0.503, 0]) / (1.503 / 3), atol=0.002)
    assert np.allclose(colour_factors("6500K"), 1)
    # Black bodies by Planck's law and the CIE 1931 observer, in linear sRGB: 3200 K, 10000 K over 6500 K.
    for kelvin in (2000, 3200, 10000):
        assert np.allclose(colour_factors(f"{kelvin} k"), _planck(kelvin), atol=0.06), kelvin
    warm, cold = colour_factors("2700K"), colour_factors("9000K")
    assert warm[0] > 1 > warm[1] > warm[2] and cold[0] < 1 < cold[2]
    assert by_name(LightSetup((Lamp("04", 0.5, colour=(2, 1, 0)),))) == {"04": [1, 0.5, 0]}


def _planck(kelvin: float) -> np.ndarray:
    """Linear sRGB of mean 1, over that of 6500 K; the observer as in Wyman, Sloan, Shirley, JCGT 2013, one-lobe and two-lobe fits."""

    def lobe(wave: np.ndarray, height: float, centre: float, below: float, above: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((wave - centre) * np.where(wave < centre, below, above)) ** 2)

    wave = np.arange(360.0, 831.0)
    x = lobe(wave, 0.362, 442.0, 0.0624, 0.0374) + lobe(wave, 1.056, 599.8, 0.0264, 0.0323)
    x += lobe(wave, -0.065, 501.1, 0.0490, 0.0382)
    y = lobe(wave, 0.821, 568.8, 0.0213, 0.0247) + lobe(wave, 0.286, 530.9, 0.0613, 0.0322)
    z = lobe(wave, 1.217, 437.0, 0.0845, 0.0278) + lobe(wave, 0.681, 459.0, 0.0385, 0.0725)
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])

    def seen(t: float) -> np.ndarray:
        power = wave**-5 / (np.exp(1.4388e7 / (wave * t)) - 1)
        return to_rgb @ (np.array([x, y, z]) @ power)

    light = np.maximum(seen(kelvin) / seen(6500), 0)
    return light / light.mean()


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("-45 + 120", {}, "lighting azimuth 120 is out of range: give degrees from -90"),
        ("-45 + 0.5*60,70", {}, "lighting elevation 70 is out of range: give degrees from 0 to 62"),
        ("-45 + lef", {}, "unknown lighting 'lef'.*did you mean 'left'"),
        ("-45 + ", {}, "unknown lighting ''"),
        ("half*-45", {}, r"cannot read the lamp 'half\*-45': write factor\*direction"),
        ("0*-45", {}, "the factor 0 of a lamp is out of range: give more than 0, up to 4"),
        ("-1*-45", {}, "the factor -1"),
        ("nan*-45", {}, "the factor nan"),
        ("5*-45", {}, "the factor 5"),
        ("room + -45", {}, "room light is not a lamp: name its share as ambient"),
        ("0.5*00", {}, "room light is not a lamp"),
        ("-45", {"ambient": 1.2}, "ambient 1.2 is out of range: give a number from 0"),
        ("-45", {"ambient": -0.1}, "ambient -0.1"),
        ("-45", {"ambient": float("nan")}, "ambient nan"),
        ("room", {"ambient": 0}, "no light: name a lamp"),
        ("room", {"softness": 10}, "softness and colour are for lamps"),
        ("room", {"colour": "3200K"}, "softness and colour are for lamps"),
        ("-45", {"softness": 121}, "softness 121 is out of range: give degrees from 0 to 120"),
        ("-45", {"softness": -1}, "softness -1"),
        ("-45", {"colour": "warm"}, "cannot read the light colour 'warm': give a temperature such as 3200K"),
        ("-45", {"colour": "#fff"}, "cannot read the light colour"),
        ("-45", {"colour": "#000000"}, "black"),
        ("-45", {"colour": "900K"}, "light colour 900K is out of range: give 1700K"),
        ("-45", {"colour": "3e4K"}, "cannot read the light colour"),
        ("-45", {"colour": (1, -1, 1)}, "cannot use the colour"),
    ],
)
def test_refusals(text: str, words: dict, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        LightSetup.parse(text, **words)


def test_words() -> None:
    setup = LightSetup.parse("-45 + 0.5*60,20", ambient=0.3, softness=20, colour="3200K")
    assert str(setup) == "-45 softness=20 colour=3200K + 0.5*60,20 softness=20 colour=3200K ambient=0.3"
    assert str(LightSetup((Lamp((-45, 20), 2),))) == "2*-45,20"
    assert str(LightSetup((), 0.5)) == "room ambient=0.5" and str(LightSetup((), words="like a.jpg")) == "like a.jpg"


def test_setups_of_known_weights() -> None:
    weights = np.zeros((20, 3))
    weights[0], weights[4] = 9, (0.1, 0.2, 0.3)
    setup = from_weights(weights, (0.5, 1.5, 0.25), "a map")
    assert by_name(setup) == {"04": [0.1, 0.2, 0.3]} and setup.in_classes().room.tolist() == [0.5, 1.5, 0.25]
