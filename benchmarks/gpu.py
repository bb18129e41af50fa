"""Measures a CUDA machine: provider, images per second, decoding, and whether vectors agree with the CPU's.

    python benchmarks/gpu.py PHOTOS --vgg FILE --resnet FILE [--resnet-layer L] [--provider cuda]
        [--batch-size 16 ... 512] [--precision fp32 fp16] [--seconds 3] [--no-peers] [--json FILE]

For each network and precision it prints the provider in use, the lowest cosine of its vectors to those of
the CPU in fp32, and images per second at each batch size, including copies to the device and back. It also
prints how many images per second this machine's cores read and decode, which bounds an ingest where the
network is faster, the speed of `run_ingest` at the best batch size, and the peers. Two options are tried at
the best batch size: CUDA's kernels with channels last, and images and vectors that stay on the device, an
upper bound for what pinned memory could gain. With `--provider cpu` it runs without a GPU, to test the
script.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from embed import copy_images, embed_batches, ingest, lowest_cosine, open_session
from lookalike_core.images.scan import FoundFile, scan
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import Precision
from lookalike_core.models.providers import CUDA, load_runtime
from lookalike_core.prefetch import map_ahead
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.image_reader import read_image
from machine import describe, write_results
from numpy.typing import NDArray
from peers import disagreement, peers

COMPARED = 32
"""Images whose vectors are compared with those of the CPU."""


def main() -> None:
    """Prints a table for each network, and the speeds of decoding and of whole ingests."""
    arguments = parse_arguments()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        home = Path(folder)
        settings = replace(Settings.from_environment(), home=home)
        images = copy_images(arguments.photos, home / "photos", arguments.images)
        pixels = np.stack([image.pixels for image in images])
        decoded = rate(lambda: decode_all(home / "photos"), len(pixels), arguments.seconds)
        print(f"read and decoded by {os.cpu_count()} cores: {decoded:.0f} images/s")
        networks = [measure(spec, pixels, decoded, settings, arguments) for spec in specs(arguments)]
    write_results(arguments.json, {"decoded_per_second": decoded, "networks": networks})


def parse_arguments() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--vgg", type=Path, help="VGG16's weights, a Keras .h5 file")
    parser.add_argument("--resnet", type=Path, help="ResNet101V2's weights, a Keras .h5 file")
    parser.add_argument("--resnet-layer", help="last layer, for weights that lack the others")
    parser.add_argument("--provider", type=ProviderChoice, default=ProviderChoice.CUDA)
    parser.add_argument("--precision", nargs="+", type=Precision, default=[Precision.FP32, Precision.FP16])
    parser.add_argument("--batch-size", nargs="+", type=int, default=[1, 16, 64, 128, 256, 512])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds for each figure")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    return parser.parse_args()


def specs(arguments: argparse.Namespace) -> Iterator[ModelSpec]:
    """Yields the networks whose weights are named, in fp32."""
    if arguments.vgg:
        yield ModelSpec.of("vgg", weights=str(arguments.vgg))
    if arguments.resnet:
        yield ModelSpec.of("resnet", weights=str(arguments.resnet), layer=arguments.resnet_layer)


def measure(
    spec: ModelSpec,
    pixels: NDArray[np.uint8],
    decoded: float,
    settings: Settings,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Measures a network: every precision at every batch size, then a whole ingest, then the peers."""
    network = f"{spec.backbone.title} {spec.layer}"
    print(f"\n{network}")
    plain = ensure_exported(spec, settings=settings).path
    expected = embed_batches(Embedder.load(plain, provider=ProviderChoice.CPU), pixels[:COMPARED], 16)
    found = []
    for precision in arguments.precision:
        wanted = replace(spec, precision=precision)
        wanted = add_activation_ranges(wanted, arguments.photos, settings=settings)
        path = ensure_exported(wanted, settings=settings).path
        session = open_session(path, arguments.provider)
        cosine = lowest_cosine(expected, embed_batches(session, pixels[:COMPARED], 16))
        print(f"{precision} on {session.provider}: lowest cosine to the CPU in fp32 {cosine:.7f}")
        speeds = {size: speed(session, pixels, size, arguments.seconds) for size in arguments.batch_size}
        best = max(speeds, key=lambda size: speeds[size])
        whole = rate(
            lambda session=session, wanted=wanted, best=best: ingest(
                wanted, session, settings, batch_size=best, expected=len(pixels)
            ),
            len(pixels),
            arguments.seconds,
        )
        choices = choice_speeds(path, session.provider, pixels, best, arguments.seconds)
        share = speeds[best] / (speeds[best] + decoded)
        print(f"whole ingest in batches of {best}: {whole:.0f} images/s")
        print(f"share of decoding, where it and the network take turns: {share:.0%}")
        found.append(
            {
                "precision": precision.value,
                "provider": session.provider,
                "cosine_to_cpu_fp32": cosine,
                "images_per_second": speeds,
                "ingest_per_second": whole,
                "choices_per_second": choices,
                "decode_share": share,
            }
        )
    return {"network": network, "ours": found, "peers": peer_speeds(spec, plain, pixels, expected, arguments)}


