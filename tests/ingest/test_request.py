"""Requests are checked in the library as in the command."""

from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import LookalikeError, SkipReason, UsageError
from lookalike_core.images.scan import Skipped
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.dataset_rules import RuleChoice
from lookalike_ingest.rebuild import RebuildReport
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, ModelChoice, describe_dataset, load_labels


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": "pets", "backbones": ["vgg"]}, "already determines the network"),
        ({"head": "pets", "layer": "fc1"}, "already determines the network"),
        ({"head": "pets", "precision": Precision.INT8}, "already determines the network"),
        ({"backbones": ["vgg", "resnet"], "layer": "fc1"}, "belong to one backbone"),
        ({"backbones": ["vgg", "resnet"], "weights": "own.h5"}, "belong to one backbone"),
        ({"backbones": ["alexnet"]}, "there is no backbone 'alexnet'"),
    ],
)
def test_contradicting_fields_of_a_model_choice_are_refused(
    fields: dict[str, Any], message: str, home: Settings
) -> None:
    """They are refused before a model is exported."""
    with pytest.raises(UsageError, match=message):
        ModelChoice(**fields).resolve(home)


def test_a_backbone_that_is_given_twice_counts_once(home: Settings) -> None:
    """It may be given by its short and its full name; the default is ResNet101V2."""

    def backbones(*names: str) -> list[str]:
        specs = ModelChoice(backbones=names).resolve(home)
        return [spec.backbone.name for spec in specs if isinstance(spec, ModelSpec)]

    assert backbones("vgg", "VGG16", "resnet") == ["vgg16", "resnet101v2"]
    assert backbones() == ["resnet101v2"]


def test_a_dataset_is_named_after_its_folder_by_default(tmp_path: Path) -> None:
    """Its root is absolute; a missing folder is refused unless it may be missing."""
    assert describe_dataset(tmp_path) == Dataset(name=tmp_path.name, root=tmp_path.resolve())
    assert describe_dataset(tmp_path, "mine", moved=True).name == "mine"
    gone = tmp_path / "gone"
    with pytest.raises(UsageError, match="does not exist"):
        describe_dataset(gone)
    assert describe_dataset(gone, may_be_missing=True).root == gone.resolve()


@pytest.mark.parametrize("name", ["", "  ", "\udc80"])
def test_a_name_that_cannot_be_stored_is_refused(tmp_path: Path, name: str) -> None:
    """The store holds UTF-8, which has no lone surrogates."""
    with pytest.raises(UsageError, match="cannot be stored as a name"):
        describe_dataset(tmp_path, name)


def test_labels_of_another_folder_are_refused(tmp_path: Path) -> None:
    """No row matches a file of the folder."""
    table = tmp_path / "labels.csv"
    table.write_text("path,class\na.png,cat\n")
    with pytest.raises(UsageError, match="none of the 1 rows"):
        load_labels(table, tmp_path)
    (tmp_path / "a.png").touch()
    assert load_labels(table, tmp_path) == {"a.png": "cat"}


def request(root: Path, **fields: Any) -> IngestRequest:
    """Returns a request for one collection."""
    dataset = Dataset(name="data", root=root)
    return IngestRequest(dataset=dataset, specs=[ModelSpec.of("vgg")], distances=[Distance.COSINE], **fields)


def test_force_without_prune_is_refused(tmp_path: Path) -> None:
    """Its only effect is to allow pruning to empty a dataset."""
    with pytest.raises(UsageError, match="empty a dataset"):
        request(tmp_path, force=True)
    assert request(tmp_path, force=True, prune=True).force


@pytest.mark.parametrize(
    "rules", [RuleChoice(exclude=["a\\"]), RuleChoice(exclude=["#x"]), RuleChoice(class_level=0)]
)
def test_invalid_rules_are_refused(tmp_path: Path, rules: RuleChoice) -> None:
    """They are refused before a model is exported or a collection opened."""
    with pytest.raises(UsageError):
        request(tmp_path, rules=rules)


def test_checking_an_ingest_without_usable_images_raises(tmp_path: Path) -> None:
    """With `strict`, one skipped image is enough."""
    dataset = Dataset(name="data", root=tmp_path)
    IngestReport(dataset=dataset, store="embedded").check(strict=True)
    skipped = [Skipped(path="a.png", reason=SkipReason.EMPTY)]
    with pytest.raises(LookalikeError, match=r"no image in .* could be used, of 1 found"):
        IngestReport(dataset=dataset, store="embedded", found=1, skipped=skipped).check()
    with pytest.raises(LookalikeError, match="1 image skipped"):
        IngestReport(dataset=dataset, store="embedded", skipped=skipped).check(strict=True)


def test_checking_a_rebuild_that_replaced_nothing_raises(tmp_path: Path) -> None:
    """The message names missing and unreadable images, and the remedies."""
    RebuildReport(name="x", store="embedded", replaced=True).check()
    report = RebuildReport(
        name="x", store="embedded", gone_files=[tmp_path / "a.png"], left_out=[tmp_path / "b.png"]
    )
    with pytest.raises(LookalikeError, match=r"a\.png; 1 cannot be read, .*b\.png.* Mount the disk"):
        report.check()
