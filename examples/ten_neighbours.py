"""Indexes a folder of images and shows the ten nearest neighbours of one image.

    python examples/ten_neighbours.py ~/Pictures cat.jpg

The index is a folder of its own, `photos.index`; run again, only what is new or has changed is embedded.
"""

import argparse
from pathlib import Path

import lookalike


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description="Show the ten images of a folder that are most like one.")
    parser.add_argument("folder", type=Path, help="the folder of images")
    parser.add_argument("image", type=Path, help="the image to search with")
    parser.add_argument("--index", default="photos.index", help="where the index lies, or is made")
    parser.add_argument("--backbone", default="resnet101v2", help="resnet101v2 or vgg16")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a Keras .h5 file")
    parser.add_argument("--layer", help="a Keras layer name")
    asked = parser.parse_args()

    model = lookalike.Model(asked.backbone, weights=asked.weights, layer=asked.layer)
    with lookalike.open(asked.index, model=model) as index:
        report = index.add(asked.folder)
        print(f"{len(index)} images, {report.added} of them new, {len(report.skipped)} skipped")
        for hit in index.search(asked.image, limit=10):
            print(f"{hit.rank:2}  {hit.score:.4f}  {hit.class_name or '-'}  {hit.path}")


if __name__ == "__main__":
    main()
