"""Puts the generator of one editor and the critic of another into one weights file, from which a training with all losses can start.

    python experiments/default-editor/join.py --generator pairs.safetensors --critic packaged -o start.safetensors

A training on pairs alone makes no critic. The metadata is the generator's, with the critic's shape.
"""

import argparse
from pathlib import Path

from legan.core.weights import editor_file, load_weights, save_weights


def main() -> None:
    """Read the command line, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("generator", "critic"):
        parser.add_argument(f"--{name}", required=True, help="a weights file; `packaged` is the package's own")
    parser.add_argument("-o", "--out", type=Path, required=True)
    words = parser.parse_args()
    generator, facts = load_weights(editor_file(words.generator))
    critic, facts_of_critic = load_weights(editor_file(words.critic))
    tensors = {name: value for name, value in generator.items() if name.startswith("generator.")}
    tensors |= {name: value for name, value in critic.items() if name.startswith("critic.")}
    save_weights(words.out, tensors, facts | {"critic": facts_of_critic["critic"]}, half=True)


if __name__ == "__main__":
    main()
