"""Makes the result of `search privacy` on random images, for tests of its page."""

import numpy as np
from lookalike_search.analysis.inversion_attack import AttackedImages, attack
from lookalike_search.analysis.privacy import LeftOut, PrivacyReport
from made_collections import manifest_of, payload_of

HOSTILE = '<b>"cat\'s"</b> & co'
"""The name of a class."""


def make_report() -> PrivacyReport:
    """Returns an attack on 40 random images in two classes, one of which has a hostile name."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    classes = [HOSTILE if number % 2 else "dog" for number in range(40)]
    vectors = random.normal(size=(40, 8)).astype(np.float32)
    return PrivacyReport(
        collection="vgg16-cosine",
        manifest=manifest_of(),
        payloads=[payload_of(f"{name}/{row}.png", class_name=name) for row, name in enumerate(classes)],
        images=images,
        total=45,
        duplicates=2,
        left_out={LeftOut.GONE: 5},
        provider=None,
        result=attack(AttackedImages(vectors=vectors, images=images, classes=classes)),
    )
