"""The tree of errors, each with the exit code that a command ends with.

    LookalikeError                 1   anything else failed
    ├── UsageError                 2   wrong usage
    ├── ModelError                 3   a model that cannot be loaded or run
    │   ├── WeightsError           3   weights missing, damaged or of another network
    │   └── ProviderError          3   a required GPU that is not available
    ├── ImageError                 4   an image that cannot be read
    │   └── MissingDecoderError    4   the decoder is not installed
    ├── StoreError                 5   the store cannot be reached or refuses
    │   ├── StoreRefusedError      5   the API key lacks the permission
    │   └── PeersMissingError      5   a cluster lacks peers with replicas that are needed
    ├── CollectionError            6   a collection that cannot be used
    │   ├── CollectionMissingError 6   it does not exist
    │   └── ManifestError          6   another embedding space, or no manifest of ours
    └── StoreLockedError           7   another process is using it

A message says what failed, and on which path. It holds for any caller, so it names no options or commands.
Data that a program may need are attributes. The message gives the remedy if that is the same for every
caller; otherwise the remedy is a `Hint`, which `console` words in terms of options.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict, Unpack

from lookalike_core.hints import Argument, Hint


class About(TypedDict, total=False):
    """Data that every error may carry: the file or folder that it concerns, and a hint."""

    path: Path | str | None
    hint: Hint | None


class LookalikeError(Exception):
    """The base class of all errors that a command reports in one line.

    Attributes:
        path: The file or folder that the error concerns, if any.
        hint: The remedy, if the message does not give it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, path: Path | str | None = None, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.path = Path(path) if isinstance(path, str) else path
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the error with its attributes, so that it can be passed between processes."""
        return _restore_error, (type(self), self.args, self.__dict__)


def _restore_error(
    kind: type[LookalikeError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> LookalikeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(LookalikeError):
    """An argument, or a combination of arguments, is invalid.

    Attributes:
        argument: The argument whose value is invalid, if one: a parameter's name, or an `Argument`, which is
            a string too.
        choices: All valid values, the most likely first, if the argument takes one of a set.
        bounds: The least and the greatest valid value, if the argument is a number that is out of range.
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
        """Returns the error about a value; an argument is kept as data, a variable or an option is named."""
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
    """Why an image is skipped; the closed set of reasons in `skipped`."""

    VANISHED = "vanished"
    """The file was listed or named, and no longer exists."""
    UNREADABLE = "unreadable"
    """The system refuses to read the file, it changed while it was read, or it is damaged."""
    BAD_NAME = "bad-name"
    """The file's name is not valid UTF-8."""
    EMPTY = "empty"
    """The file is empty."""
    NOT_AN_IMAGE = "not-an-image"
    """The file's content is no image."""
    UNSUPPORTED_FORMAT = "unsupported-format"
    """The image's format or samples are not supported, or its decoder is not installed."""
    TRUNCATED = "truncated"
    """The file ends before its pixels do."""
    TOO_LARGE = "too-large"
    """The image has more bytes or pixels than the limit, or does not fit into memory."""
    NO_EMBEDDING = "no-embedding"
    """The network's output for the image is no vector that can be compared."""
    OUTSIDE = "outside"
    """The region that was requested reaches beyond the image."""


class ImageError(LookalikeError):
    """An image cannot be read.

    Attributes:
        reason: Why the image cannot be read.
        limit: The limit on pixels or bytes, if the image exceeds it.
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
    """An image cannot be read because its decoder is not installed.

    Attributes:
        needed: The package to install.
    """

    def __init__(self, message: str, *, needed: str) -> None:
        super().__init__(
            f"{message}; install {needed}, or convert it to JPEG", reason=SkipReason.UNSUPPORTED_FORMAT
        )
        self.needed = needed


class StoreError(LookalikeError):
    """The store cannot be reached, or refuses a request.

    Attributes:
        store: The server's URL without credentials, or the folder, if known where the error is raised.
    """

    exit_code = 5

    def __init__(self, message: str, *, store: str | None = None, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.store = store


class StoreRefusedError(StoreError):
    """The server refuses a request because of its API key, or because it came without one."""


class PeersMissingError(StoreError):
    """Peers of the server's cluster cannot be reached, and a request needs replicas that they have."""


class CollectionError(LookalikeError):
    """A collection does not exist or cannot be used.

    Attributes:
        collection: The collection's name, if known.
    """

    exit_code = 6

    def __init__(self, message: str, *, collection: str | None = None, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.collection = collection


class CollectionMissingError(CollectionError):
    """The collection does not exist.

    Attributes:
        holder: The process, as named in its lock, that is ingesting into the store and may be creating the
            collection; or None.
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
    """A collection or model is of another embedding space than requested, or was not made by Lookalike."""


class StoreLockedError(LookalikeError):
    """Another process holds the lock of the store or the collection.

    Attributes:
        holder: That process, as named in its lock; None if unknown.
        waited_s: How long the lock was waited for, in seconds.
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
