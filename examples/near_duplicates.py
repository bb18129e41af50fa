"""Writes the near-duplicates in a folder of images to a CSV file; nothing is deleted.

    python examples/near_duplicates.py ~/Pictures duplicates.csv

Of each group the first line is the file to keep. `could_go` says of the others whether they are proven, on
their bytes or pixels, to be the same image.
"""

import argparse
import csv
from pathlib import Path

import lookalike


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description="Write a folder's near-duplicates to a CSV file.")
    parser.add_argument("folder", type=Path, help="the folder of images")
    parser.add_argument("table", type=Path, help="the CSV file to write")
    parser.add_argument("--index", default="photos.index", help="where the index lies, or is made")
    parser.add_argument("--backbone", default="resnet101v2", help="resnet101v2 or vgg16")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a Keras .h5 file")
    parser.add_argument("--layer", help="a Keras layer name")
    asked = parser.parse_args()

    model = lookalike.Model(asked.backbone, weights=asked.weights, layer=asked.layer)
    with lookalike.open(asked.index, model=model) as index:
        index.add(asked.folder)
        found = index.duplicates()
    with asked.table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "file", "match", "similarity", "bytes", "could_go"])
        for number, group in enumerate(found, start=1):
            for member in group.members:
                match = "kept" if member is group.kept else member.match
                could_go = member is not group.kept and member.is_redundant
                similarity = f"{member.similarity:.4f}"
                writer.writerow([number, member.file, match, similarity, member.payload.bytes, could_go])
    print(f"{len(found)} groups; {len(found.redundant)} files could go, {found.frees:,} bytes")


if __name__ == "__main__":
    main()
