"""Everything that can go wrong and the exit code that it ends a command with.

    LookalikeError                 1   anything else failed
    ├── UsageError                 2   wrong usage
    ├── ModelError                 3   a model that cannot be had or run
    │   ├── WeightsError           3   weights missing, damaged or of another network
    │   └── ProviderError          3   a required GPU that is not there
    ├── ImageError               4   an image that cannot be read
    │   └── MissingDecoderError    4   what would read it is not installed
    ├── StoreError                 5   the store cannot be reached or refuses
    │   └── StoreRefusedError      5   the key may not do that
    ├── CollectionError            6   a collection that does not fit
    │   ├── CollectionMissingError 6   it is not there
    │   └── ManifestError          6   it is there and holds another space, or is not ours
    └── StoreLockedError           7   another process is using it

A message says what failed, and on which path. It is true for any caller, and says nothing of options or
commands. What a program may want of it is an attribute. What could be done next is said where it is the same
for every caller, and else is a `Hint`, which `console` puts into words about options.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict, Unpack

from lookalike_core.hints import Argument, Hint


class About(TypedDict, total=False):
    """What every error may carry as data: the file or folder that it is about, and what could be done."""

    path: Path | str | None
    hint: Hint | None


class LookalikeError(Exception):
    """The root: every error that a command reports in one line.

    Attributes:
        path: The file or folder that it is about, where it is about one.
        hint: What could be done about it, where the message does not say so.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, path: Path | str | None = None, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.path = Path(path) if path is not None else None
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the error with its attributes, for processes that hand errors to each other."""
        return _restore_error, (type(self), self.args, self.__dict__)


def _restore_error(
    kind: type[LookalikeError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> LookalikeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(LookalikeError):
    """Something was asked for that does not fit together.

    Attributes:
        argument: The argument whose value it is about, where it is about one: a parameter's name, or an
            `Argument`, which is text too.
        choices: Values that would do, all of them and the most likely first, where it is one of a set.
        bounds: The least and the greatest value that would do, where it is a number out of its range.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        argument: Argument | str | None = None,
        choices: Sequence[str] = (),
        bounds: tuple[float, float] | None = None,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, **about)
        self.argument = argument
        self.choices = tuple(choices)
        self.bounds = bounds

    @classmethod
    def of(cls, origin: Argument | str, message: str, **about: Unpack[About]) -> Self:
        """Returns the error about a value from an argument, kept as data, or a variable or option, named."""
        if isinstance(origin, Argument):
            return cls(message, argument=origin, **about)
        return cls(f"{origin}: {message}", **about)


class ModelError(LookalikeError):
    """A model cannot be exported, loaded or run."""

    exit_code = 3


class WeightsError(ModelError):
    """A weights file is missing, damaged, or belongs to another network."""


class ProviderError(ModelError):
    """The execution provider that was required is not the one in use."""


class SkipReason(StrEnum):
    """Why an image is left out; the closed set that `skipped` is drawn from."""

    VANISHED = "vanished"
    """It was listed, or named, and is not there."""
    UNREADABLE = "unreadable"
    """The system refuses to read it, it changes while it is read, or it is damaged."""
    BAD_NAME = "bad-name"
    """Its name is not UTF-8."""
    EMPTY = "empty"
    """It has no bytes."""
    NOT_AN_IMAGE = "not-an-image"
    """Its content is no image."""
    UNSUPPORTED_FORMAT = "unsupported-format"
    """Its format or its samples are not supported, or what would decode it is not installed."""
    TRUNCATED = "truncated"
    """It ends before its pixels do."""
    TOO_LARGE = "too-large"
    """It has more bytes or pixels than are decoded, or does not fit into memory."""
    NO_EMBEDDING = "no-embedding"
    """The network gives it no vector that can be compared."""


class ImageError(LookalikeError):
    """An image cannot be read.

    Attributes:
        reason: Why, in one of a closed set of words.
        limit: How many pixels or bytes there may be, where it has more.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        reason: SkipReason,
        limit: int | None = None,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, **about)
        self.reason = reason
        self.limit = limit


class MissingDecoderError(ImageError):
    """An image could be read if something were installed.

    Attributes:
        needed: What that is.
    """

    def __init__(self, message: str, *, needed: str) -> None:
        super().__init__(
            f"{message}; install {needed}, or convert it to JPEG", reason=SkipReason.UNSUPPORTED_FORMAT
        )
        self.needed = needed


class StoreError(LookalikeError):
    """The store cannot be reached, or refuses what it was asked.

    Attributes:
        store: The server, by its URL without credentials, or the folder, as far as it is known here.
    """

    exit_code = 5

    def __init__(self, message: str, *, store: str | None = None, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.store = store


class StoreRefusedError(StoreError):
    """The key, or the lack of one, does not allow what was asked."""


class CollectionError(LookalikeError):
    """A collection is not what was asked for.

    Attributes:
        collection: Its name, where there is one.
    """

    exit_code = 6

    def __init__(self, message: str, *, collection: str | None = None, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.collection = collection


class CollectionMissingError(CollectionError):
    """There is no such collection.

    Attributes:
        holder: Which process is ingesting into the store and may be making it, as it says itself; or None.
    """

    def __init__(
        self,
        message: str,
        *,
        collection: str | None = None,
        holder: str | None = None,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, collection=collection, **about)
        self.holder = holder


class ManifestError(CollectionError):
    """A collection or model holds another space than the one asked for, or is not ours."""


class StoreLockedError(LookalikeError):
    """Another process holds the store.

    Attributes:
        holder: Which process that is, as it says itself; None where that is not known.
        waited_s: For how long it was waited for, in seconds.
    """

    exit_code = 7

    def __init__(
        self,
        message: str,
        *,
        holder: str | None = None,
        waited_s: float = 0.0,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, **about)
        self.holder = holder
        self.waited_s = waited_s
