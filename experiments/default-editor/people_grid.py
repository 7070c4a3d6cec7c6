"""An image to look at: one row a photo; the photo, its six expressions in front light, and six lights on its own expression.

Images of people: to look at, not to keep in a repository.
"""

import numpy as np
from edits import Crops, edit, one_hot
from PIL import Image, ImageDraw, ImageFont

from legan.core.conditions import EXPRESSIONS, LIGHTING_NAMES
from legan.models.editors import Networks

FRONT = "07"
LIGHTS = ("00", "03", "05", "09", "11", "19")
GAP, LABEL = 2, 22  # pixels


def people_grid(networks: Networks, inputs: Crops) -> Image.Image:
    """Draw the grid of crops (n, S, S, 3)."""
    n, side = len(inputs), inputs.images.shape[1]
    front = np.full(n, LIGHTING_NAMES.index(FRONT))
    columns = [inputs.images]
    for expression in range(len(EXPRESSIONS)):
        code = one_hot(np.full(n, expression), len(EXPRESSIONS))
        columns.append(edit(networks, inputs.images, code, one_hot(front, len(LIGHTING_NAMES))))
    for light in LIGHTS:
        code = one_hot(np.full(n, LIGHTING_NAMES.index(light)), len(LIGHTING_NAMES))
        columns.append(edit(networks, inputs.images, None, code))
    grid = Image.new("RGB", ((side + GAP) * len(columns), LABEL + (side + GAP) * n), "white")
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(13)
    for column, (name, images) in enumerate(zip(("photo", *EXPRESSIONS, *LIGHTS), columns, strict=True)):
        x = (side + GAP) * column
        draw.text((x + side / 2, LABEL / 2), name, "black", font, anchor="mm")
        for row, image in enumerate(images):
            grid.paste(Image.fromarray(image), (x, LABEL + (side + GAP) * row))
    return grid
