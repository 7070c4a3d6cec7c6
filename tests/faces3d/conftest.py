"""One renderer for all tests that need the head model; they are skipped where the extra `render` is not installed."""

import copy

import pytest


@pytest.fixture(scope="session")
def renderer():
    """A renderer of small, rough images."""
    pytest.importorskip("anny", reason="the extra `render` is not installed")
    pytest.importorskip("embreex", reason="the extra `render` is not installed")
    from legan_faces3d.render.renderer import Renderer

    return Renderer(size=48, samples_per_axis=1)


@pytest.fixture(scope="session")
def fitter(renderer):
    """Fits the renderer's head; crops of 48 pixels."""
    from legan_faces3d.photo.fit import HeadFitter

    return HeadFitter(renderer.head, renderer.landmarks, size=48)


@pytest.fixture(scope="session")
def portrait(renderer):
    """A larger rendering, whose frontal flash (lighting 07) stands for an evenly lit photo."""
    larger = copy.copy(renderer)
    larger._size = 160
    return larger.render(4, "neutral")
