"""Messages of native libraries: those of one beginning are left out, all others pass."""

import os
import subprocess
import sys

import pytest

from legan_faces3d.head.head import without_lines


def test_only_the_lines_named_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with without_lines(b"Warp CUDA warning"):
        os.write(2, b"Warp CUDA warning: no driver\nanother: out of memory\n")
        print("of Python", file=sys.stderr)
    os.write(2, b"Warp CUDA warning: afterwards\n")
    shown = sorted(capfd.readouterr().err.splitlines())
    assert shown == ["Warp CUDA warning: afterwards", "another: out of memory", "of Python"]


def test_what_was_held_back_is_not_lost_in_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), without_lines(b"Warp CUDA warning"):
        os.write(2, b"last words\n")
        raise ValueError("broken")
    assert capfd.readouterr().err == "last words\n"


def test_the_head_model_loads_without_a_word() -> None:
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    words = [sys.executable, "-c", "from legan_faces3d.head.head import Head; Head()"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
