"""Classifies images by their nearest neighbours, beside scikit-learn's classifier on the same vectors.

    python examples/nearest_neighbour_classifier.py data/

`data/` holds a folder for each class. So many images of each class are indexed (--train); the others are
held out, and their classes are predicted twice: by the vote of an index's neighbours, and by
`KNeighborsClassifier`, which is fitted to the vectors that the index holds.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

import lookalike


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description="Classify images by their nearest neighbours, in two ways.")
    parser.add_argument("folder", type=Path, help="a folder of images for each class, below this one")
    parser.add_argument("--train", type=int, default=20, help="how many images of each class are indexed")
    parser.add_argument("-k", type=int, default=5, help="how many neighbours vote")
    parser.add_argument("--index", default="train.index", help="where the index lies, or is made")
    parser.add_argument("--backbone", default="resnet101v2", help="resnet101v2 or vgg16")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a Keras .h5 file")
    parser.add_argument("--layer", help="a Keras layer name")
    asked = parser.parse_args()

    model = lookalike.Model(asked.backbone, weights=asked.weights, layer=asked.layer)
    with lookalike.open(asked.index, model=model) as index:
        index.add(asked.folder, max_per_class=asked.train)
        points, (_, trained) = index.points(), index.vectors()
        indexed = {point.file for point in points}
        files = sorted(file.resolve() for file in asked.folder.glob("*/*"))
        held_out = [file for file in files if file not in indexed]
        answers = index.search_many(held_out, vote="majority", k=asked.k)

    votes = [answer.verdict.class_name if answer.verdict else "" for answer in answers]
    classifier = KNeighborsClassifier(n_neighbors=asked.k, metric="cosine")
    labels = [point.class_name for point in points]
    has_class = np.array([label is not None for label in labels])  # an image beside the folders has none
    classifier.fit(trained[has_class], [label for label in labels if label is not None])
    predicted = classifier.predict(model.embed(held_out))

    truth = np.array([file.parent.name for file in held_out])
    print(f"{len(points)} images indexed, {len(held_out)} held out, {asked.k} neighbours vote")
    print(f"lookalike:    {np.mean(truth == votes):.4f} right")
    print(f"scikit-learn: {np.mean(truth == predicted):.4f} right")
    print(f"they agree on {np.mean(predicted == votes):.4f}")


if __name__ == "__main__":
    main()
