"""Every error that Lookalike raises, below one root.

LookalikeError                 `.path`: the file or folder concerned; `.hint`: what to do, as data
├── UsageError                 arguments do not fit together; `.argument` is the one concerned
│   └── FoldersError           some of several folders could not be added; `.reports` are of the others
├── ModelError                 a model is not available or cannot be run
│   ├── WeightsError           weights are missing, damaged or of another network
│   └── ProviderError          a required execution provider is not available
├── ImageError                 an image cannot be read; `.reason` says why, `.limit` which limit it exceeds
│   └── MissingDecoderError    its decoder is not installed; `.needed` names it
├── StoreError                 the store cannot be reached or refuses; `.store` is its address
│   ├── StoreRefusedError      the API key does not permit the request
│   └── PeersMissingError      a cluster lacks peers with replicas that the request needs
├── CollectionError            a collection does not fit; `.collection` is its name
│   ├── CollectionMissingError it does not exist; `.holder` is a process that may be creating it
│   └── ManifestError          it exists and holds another embedding space, or is not of Lookalike
└── StoreLockedError           another process has it open, `.holder`; it was waited for `.waited_s`

`.hint` is None where the message says what to do, or nothing can be done. Otherwise it is a `Hint`: an
`Action` as `action`, and `values` by `Argument`. Commands turn it into words about options.
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
    PeersMissingError,
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
    "PeersMissingError",
    "ProviderError",
    "SkipReason",
    "StoreError",
    "StoreLockedError",
    "StoreRefusedError",
    "UsageError",
    "WeightsError",
]


class FoldersError(UsageError):
    """Some of several folders could not be added; the others were.

    Attributes:
        reports: The reports of the folders that were added, in their order.
        errors: The errors of the others, by folder.
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
