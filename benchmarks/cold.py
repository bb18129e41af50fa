"""Measures the time from a process' start to its answer: seconds, median of rounds, the ways in turn.

    python benchmarks/cold.py IMAGE --collection NAME --weights FILE [--layer L] [--rounds 5] [--json FILE]

    python    `python -c pass`: the lower bound of all others
    help      `search --help`
    query     `search query IMAGE --collection NAME`, of an existing collection (`LOOKALIKE_HOME`)
    keras     a script that does the same from saved vectors: imports Keras, builds the network, loads the
              weights, embeds one image, compares it with all vectors by numpy and prints ten

A first round, which caches the optimized graph and warms the system's cache, is not counted. The saved
vectors are random, since their values do not affect the time.

The short form (`--short`) compares a query of 1,000 points and VGG16's first layer with a script that opens
the same model, embeds the image and multiplies its vector by 1,000 others.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from commands import draw, program
from machine import describe, write_results
from scan import A_FOLDER, LAYER, ingest_first, write_files
from scan import write_weights as write_tiny_weights
from short import Duel, run_either

KERAS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
image, weights, vectors, backbone, layer = sys.argv[1:]
if backbone == "vgg16":
    build, prepare = keras.applications.VGG16, keras.applications.vgg16.preprocess_input
else:
    build, prepare = keras.applications.ResNet101V2, keras.applications.resnet_v2.preprocess_input
network = build(weights=None, include_top=False, input_shape=(224, 224, 3))
network.load_weights(weights, by_name=True)
pooled = keras.layers.GlobalAveragePooling2D()(network.get_layer(layer).output)
pixels = keras.utils.img_to_array(keras.utils.load_img(image, target_size=(224, 224)))
vector = keras.Model(network.input, pooled).predict(prepare(pixels[None]), verbose=0)[0]
known = np.load(vectors)
scores = known @ vector / (np.linalg.norm(known, axis=1) * np.linalg.norm(vector))
for row in np.argsort(-scores)[:10]:
    print(row, scores[row])
"""


def main() -> None:
    """Prints a line for each way, and writes all rounds to the file of `--json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--layer", default="block5_pool")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = commands(arguments, Path(folder) / "vectors.npy")
        rounds = [
            {name: measure_seconds(command) for name, command in ways.items()}
            for _ in range(arguments.rounds + 1)
        ]
    print(describe())
    for name in ways:
        times = [each[name] for each in rounds[1:]]
        print(f"{name:8} {median(times):6.2f} s ({min(times):.2f} to {max(times):.2f})")
    write_results(arguments.json, {"rounds": rounds[1:]})


def commands(arguments: argparse.Namespace, vectors: Path) -> dict[str, list[str]]:
    """Returns the name of each way -> its command."""
    backbone = arguments.collection.partition("-")[0]
    values = 512 if backbone == "vgg16" else 2048 if arguments.layer == "post_relu" else 1024
    np.save(vectors, np.random.default_rng(0).random((arguments.points, values), dtype=np.float32))
    search, image = program("search"), arguments.image
    return {
        "python": [sys.executable, "-c", "pass"],
        "help": [search, "--help"],
        "query": [search, "query", image, "--collection", arguments.collection],
        "keras": [
            sys.executable,
            "-c",
            KERAS,
            image,
            arguments.weights,
            str(vectors),
            backbone,
            arguments.layer,
        ],
    }


def measure_seconds(command: list[str]) -> float:
    """Returns the time of one process from its start to its end; raises if it fails.

    Modules are compiled once, as for any user, whatever this process was told about that.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


BARE = """
import sys
import numpy as np, onnxruntime
from PIL import Image
image, model, vectors = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
pixels = np.asarray(Image.open(image).convert("RGB").resize((224, 224)))
(vector,) = session.run(None, {session.get_inputs()[0].name: pixels[None]})[0]
known = np.load(vectors)
scores = known @ vector / (np.linalg.norm(known, axis=1) * np.linalg.norm(vector))
for row in np.argsort(-scores)[:10]:
    print(row, scores[row])
"""


def short(folder: Path) -> Iterator[Duel]:
    """Yields a query, from the start of its process to its end, beside a bare script."""
    write_files(folder / "pictures", A_FOLDER, A_FOLDER)
    ingest_first(folder, write_tiny_weights(folder / "weights.h5"), A_FOLDER)
    draw(folder / "drawn", 1)
    (image,), (model,) = (
        (folder / "drawn").rglob("*.jpg"),
        (folder / "home" / "models").glob(f"*{LAYER}*.onnx"),
    )
    np.save(folder / "vectors.npy", np.random.default_rng(0).random((A_FOLDER, 64), dtype=np.float32))
    os.environ |= {
        "LOOKALIKE_HOME": str(folder / "home"),
        "LOOKALIKE_STORE": "embedded",
        "LOOKALIKE_PROVIDER": "cpu",
    }
    query = [program("search"), "query", str(image)]
    script = [sys.executable, "-c", BARE, str(image), str(model), str(folder / "vectors.npy")]
    yield Duel(
        name="cold: a query / a bare script",
        ours=lambda: measure_seconds(query),
        peer=lambda: measure_seconds(script),
    )


if __name__ == "__main__":
    run_either(main, short)
