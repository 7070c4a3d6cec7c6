"""The grid: every cell is the edit that its row and column name."""

from pathlib import Path

import numpy as np
from PIL import Image

from legan.core.conditions import EXPRESSIONS
from legan.core.images import photo_of
from legan.editing.editor import Subject
from legan.editing.grid import CELL, GAP, LABEL, LEFT, edit_cells, lighting_label, make_grid
from legan.editing.loader import load_editor

FACE = Image.radial_gradient("L").resize((128, 128)).convert("RGB")


def test_cells_are_edits(tiny_editor: Path) -> None:
    editor = load_editor(tiny_editor)
    cells = edit_cells(editor, FACE, [("smile", -45), ("scream", "top")])
    for cell, (expression, lighting) in zip(cells, [("smile", -45), ("scream", "top")], strict=True):
        alone = editor(FACE, expression, lighting, face="aligned").image
        assert np.abs(np.asarray(cell).astype(int) - np.asarray(alone)).max() <= 1
    assert not np.array_equal(np.asarray(cells[0]), np.asarray(cells[1]))


def test_layout(tiny_editor: Path) -> None:
    editor, lightings = load_editor(tiny_editor), ["left", 30, (0, 40)]
    grid = make_grid(editor, Subject(photo_of(FACE), ()), lightings)
    pitch = CELL + GAP
    assert grid.size == (LEFT + 4 * pitch + GAP, 2 * GAP + LABEL + len(EXPRESSIONS) * pitch)
    row, column = EXPRESSIONS.index("squint"), 2
    x, y = LEFT + pitch * column, GAP + LABEL + pitch * row
    found = np.asarray(grid.crop((x, y, x + CELL, y + CELL)))
    expected = editor(FACE, "squint", 30, face="aligned").image.resize((CELL, CELL), Image.Resampling.LANCZOS)
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 2
    corner = np.asarray(grid.crop((LEFT, GAP + LABEL, LEFT + CELL, GAP + LABEL + CELL)))
    assert np.array_equal(corner, np.asarray(FACE.resize((CELL, CELL), Image.Resampling.LANCZOS)))
    labels = np.asarray(grid.crop((0, 0, LEFT, grid.height)))
    assert len(np.unique(labels)) > 10, "rows are labelled"


def test_labels() -> None:
    assert [lighting_label(spec) for spec in ("left", "07", -45, (-45, 20.5))] == ["left", "07", "-45°", "-45°, 20.5°"]
