"""Prepares models to be verified and the models that they are compared with, and verifies them."""

from dataclasses import dataclass, replace
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings

from lookalike_exporter.export import add_activation_ranges, ensure_exported, find_by_spec
from lookalike_exporter.heads.head_file import read_head
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.model_cache import ModelFile, find_by_identity, list_cards
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verify import Comparison, VerifyReport, verify_headed_model, verify_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A model and its report."""

    model: ModelFile
    report: VerifyReport


def verify_spec(
    spec: ModelSpec,
    *,
    calibrated_on: Path | None = None,
    images: Path | None = None,
    settings: Settings,
) -> Verification:
    """Verifies the model of a spec; compares an fp16 or int8 model with fp32 on a folder of `images`.

    The activation ranges of an int8 model that is not in the cache are measured on the folder
    `calibrated_on`, by default that of the images.

    Raises:
        UsageError: there are images for an fp32 model, or none to measure activation ranges on.
        WeightsError, StoreLockedError: as `ensure_exported`.
    """
    if images is not None and spec.precision is Precision.FP32:
        raise UsageError(
            "fp16 and int8 are compared with fp32 on images, but this model is fp32; leave the images out",
            argument=Argument.IMAGES,
            hint=Hint(Action.USE, {Argument.PRECISION: "fp16"}),
        )
    spec = add_activation_ranges(spec, calibrated_on or images, settings=settings)
    model = find_by_spec(list_cards(settings), spec) or ensure_exported(spec, settings=settings)
    comparison = None
    if spec.precision is not Precision.FP32:
        fp32 = ensure_exported(spec.in_fp32, settings=settings)
        comparison = Comparison(fp32=fp32, images=images)
    return Verification(model=model, report=verify_model(model, spec, comparison))


def verify_head(name: str, *, settings: Settings) -> Verification:
    """Verifies a head's model against a base of the same precision, which need not be that of the fitting.

    Raises:
        ModelError: there is no such head, or its model or the base's cannot be exported.
    """
    head = read_head(name, settings)
    model = find_by_identity(list_cards(settings), head.identity, precision=head.base.graph_precision)
    model = model or get_headed_model(head, settings=settings)
    spec = replace(ModelSpec.from_manifest(head.base), precision=model.manifest.graph_precision)
    base = ensure_exported(spec, settings=settings)
    return Verification(model=model, report=verify_headed_model(model, head, base))
