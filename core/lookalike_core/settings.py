"""Settings from the environment, read once at the start of a command."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from lookalike_core.atomic import parse_path
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.hints import Action, Argument, Hint


class ProviderChoice(StrEnum):
    """The execution providers that can be chosen for embedding."""

    AUTO = "auto"
    CUDA = "cuda"
    OPENVINO = "openvino"
    CPU = "cpu"


VARIABLES = {
    "LOOKALIKE_HOME": "The folder of `weights/`, `models/`, `heads/` and `qdrant/`; "
    "default: the platform's user data folder.",
    "LOOKALIKE_STORE": "The store: `auto`, `embedded`, `embedded:DIR` or a URL.",
    "QDRANT_URL": "A Qdrant server, where no store is named.",
    "QDRANT_API_KEY": "The key of that server, or of the one that is named as the store; "
    "no other server gets it.",
    "LOOKALIKE_PROVIDER": "What to embed on: `cuda`, `openvino`, `cpu` or, by default, `auto`: CUDA, else "
    "OpenVINO where it pays, else the CPU.",
    "LOOKALIKE_TOKEN": "The token that clients of a server have to show.",
}
"""The environment variables that are read, and what each means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment variables, parsed.

    `home` holds `weights/`, `models/`, `heads/` and `qdrant/`. `provider` is the execution provider to embed
    on. `threads` is the number of threads for embedding on the CPU; None is chosen for the machine. `token`
    is what clients of `search serve` have to show.
    """

    home: Path
    store: str | None = None
    qdrant_url: str | None = None
    qdrant_api_key: str | None = field(default=None, repr=False)
    provider: ProviderChoice = ProviderChoice.AUTO
    threads: int | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Reads the variables; empty ones count as unset.

        Raises:
            UsageError: `LOOKALIKE_PROVIDER` is no provider, or no home folder is known.
            LookalikeError: the path of the home is not a folder.
        """
        provider = (environment.get("LOOKALIKE_PROVIDER") or ProviderChoice.AUTO).lower()
        if provider not in list(ProviderChoice):
            raise UsageError(f"LOOKALIKE_PROVIDER is {provider!r}; use one of {', '.join(ProviderChoice)}")
        home = environment.get("LOOKALIKE_HOME")
        return cls(
            home=_check_home(parse_path(home, "LOOKALIKE_HOME") if home else _default_home()),
            store=environment.get("LOOKALIKE_STORE") or None,
            qdrant_url=environment.get("QDRANT_URL") or None,
            qdrant_api_key=environment.get("QDRANT_API_KEY") or None,
            provider=ProviderChoice(provider),
            token=environment.get("LOOKALIKE_TOKEN") or None,
        )

    def with_provider(
        self, provider: ProviderChoice | None, *, require_gpu: bool, threads: int | None = None
    ) -> Self:
        """Returns the same settings with the provider that was named, or with CUDA if a GPU is required.

        Raises:
            UsageError: a GPU is required and another provider was named.
        """
        if not require_gpu:
            return replace(self, provider=provider or self.provider, threads=threads)
        if provider not in (None, ProviderChoice.AUTO, ProviderChoice.CUDA):
            raise UsageError(
                f"a GPU is required, and {provider} is not one",
                argument=Argument.PROVIDER,
                hint=Hint(Action.LEAVE_ONE_OUT, {Argument.REQUIRE_GPU: None, Argument.PROVIDER: None}),
            )
        return replace(self, provider=ProviderChoice.CUDA, threads=threads)

    @property
    def weights_dir(self) -> Path:
        """Returns the folder of downloaded weights files."""
        return self.home / "weights"

    @property
    def models_dir(self) -> Path:
        """Returns the folder of exported `.onnx` models."""
        return self.home / "models"

    @property
    def optimized_dir(self) -> Path:
        """Returns the folder of optimized graphs; see `lookalike_core.models.graph_cache`."""
        return self.models_dir / "optimized"

    @property
    def heads_dir(self) -> Path:
        """Returns the folder of fitted heads."""
        return self.home / "heads"

    @property
    def qdrant_dir(self) -> Path:
        """Returns the folder of the embedded store's collections."""
        return self.home / "qdrant"


def _default_home() -> Path:
    from platformdirs import user_data_path

    with suppress(RuntimeError):  # of new versions; old ones give a path that begins with ~
        home = user_data_path("lookalike", appauthor=False)
        if home.is_absolute():
            return home
    raise UsageError("this user has no home folder for models and collections", hint=Hint(Action.SET_HOME))


def _check_home(home: Path) -> Path:
    """Refuses a home that can neither be used nor created; a missing one is created later."""
    try:
        problem = "" if stat.S_ISDIR(home.stat().st_mode) else "is not a folder"
    except FileNotFoundError:
        problem = ""
    except OSError as error:
        problem = f"cannot be accessed ({error.strerror})"
    if problem:
        raise LookalikeError(f"{home} {problem}", path=home, hint=Hint(Action.SET_HOME))
    return home
