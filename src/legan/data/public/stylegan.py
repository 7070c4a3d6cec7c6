"""Samples of StyleGAN (Karras et al., CVPR 2019) and StyleGAN2 (CVPR 2020), as their authors publish them.

Layout: `100k-generated-images/ffhq-1024x1024/.../<image>`, at any depth, with the truncation in a folder's name (`psi-0.5`,
`stylegan2-config-f-psi-1.0`); folders of other things (bedrooms, cars, cats) are left out.
"""

import re
from pathlib import Path

from legan.data.public.layout import SourceImage, images_in, required
from legan.data.public.progan import face_data


def read_stylegan(folder: Path) -> list[SourceImage]:
    """Return all samples of faces, each an identity of its own; the setting names the data and the truncation.

    Raises:
        DataError: no images of faces.
    """
    folder = Path(folder)
    images = []
    for path in images_in(folder):
        inner = path.relative_to(folder)
        data = face_data(inner)
        if data is None:
            continue
        kind = "stylegan2" if any("stylegan2" in part.lower() for part in (folder.name, *inner.parts[:-1])) else "stylegan"
        truncation = re.search(r"psi[-_]?(\d+(?:\.\d+)?)", "/".join(inner.parts[:-1]))
        setting = "-".join(part for part in (data or "faces", f"psi{truncation[1]}" if truncation else "") if part)
        name = inner.with_suffix("").as_posix().replace("/", "-")
        images.append(SourceImage(path, f"{kind}-{name}", kind, f"{kind}/{setting}"))
    return required(images, folder, "100k-generated-images/ffhq-1024x1024/<image>")
