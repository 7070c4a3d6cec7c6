"""Texts of unknown origin are plain values or one kind of error."""

import tomllib

import pytest

from legan.core.config import parse_json, parse_toml


def test_plain_values() -> None:
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parse_toml("[a]\nb = [1, 2]") == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 80 + "]" * 80, '{"a":' * 70 + "1" + "}" * 70, "9" * 5000, "{", "\udcff"])
def test_json_that_is_none_of_ours(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000,
        "x = " + "[" * 80 + "]" * 80,
        "a." * 50_000 + "a = 1",
        "x = " + "9" * 5000,
        '"=".' * 50_000 + "a = 1",
        "# \n" * 400_000,
    ],
)
def test_toml_that_is_none_of_ours(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_toml(text)
