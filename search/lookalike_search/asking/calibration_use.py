"""Says when a collection's calibration can be used for a search, and why not."""

from collections.abc import Iterator

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.point_filters import list_arguments
from lookalike_core.stores.protocol import Collection

from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.examples import Example


def find_obstacles(options: QueryOptions, *, has_examples: bool) -> Iterator[tuple[str, Hint]]:
    """Yields what makes neighbours others than those of a calibration, and what to leave out."""
    if has_examples:
        yield "for several examples", Hint(Action.LEAVE_OUT, {Argument.AND: None, Argument.NOT: None})
    if filters := list_arguments(options.where):
        yield "within a part of one", Hint(Action.LEAVE_OUT, dict.fromkeys(filters))
    if options.include_self:
        yield "with exact duplicates of the query", Hint(Action.LEAVE_OUT, {Argument.INCLUDE_SELF: None})
    if options.without_near_above is not None:
        yield "without near-duplicates", Hint(Action.LEAVE_OUT, {Argument.WITHOUT_NEAR: None})


def check_is_whole(example: Example, what: str, argument: Argument) -> None:
    """Refuses a part of an image; how much of it a region of pixels is shows only once it was read.

    `what` is learned from whole images only.

    Raises:
        UsageError: the example is not all of its image.
    """
    if not example.is_whole:
        raise UsageError(
            f"{what} are learned from whole images, and there is none for a part of {example.name}",
            argument=argument,
            hint=Hint(Action.LEAVE_OUT, {Argument.REGION: None}),
        )


def require_calibration(
    collection: Collection, calibration: Calibration | None, argument: Argument
) -> Calibration:
    """Returns the calibration of a collection, of which `calibration` is the usable one, if there is one.

    Raises:
        UsageError: there is none, or it is stale.
    """
    if calibration is not None:
        return calibration
    name = collection.name
    if collection.manifest.calibration is None:
        raise UsageError(
            f"{name} is not calibrated",
            argument=argument,
            hint=Hint(Action.CALIBRATE, {Argument.COLLECTION: name}),
        )
    raise UsageError(
        f"the calibration of {name} is stale",
        argument=argument,
        hint=Hint(Action.RECALIBRATE, {Argument.COLLECTION: name}),
    )
