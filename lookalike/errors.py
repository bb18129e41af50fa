"""Every error that Lookalike raises, below one root.

LookalikeError                 `.path`: the file or folder it is about; `.hint`: what can be done, as data
├── UsageError                 what was asked for does not fit together; `.argument` is what it is about
│   └── FoldersError           some of several folders could not be added; `.reports` are those of the others
├── ModelError                 a model that cannot be had or run
│   ├── WeightsError           weights missing, damaged or of another network
│   └── ProviderError          a required execution provider that is not there
├── ImageError               an image that cannot be read; `.reason` says why, `.limit` what was passed
│   └── MissingDecoderError    what would read it is not installed; `.needed` names it
├── StoreError                 the store cannot be reached or refuses; `.store` is where it is
│   └── StoreRefusedError      the key may not do that
├── CollectionError            a collection that does not fit; `.collection` is its name
│   ├── CollectionMissingError it is not there; `.holder` is a process that may be making it
│   └── ManifestError          it is there and holds another space, or is not ours
└── StoreLockedError           another process is using it; `.holder` is which, `.waited_s` for how long

`.hint` is None where the message says what can be done, or nothing can. Else it is a `Hint`: its `action` is
an `Action`, its `values` say with which values of each `Argument`. Commands put it into words about options.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lookalike_core.errors import (
    CollectionError,
    CollectionMissingError,
    ImageError,
    LookalikeError,
    ManifestError,
    MissingDecoderError,
    ModelError,
    ProviderError,
    SkipReason,
    StoreError,
    StoreLockedError,
    StoreRefusedError,
    UsageError,
    WeightsError,
)
from lookalike_core.hints import Action, Argument, Hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lookalike.records import AddReport

__all__ = [
    "Action",
    "Argument",
    "CollectionError",
    "CollectionMissingError",
    "FoldersError",
    "Hint",
    "ImageError",
    "LookalikeError",
    "ManifestError",
    "MissingDecoderError",
    "ModelError",
    "ProviderError",
    "SkipReason",
    "StoreError",
    "StoreLockedError",
    "StoreRefusedError",
    "UsageError",
    "WeightsError",
]


class FoldersError(UsageError):
    """Some of several folders could not be added; the others are in the index.

    Attributes:
        reports: Those of the folders that were added, in their order.
        errors: What is wrong with each of the others, by folder.
    """

    def __init__(self, *, reports: "Sequence[AddReport]", errors: Mapping[Path, UsageError]) -> None:
        first = next(iter(errors.values()))
        super().__init__(
            f"{len(errors)} of {len(reports) + len(errors)} folders could not be added: "
            + "; ".join(map(str, errors.values())),
            argument=first.argument,
            path=first.path,
            hint=first.hint,
        )
        self.reports = tuple(reports)
        self.errors = dict(errors)
