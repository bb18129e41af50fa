"""Real weights, real photos: what fp16 and int8 leave of the fp32 vectors and their neighbours."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.export import ModelSpec, calibrated, ready_model
from exporter.verify import FP16_COSINE_AT_LEAST, Comparison, Outcome, verify_model
from lookalike.console import Quiet
from lookalike.manifest import Precision
from lookalike.settings import Settings

PHOTOS_A_CLASS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A tap for which there are real weights."""

    backbone: str
    layer: str
    weights: str


NETWORKS = [
    Network(backbone="vgg16", layer="block5_pool", weights="vgg16_imagenet_notop.h5"),
    Network(
        backbone="resnet101v2",
        layer="conv5_block1_preact_relu",
        weights="resnet101v2_imagenet_conv1_to_conv4.h5",
    ),
]


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a few photos of every class."""
    folders = sorted(path for path in shared.glob("photos/*") if path.is_dir())
    if not folders:
        pytest.skip(f"no photos in {shared / 'photos'}")
    few = tmp_path_factory.mktemp("photos")
    for folder in folders:
        for photo in sorted(folder.glob("*.jpg"))[:PHOTOS_A_CLASS]:
            shutil.copyfile(photo, few / f"{folder.name}-{photo.name}")
    return few


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.backbone)
def test_fewer_bits_keep_vectors_and_neighbours(
    network: Network, precision: Precision, photos: Path, shared: Path, home: Settings
) -> None:
    """What `exporter verify` asks for: the cosines of fp16, and the neighbours of int8."""
    weights = shared / "weights" / network.weights
    if not weights.is_file():
        pytest.skip(f"no real weights in {weights}")
    spec = ModelSpec.of(network.backbone, layer=network.layer, weights=str(weights))
    fp32 = ready_model(spec, settings=home, reporter=Quiet())
    spec = calibrated(replace(spec, precision=precision), photos, settings=home, reporter=Quiet())
    model = ready_model(spec, settings=home, reporter=Quiet())
    checks = verify_model(model, spec, Comparison(fp32=fp32, pictures=photos)).checks
    (compared,) = (check for check in checks if check.name == "fp32 side by side")
    assert compared.outcome is Outcome.OK, compared.detail
    if precision is Precision.FP16:
        assert str(FP16_COSINE_AT_LEAST) in compared.detail
