"""DeepFakes frames of FaceForensics++ (Rössler et al., ICCV 2019), as its script `extract_compressed_videos.py` lays them out.

Layout: `manipulated_sequences/Deepfakes/<compression>/images/<host>_<donor>/0000.png`, and the originals
`original_sequences/youtube/<compression>/images/<host>/0000.png`. The data set's own terms hold: it is not for redistribution.
"""

from pathlib import Path

from legan.data.public.layout import SourceImage, images_in, required

_LAYOUT = "manipulated_sequences/Deepfakes/<compression>/images/<host>_<donor>/<frame>.png"
_FAKES, _ORIGINALS = "manipulated_sequences/Deepfakes", "original_sequences/youtube"
N_FRAMES = 10  # of each video: neighbours hardly differ


def read_faceforensics(folder: Path, n_frames: int = N_FRAMES) -> list[SourceImage]:
    """Return frames spread evenly over each video, fakes first.

    A host and a donor exchange faces in two videos, so both and their originals are one identity.

    Raises:
        DataError: no frames in this layout.
    """
    folder = Path(folder)
    fakes = _videos(folder / _FAKES)
    pair_of = {person: "-".join(sorted(video.split("_"))) for _, video in fakes for person in video.split("_")}
    images = []
    for kind, videos in (("deepfakes", fakes), ("photo", _videos(folder / _ORIGINALS))):
        for (compression, video), frames in videos.items():
            pair = "-".join(sorted(video.split("_"))) if "_" in video else pair_of.get(video, video)
            steps = range(min(n_frames, len(frames)))
            chosen = [frames[step * len(frames) // len(steps)] for step in steps]
            images += [SourceImage(path, f"ff{pair}", kind, f"{kind}/{compression}") for path in chosen]
    return required(images, folder, _LAYOUT)


def _videos(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """(compression, video) -> its frames in order."""
    videos: dict[tuple[str, str], list[Path]] = {}
    if not folder.is_dir():
        return videos
    for path in images_in(folder):
        parts = path.relative_to(folder).parts
        if len(parts) == 4 and parts[1] == "images":
            videos.setdefault((parts[0], parts[2]), []).append(path)
    return videos
