"""How well the critic of an editor's weights tells expression and lighting, and the packaged editor with that critic.

    python critic.py --critic full.safetensors --data DATA/relit --data DATA/reexpressed [--editor fourth.safetensors -o editor.safetensors]

Prints one row a data set: accuracy on images of validation people, seed 0. With -o it writes the weights of --editor with that
critic beside them: the critic of a preset that keeps what is not named never touches an edit, it only reads images
(`--light-like`, readings).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from legan.core.conditions import LIGHTINGS
from legan.core.files import sha256_of
from legan.core.images import to_network
from legan.core.weights import load_weights, save_weights
from legan.data.faces import FaceDataset
from legan.models.editors import load_networks


@torch.inference_mode()
def accuracy(critic: torch.nn.Module, folder: Path, n: int) -> tuple[int, float, float, float]:
    """Return the number of images, and the shares with the right expression, lighting class, and azimuth within 15 degrees."""
    faces = FaceDataset([folder], "val")
    chosen = np.sort(np.random.default_rng(0).choice(len(faces), min(n, len(faces)), replace=False))
    chosen = chosen[(faces.expression[chosen] >= 0) & (faces.lighting[chosen] >= 0)]
    output = critic(to_network(faces.images(chosen)))
    expression, lighting = output.expression.argmax(1).numpy(), output.lighting.argmax(1).numpy()
    azimuths = np.array([light.azimuth or 0.0 for light in LIGHTINGS])  # room light has none
    near = np.abs(azimuths[lighting] - azimuths[faces.lighting[chosen]]) <= 15
    return (
        len(chosen),
        float((expression == faces.expression[chosen]).mean()),
        float((lighting == faces.lighting[chosen]).mean()),
        float(near.mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critic", type=Path, required=True, help="an exported editor with a critic")
    parser.add_argument("--data", type=Path, action="append", default=[], help="data set folder; may be repeated")
    parser.add_argument("--n", type=int, default=300, help="images a data set")
    parser.add_argument("--editor", type=Path, help="an exported editor, whose generator -o writes")
    parser.add_argument("-o", "--out", type=Path, help="weights file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    networks = load_networks(args.critic, precision="fp32")
    if networks.critic is None:
        parser.error(f"{args.critic} holds no critic")
    print(
        "| validation people of | n | expression | lighting, of 20 | azimuth within 15 degrees |\n| --- | --- | --- | --- | --- |"
    )
    for folder in args.data:
        n, *shares = accuracy(networks.critic, folder, args.n)
        print(f"| {folder.name} | {n} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    if args.out:
        tensors, metadata = load_weights(args.editor)
        more, about = load_weights(args.critic)
        tensors |= {name: tensor for name, tensor in more.items() if name.startswith("critic.")}
        trained = {"file_sha256": sha256_of(args.critic)} | {
            key: about[key] for key in ("steps", "data", "licence", "seed", "commit")
        }
        metadata |= {"critic": about["critic"], "critic_training": trained}
        save_weights(args.out, tensors, metadata, half=True)


if __name__ == "__main__":
    main()
