"""Makes filters of what people give: names of classes and folders, dates, widths."""

from collections.abc import Iterable

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.instants import parse_instant
from lookalike_core.stores.points import ROOT, PointFilter
from lookalike_core.text import nfc

EXAMPLE_DATES = ("2024-05-31", "2024-05-31T18:30")
"""What a date may look like."""


def make_filter(
    *,
    classes: Iterable[str] = (),
    not_classes: Iterable[str] = (),
    dataset: str | None = None,
    folders: Iterable[str] = (),
    since: str | None = None,
    until: str | None = None,
    min_width: int | None = None,
) -> PointFilter:
    """Returns the filter for images that meet all of these conditions; none is for all images.

    An image has one of the `classes` and none of the `not_classes`, where `""` is no class. It is in one of
    the `folders`, at any depth, which are below the folder of its dataset. It was taken from `since` to
    `until`, dates or dates with a time in ISO 8601, each included; a date without a time is its whole day,
    and a time without an offset is in UTC. It is at least `min_width` pixels wide.

    Raises:
        UsageError: a value is malformed, or no image can meet two of the conditions.
    """
    made = PointFilter(
        classes=frozenset(classes),
        not_classes=frozenset(not_classes),
        dataset=dataset,
        folders=frozenset(map(parse_folder, folders)),
        since=None if since is None else _parse_date(since, Argument.SINCE, is_end=False),
        until=None if until is None else _parse_date(until, Argument.UNTIL, is_end=True),
        min_width=min_width,
    )
    if min_width is not None and min_width < 1:
        raise UsageError(
            f"a width is at least 1 pixel, not {min_width}",
            argument=Argument.MIN_WIDTH,
            bounds=(1, float("inf")),
        )
    _refuse_contradictions(made)
    return made


def parse_folder(text: str) -> str:
    """Returns a folder as `list_folders` has it: relative to that of its dataset, without a slash at its end.

    Raises:
        UsageError: it is empty or absolute, or leads out of the dataset's folder.
    """
    parts = [part for part in nfc(text).split("/") if part not in ("", ".")]
    if not text or text.startswith("/") or ".." in parts:
        what = "leads out of its dataset" if ".." in parts else "is absolute" if text else "is empty"
        raise UsageError(
            f"the folder {text!r} {what}; name one below the folder of a dataset, as 2024/summer/",
            argument=Argument.PATH,
        )
    return "/".join(parts) or ROOT


def list_arguments(where: PointFilter) -> list[Argument]:
    """Returns the arguments that a filter was made of."""
    given = {
        Argument.CLASS: where.classes,
        Argument.NOT_CLASS: where.not_classes,
        Argument.DATASET: where.dataset is not None,
        Argument.PATH: where.folders,
        Argument.SINCE: where.since,
        Argument.UNTIL: where.until,
        Argument.MIN_WIDTH: where.min_width,
    }
    return [argument for argument, value in given.items() if value]


def _parse_date(text: str, argument: Argument, *, is_end: bool) -> str:
    try:
        return parse_instant(text, is_end=is_end)
    except ValueError:
        said = f"{text!r} is no date; give one as {' or '.join(EXAMPLE_DATES)}"
        raise UsageError(said, argument=argument) from None


def _refuse_contradictions(where: PointFilter) -> None:
    """Refuses a filter that no image can meet."""
    if both := sorted(set(map(nfc, where.classes)) & set(map(nfc, where.not_classes))):
        names = ", ".join(name or "no class" for name in both)
        raise UsageError(
            f"{names} cannot be both wanted and not wanted",
            argument=Argument.NOT_CLASS,
            hint=Hint(Action.LEAVE_ONE_OUT, {Argument.CLASS: None, Argument.NOT_CLASS: None}),
        )
    if where.since is not None and where.until is not None and where.since > where.until:
        raise UsageError(
            f"nothing is taken from {where.since} to {where.until}, which is earlier; exchange the two",
            argument=Argument.UNTIL,
        )
