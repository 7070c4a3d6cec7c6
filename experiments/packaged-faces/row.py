"""Write the README's image: one packaged photograph and edits of it by the packaged editor, side by side.

python experiments/packaged-faces/row.py [--out docs/edits.webp] [--person 006]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from legan.core.images import save_photo
from legan.core.weights import asset
from legan.editing.demo import ATTRIBUTION
from legan.editing.loader import load_editor
from legan.editing.marks import Mark, marked_metadata

EDITS = {
    "smile": ("smile", None),
    "surprise": ("surprise", None),
    "light from the left": (None, -60),
    "light from the right": (None, 60),
    "light from above": (None, "top"),
}
CELL, GAP, LABEL = 256, 6, 30  # pixels
PAPER, INK = (255, 255, 255), (40, 40, 45)


def main() -> None:
    """Edit, lay out, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/edits.webp"))
    parser.add_argument("--person", default="006")
    arguments = parser.parse_args()
    editor = load_editor()
    subject = editor.prepare(asset(f"faces/london-{arguments.person}.jpg"))
    images = {"photograph": subject.photo.image}
    for words, (expression, lighting) in EDITS.items():
        images[words] = next(editor.edit_subjects([subject], expression, lighting)).image

    row = Image.new("RGB", (len(images) * (CELL + GAP) - GAP, CELL + LABEL), PAPER)
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(17)
    for column, (words, image) in enumerate(images.items()):
        x = column * (CELL + GAP)
        row.paste(ImageOps.fit(image, (CELL, CELL), Image.Resampling.LANCZOS), (x, 0))
        draw.text((x + CELL / 2, CELL + LABEL / 2), words, INK, font, anchor="mm")
    mark = Mark(editor.networks.checksum, f"{', '.join(EDITS)}; photograph: {ATTRIBUTION}")
    save_photo(row, arguments.out, quality=88, metadata=marked_metadata(mark))
    print(arguments.out)


if __name__ == "__main__":
    main()
