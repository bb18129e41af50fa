"""Checks that collections can be filtered as wanted: points have the fields, and folders have images."""

from collections.abc import Sequence

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.stores.points import FOLDERS, ROOT, PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import format_count, is_unicode

from lookalike_search.class_names import find_similar_names, similar_first

_logger = get_logger("search")

_NAMED = 3
"""How many folders a message lists."""


def require_fields(where: PointFilter, collections: Sequence[Collection]) -> None:
    """Refuses a condition on a field that no point has, since an older version wrote them all.

    Points that lack it beside others are left out, which the log says: an ingest that adds the field was
    interrupted, or their files are gone.

    Raises:
        UsageError: there are points, and none of them has the field.
    """
    within = PointFilter(dataset=where.dataset)
    for field in where.newer_fields:
        argument = Argument.PATH if field == FOLDERS else _dated_by(where)
        for collection in collections:
            if not (lacking := collection.count_without(field, within)):
                continue
            points = collection.count(within)
            hint = Hint(Action.INGEST_AGAIN)
            if lacking == points:
                raise UsageError(
                    f"the images of {collection.name} were ingested by an older version, which stored no "
                    f"{_MEANINGS[argument]}",
                    argument=argument,
                    hint=hint,
                )
            _logger.warning(
                "%s of %s in %s are left out: they were ingested by an older version, which stored no %s",
                format_count(lacking, "image"),
                f"{points:,}",
                collection.name,
                _MEANINGS[argument],
                extra={"hint": hint},
            )


_MEANINGS = {
    Argument.PATH: "folders to search in",
    Argument.SINCE: "times at which they were taken",
    Argument.UNTIL: "times at which they were taken",
}


def _dated_by(where: PointFilter) -> Argument:
    return Argument.SINCE if where.since is not None else Argument.UNTIL


def require_folders(where: PointFilter, collections: Sequence[Collection]) -> None:
    """Refuses a folder in which no image is.

    Raises:
        UsageError: there is one; the message lists similar ones.
    """
    for folder in sorted(where.folders):
        within = PointFilter(dataset=where.dataset, folders=frozenset({folder}))
        if not (is_unicode(folder) and any(collection.count(within) for collection in collections)):
            raise _unknown(folder, collections, where.dataset)


def _unknown(folder: str, collections: Sequence[Collection], dataset: str | None) -> UsageError:
    there = sorted({each for collection in collections for each in collection.tally(FOLDERS)} - {ROOT})
    names = " or ".join(collection.name for collection in collections)
    of = "" if dataset is None else f" of dataset {dataset}"
    same = [each for each in there if each.endswith(f"/{folder}")]
    if nearest := list(dict.fromkeys([*same, *find_similar_names(folder, there)]))[:_NAMED]:
        said = f"nearest: {', '.join(f'{each}/' for each in nearest)}"
    else:
        outer = [each for each in there if "/" not in each]
        more = f" and {len(outer) - _NAMED} more" if len(outer) > _NAMED else ""
        said = f"available: {', '.join(f'{each}/' for each in outer[:_NAMED]) or 'none'}{more}"
    return UsageError(
        f"no image{of} is in the folder {folder}/ in {names}; {said}",
        argument=Argument.PATH,
        choices=similar_first(nearest, there),
    )