def choice_speeds(
    path: Path, provider: str, pixels: NDArray[np.uint8], size: int, seconds: float
) -> dict[str, float]:
    """Returns images per second of sessions with other options, copying images to the device and not."""
    runtime, batch = load_runtime(), np.resize(pixels, (size, *pixels.shape[1:]))
    device = "cuda" if provider == CUDA else "cpu"
    options = {"": {}, "channels last, ": {"prefer_nhwc": "1"}} if provider == CUDA else {"": {}}
    found = {}
    for name, chosen in options.items():
        session = runtime.InferenceSession(path, providers=[(provider, chosen)])
        bound = session.io_binding()
        bound.bind_ortvalue_input("images", runtime.OrtValue.ortvalue_from_numpy(batch, device, 0))
        bound.bind_output(session.get_outputs()[0].name, device)
        ways = {
            "copied": lambda session=session: session.run(None, {"images": batch}),
            "on the device": lambda session=session, bound=bound: session.run_with_iobinding(bound),
        }
        for how, way in ways.items():
            found[f"{name}{how}"] = rate(way, size, seconds)
            print(f"  {name}{how}: {found[f'{name}{how}']:.1f} images/s in batches of {size}")
    return found


def peer_speeds(
    spec: ModelSpec,
    plain: Path,
    pixels: NDArray[np.uint8],
    expected: NDArray[np.float32],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Returns images per second of each peer at the largest batch size, and its distance from our vectors."""
    found = {}
    size = max(arguments.batch_size)
    for name, way in () if arguments.no_peers else peers(spec, plain, pixels, batch=size):
        difference = disagreement(expected, way()[:COMPARED])
        speed_ = rate(way, len(pixels), arguments.seconds)
        print(f"{name}: {speed_:.0f} images/s in batches of {size}, vectors within {difference:.1e}")
        found[name] = {"images_per_second": speed_, "difference": difference}
    return found


def speed(session: Embedder, pixels: NDArray[np.uint8], size: int, seconds: float) -> float:
    """Returns images per second in batches of `size`; images are repeated where there are too few."""
    batch = np.resize(pixels, (size, *pixels.shape[1:]))
    found = rate(lambda: session.embed(batch), size, seconds)
    print(f"  batches of {size:4}: {found:8.1f} images/s")
    return found


def rate(work: Callable[[], object], images: int, seconds: float) -> float:
    """Returns images per second of work that is run once to warm up, then repeated for `seconds`."""
    work()
    started, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < seconds:
        work()
        rounds += 1
    return images * rounds / (time.perf_counter() - started)


def decode_all(folder: Path) -> None:
    """Reads, hashes and decodes all images as an ingest does, in its threads."""
    files = (entry for entry in scan(folder) if isinstance(entry, FoundFile))
    for file in map_ahead(lambda found: read_image(found, lambda _: False), files, ahead=64):
        if file.problem is not None:
            raise RuntimeError(f"{file.found.path}: {file.problem}")


if __name__ == "__main__":
    main()
