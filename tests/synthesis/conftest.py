"""One renderer for all tests that need the head model; they are skipped where the extra `render` is not installed."""

import pytest


@pytest.fixture(scope="session")
def renderer():
    """A renderer of small, rough pictures."""
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    pytest.importorskip("embreex", reason="the extra `render` is not installed")
    from legan.synthesis.renderer import Renderer

    return Renderer(size=48, samples_per_axis=1)
