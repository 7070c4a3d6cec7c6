"""One labelled image of a face with all expressions (rows) under several lights (columns)."""

from collections.abc import Sequence
from itertools import product

import torch
from PIL import Image, ImageDraw, ImageFont

from legan.core.images import from_network, to_network
from legan.core.light import LightSetup
from legan.editing.editor import Editor, Subject, check_strength, partial_edit
from legan.editing.marks import Mark
from legan.models.editors import Codes, ExpressionSpec, LightingSpec

GRID_LIGHTINGS: tuple[LightingSpec, ...] = ("room", -75, -45, "front", 45, 75)
CELL, GAP, LABEL, LEFT = 160, 6, 26, 84  # pixels
PAPER, INK = (250, 249, 247), (40, 40, 45)


def grid_lightings(editor: Editor) -> tuple[LightingSpec, ...]:
    """The columns of a grid where none are named: of an editor with lightings of its own all of these."""
    classes = editor.networks.classes
    return GRID_LIGHTINGS if classes.is_standard else classes.lighting_names


def make_grid(
    editor: Editor, subject: Subject, lightings: Sequence[LightingSpec] = GRID_LIGHTINGS, strength: float = 1.0
) -> Image.Image:
    """Edit the first face of `subject` to every expression under every lighting; the face as it is stands in the corner."""
    source, expressions = subject.images(editor.networks.size)[0], editor.networks.classes.expressions
    cells = edit_cells(editor, source, list(product(expressions, lightings)), strength)
    grid = Image.new(
        "RGB", (LEFT + (CELL + GAP) * (len(lightings) + 1) + GAP, 2 * GAP + LABEL + (CELL + GAP) * len(expressions)), PAPER
    )
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(15)

    # The face itself, then the labels of columns and rows, then the cells.
    _place(grid, source, LEFT, GAP + LABEL)
    draw.text((LEFT + CELL / 2, GAP + LABEL / 2), "photo", INK, font, anchor="mm")
    for column, lighting in enumerate(lightings, start=1):
        x = LEFT + (CELL + GAP) * column
        draw.text((x + CELL / 2, GAP + LABEL / 2), lighting_label(lighting), INK, font, anchor="mm")
        for row in range(len(expressions)):
            _place(grid, cells[row * len(lightings) + column - 1], x, GAP + LABEL + (CELL + GAP) * row)
    for row, expression in enumerate(expressions):
        draw.text((LEFT - 8, GAP + LABEL + (CELL + GAP) * row + CELL / 2), expression, INK, font, anchor="rm")
    return grid


def edit_cells(
    editor: Editor,
    crop: Image.Image,
    conditions: Sequence[tuple[ExpressionSpec | None, LightingSpec | None]],
    strength: float = 1.0,
) -> list[Image.Image]:
    """Edit one aligned crop to several (expression, lighting) pairs, together; None keeps the crop's own."""
    check_strength(strength)
    x = to_network(crop)
    codes = [editor.networks.target_codes(x, expression, lighting) for expression, lighting in conditions]
    edited = torch.empty(len(codes), *x.shape[1:])
    # Those of one mixture of lamps together, and all that need none.
    groups: dict[str, list[int]] = {}
    for i, code in enumerate(codes):
        groups.setdefault("" if code.lamps is None else repr(code.lamps), []).append(i)
    for group in groups.values():
        own = [codes[i] for i in group]
        target = Codes(torch.cat([c.expression for c in own]), torch.cat([c.lighting for c in own]), own[0].lamps)
        many = x.expand(len(own), -1, -1, -1)
        full = editor.networks.translate(many, target)
        edited[group] = partial_edit(editor.networks, many, full, target, strength, keeps_expression=False)
    return [Image.fromarray(image) for image in from_network(edited)]


def grid_mark(editor: Editor, lightings: Sequence[LightingSpec], strength: float) -> Mark:
    """What a grid says about itself."""
    lights = " ".join(lighting_label(lighting) for lighting in lightings)
    return Mark(editor.networks.checksum, f"grid of all expressions, lighting {lights}, strength={strength:g}")


def lighting_label(lighting: LightingSpec) -> str:
    """A lighting in few words: degrees get their sign, names stay as they are."""
    if isinstance(lighting, (int, float)):
        return f"{lighting:g}°"
    return str(lighting) if isinstance(lighting, (str, LightSetup)) else ", ".join(f"{angle:g}°" for angle in lighting)


def _place(grid: Image.Image, image: Image.Image, x: int, y: int) -> None:
    grid.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (x, y))
