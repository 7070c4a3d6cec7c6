"""Pairs of aligned faces as insightface packs them: `lfw.bin`, `cfp_fp.bin`, `agedb_30.bin`.

Such a file is a pickle of `(images, same)`: a list of encoded images of 112 x 112 pixels, two a pair, and a list of booleans. A
pickle can run code, so nothing of it is called: only lists, tuples, bytes and truth values are built here, anything else refused.
Its operations are read first: none may ask for more memory, or take longer, than the file's own length accounts for.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from legan.core.errors import DataError

_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_KINDS = {"b1": "?", "i1": "i1", "u1": "u1", "i4": "<i4", "i8": "<i8", "?": "?"}


# What such a file is made of; no dicts and sets, whose keys are hashed, no long numbers.
_ALLOWED = frozenset(
    [
        "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE",
        "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "BINBYTES",
        "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
        "BINUNICODE8", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL",
        "REDUCE", "BUILD", "PERSID", "BINPERSID",
    ]
)  # fmt: skip
_MAX_BYTES = 8_000_000_000  # the largest published file has 1.1 GB


_DAMAGED = (
    EOFError, ValueError, LookupError, TypeError, AttributeError, ImportError, OverflowError, MemoryError, RecursionError, AssertionError,
)  # fmt: skip


class BinPairs(NamedTuple):
    """`images`, encoded, two for each pair one after the other; `same` (n,) bool."""

    images: list[bytes]
    same: np.ndarray


class _Kind:
    """Stands for numpy's dtype: keeps its code and nothing else."""

    def __init__(self, code: Any = "", *others: Any) -> None:
        if not isinstance(code, str | bytes):  # neither hashed nor shown: a tuple may hold itself a billion times
            raise pickle.UnpicklingError("numbers of an unknown kind")
        code = code if isinstance(code, str) else code.decode("latin-1")
        if code not in _KINDS:
            raise pickle.UnpicklingError(f"numbers of kind {code[:40]!r}")
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which these codes do not need."""


def _scalar(kind: Any, data: Any = b"") -> Any:
    """Stands for numpy's function that makes a scalar of bytes."""
    if not isinstance(kind, _Kind) or not isinstance(data, bytes | str) or len(data) > 8:
        raise pickle.UnpicklingError("a scalar of an unknown kind")
    content = data.encode("latin-1") if isinstance(data, str) else data
    found = np.frombuffer(content, _KINDS[kind.code])
    if len(found) != 1:
        raise pickle.UnpicklingError("a scalar of several numbers")
    return found[0].item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Stands for the function by which Python 3 writes bytes in old protocols."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("a text in an unknown code")
    return text.encode("latin-1")


class _Reader(pickle.Unpickler):
    """Builds plain things; the three names that it accepts are functions of this module, never what the file names.

    Args:
        data: the file.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False, encoding="bytes")
        self._n_left = len(data)

    def _encoded(self, text: Any, encoding: Any = "latin1") -> bytes:
        """As `_encode`; texts that are encoded again and again may not grow beyond the file."""
        self._n_left -= len(text) if isinstance(text, str) else 0
        if self._n_left < 0:
            raise pickle.UnpicklingError("more bytes than the file has")
        return _encode(text, encoding)

    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY and name in ("dtype", "scalar"):
            return _Kind if name == "dtype" else _scalar
        if (module, name) == ("_codecs", "encode"):
            return self._encoded
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference to something outside the file")


def read_bin(path: Path) -> BinPairs:
    """Read a `.bin` file without running anything that stands in it.

    Raises:
        DataError: no such file, a damaged one, or one that holds more than images and truth values; the message says what.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: it is a file of insightface's, such as lfw.bin")
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(
            f"{path} has {path.stat().st_size / 1e9:.0f} GB, and at most {_MAX_BYTES / 1e9:.0f} are read: give a smaller list"
        )
    data = path.read_bytes()
    try:
        _check_operations(data)
        content = _Reader(data).load()
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is refused: it asks for {error}, and only images and truth values are read from such a file, "
            "since a pickle can run code; give a file as insightface publishes it"
        ) from error
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged or no file of insightface's ({type(error).__name__}): download it again") from error
    return _checked(path, content)


def _check_operations(data: bytes) -> None:
    """Look through a pickle without building anything.

    Raises:
        pickle.UnpicklingError: an operation that no list of images needs.
        ValueError: a length beyond the file's end, or a place in the memo beyond the operations so far.
    """
    for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if operation.name not in _ALLOWED:
            raise pickle.UnpicklingError(f"the operation {operation.name}")
        if operation.name.endswith("PUT") and not 0 <= int(argument or 0) <= count:
            raise ValueError("a place in the memo that is not in use")
        if operation.name == "FRAME" and int(argument or 0) > len(data):
            raise ValueError("a frame beyond the end")


def _checked(path: Path, content: Any) -> BinPairs:
    if (
        not isinstance(content, tuple | list)
        or len(content) != 2
        or not all(isinstance(part, list | tuple) for part in content)
    ):
        raise DataError(f"{path} does not hold a list of images and a list of truth values: give a .bin file of insightface's")
    images, same = content
    if not all(isinstance(image, bytes) for image in images):
        kind = next(type(image).__name__ for image in images if not isinstance(image, bytes))
        raise DataError(f"{path} is refused: its images are not encoded bytes but {kind}")
    if not all(isinstance(value, bool | int) and value in (0, 1) for value in same):
        raise DataError(f"{path} is refused: its list of truth values holds something else")
    if len(images) != 2 * len(same) or not same:
        raise DataError(f"{path} holds {len(images)} images for {len(same)} pairs: download it again")
    return BinPairs(list(images), np.array(same, bool))
