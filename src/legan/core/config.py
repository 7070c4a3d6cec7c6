"""Settings as frozen pydantic dataclasses, and the TOML and JSON that they are read from."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from legan.core.errors import ConfigError, nearest
from legan.core.files import write_atomic

# JSON and TOML of unknown origin: plain values of a bounded depth, or one kind of error, whatever stands in the text.


MAX_DEPTH = 64  # of lists and tables within one another; no file of ours has ten
# tomllib takes time by the square of the dots in a key.
_MAX_TOML, _MAX_DOTS = 1_000_000, 200  # characters in all; dots between words in one line
_DOT = re.compile(r"""[\w"'-]\s*\.\s*[\w"'-]""")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: no JSON, or nested too deeply.
    """
    try:
        return _bounded(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text.

    Raises:
        tomllib.TOMLDecodeError: no TOML, or nested too deeply.
    """
    if len(text) > _MAX_TOML:
        raise tomllib.TOMLDecodeError(f"it has {len(text):,} characters, at most {_MAX_TOML:,} are read")
    if any(len(_DOT.findall(line)) > _MAX_DOTS for line in text.splitlines() if line.count(".") > _MAX_DOTS):
        raise tomllib.TOMLDecodeError(f"a line has more than {_MAX_DOTS} dots")
    try:
        return _bounded(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        raise
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise tomllib.TOMLDecodeError(reason) from None


def _bounded(value: Any) -> Any:
    """The value itself, once its depth was checked; without recursion, which is what is bounded here."""
    level, depth = [value], 0
    while level:
        if (depth := depth + 1) > MAX_DEPTH:
            raise RecursionError
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return value


# Settings: frozen pydantic dataclasses, read from TOML and from `key=value` words, checked, and written back as TOML.


T = TypeVar("T")


def load_config(cls: type[T], path: Path | None = None, overrides: Sequence[str] = (), base: T | None = None) -> T:
    """Build a config of type `cls` from its defaults (or `base`), then a TOML file, then words such as `"loss.pair=20"`.

    Raises:
        ConfigError: an unknown key (with the nearest right one), a value of the wrong type, or a file that is not TOML.
    """
    values: dict[str, Any] = config_to_dict(base) if base is not None else {}
    if path is not None:
        _merge(cls, values, read_toml(path), "")
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or key.count(".") > MAX_DEPTH:
            raise ConfigError(f"cannot read setting '{word[:80]}': write key=value, such as seed=1")
        _merge(cls, values, _nested(key.strip().split("."), _value(text.strip())), "")
    return dict_to_config(cls, values)


def dict_to_config(cls: type[T], values: Mapping[str, Any]) -> T:
    """Validate a plain (nested) mapping as a config of type `cls`.

    Raises:
        ConfigError: as `load_config`.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"the settings are a {type(values).__name__} and should be names with values")
    checked: dict[str, Any] = {}
    _merge(cls, checked, values, "")
    try:
        return TypeAdapter(cls).validate_python(checked)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"setting {where}={_short(first['input'])} is wrong: {first['msg']}") from error


def config_to_dict(config: Any) -> dict[str, Any]:
    """Return a config as nested plain values that JSON and TOML can hold (paths as text, None left out)."""
    return _plain(dataclasses.asdict(config))


def write_config(config: Any, path: Path) -> None:
    """Write a config as TOML, atomically."""
    write_atomic(path, to_toml(config_to_dict(config)).encode())


def to_toml(values: Mapping[str, Any], prefix: str = "") -> str:
    """Return nested plain values as TOML text, scalars before tables."""
    scalars = [f"{key} = {_toml_value(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    text = "\n".join(scalars) + "\n" if scalars else ""
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = f"{prefix}{key}"
            text += f"\n[{name}]\n{to_toml(value, name + '.')}"
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _fields(cls: Any) -> dict[str, Any]:
    return {field.name: field.type for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}


def _merge(cls: Any, target: dict[str, Any], values: Mapping[str, Any], prefix: str) -> None:
    """Copy `values` into `target`, refusing keys that `cls` does not have."""
    fields = _fields(cls)
    for key, value in values.items():
        if key not in fields:
            raise ConfigError(f"unknown setting '{prefix}{key}': choose from {', '.join(fields)}{nearest(key, fields)}")
        if isinstance(value, Mapping) and dataclasses.is_dataclass(fields[key]):
            _merge(fields[key], target.setdefault(key, {}), value, f"{prefix}{key}.")
        elif dataclasses.is_dataclass(fields[key]):
            raise ConfigError(
                f"setting {prefix}{key}={_short(value)} is wrong: it is a group; set one of {', '.join(_fields(fields[key]))}"
            )
        else:
            target[key] = value


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table of a TOML file.

    Raises:
        ConfigError: no such file, or one that is not TOML.
    """
    try:
        return parse_toml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config file {path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} is not valid TOML: {error}") from error


def _value(text: str) -> Any:
    """A word's value as TOML reads it; other words are text."""
    try:
        return parse_toml(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nested(keys[1:], value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
