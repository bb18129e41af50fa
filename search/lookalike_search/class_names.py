"""Finds the classes of collections by the names that people type."""

from collections.abc import Sequence

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import is_unicode, nfc

_NAMED = 3
"""How many names a message lists: of similar ones, or of all where none is similar."""


def find_class(
    name: str | None, collections: Sequence[Collection], *, argument: Argument = Argument.CLASS
) -> str | None:
    """Returns a class as the collections spell it; None and `""`, which is no class, stay as they are.

    Names that differ in their Unicode normal form alone are the same. `argument` is the one that named it.

    Raises:
        UsageError: no collection has the class; the message lists similar names.
    """
    of_class = PointFilter(classes=frozenset({name or ""}))
    if not name or (is_unicode(name) and any(collection.count(of_class) for collection in collections)):
        return nfc(name) if name else name
    there = sorted({each for collection in collections for each in collection.tally("class") if each})
    same = next((each for each in there if nfc(each) == nfc(name)), None)
    if same is None:
        raise _unknown(name, there, collections, argument)
    return same


def _unknown(
    name: str, there: Sequence[str], collections: Sequence[Collection], argument: Argument
) -> UsageError:
    what = f"there is no class {name} in {' or '.join(collection.name for collection in collections)}"
    if nearest := find_similar_names(name, there):
        said = f"nearest: {', '.join(nearest)}"
    else:
        more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
        said = f"available: {', '.join(there[:_NAMED]) or 'none'}{more}"
    return UsageError(f"{what}; {said}", argument=argument, choices=similar_first(nearest, there))


def similar_first(nearest: Sequence[str], there: Sequence[str]) -> list[str]:
    """Returns all names, the similar ones first."""
    return [*nearest, *(each for each in there if each not in nearest)]


def find_similar_names(name: str, there: Sequence[str]) -> list[str]:
    """Returns the names that a mistyped one may mean, the most similar first."""
    from difflib import get_close_matches

    folded = {nfc(each).casefold(): each for each in there}
    return [folded[each] for each in get_close_matches(nfc(name).casefold(), folded, n=_NAMED)]
