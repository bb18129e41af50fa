"""Every error that Lookalike raises, below one root.

LookalikeError                 `.path`: the file or folder it is about; `.hint`: what can be done, as data
├── UsageError                 what was asked for does not fit together; `.argument` is what it is about
├── ModelError                 a model that cannot be had or run
│   ├── WeightsError           weights missing, damaged or of another network
│   └── ProviderError          a required execution provider that is not there
├── PictureError               an image that cannot be read; `.reason` says why, `.limit` what was passed
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

from lookalike_core.errors import (
    CollectionError,
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    MissingDecoderError,
    ModelError,
    PictureError,
    ProviderError,
    SkipReason,
    StoreError,
    StoreLockedError,
    StoreRefusedError,
    UsageError,
    WeightsError,
)
from lookalike_core.hints import Action, Argument, Hint

__all__ = [
    "Action",
    "Argument",
    "CollectionError",
    "CollectionMissingError",
    "Hint",
    "LookalikeError",
    "ManifestError",
    "MissingDecoderError",
    "ModelError",
    "PictureError",
    "ProviderError",
    "SkipReason",
    "StoreError",
    "StoreLockedError",
    "StoreRefusedError",
    "UsageError",
    "WeightsError",
]
