"""What the environment decides, read once at the start of a command."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from lookalike.errors import LookalikeError, UsageError
from lookalike.files import named_path

PROVIDERS = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The five environment variables, parsed.

    `home` holds `weights/`, `models/` and `qdrant/`. `provider` is one of `PROVIDERS`.
    """

    home: Path
    store: str | None = None
    qdrant_url: str | None = None
    qdrant_api_key: str | None = field(default=None, repr=False)
    provider: str = "auto"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Reads the variables; empty ones count as unset.

        Raises:
            UsageError: `LOOKALIKE_PROVIDER` is not one of `PROVIDERS`, or there is no home.
            LookalikeError: something that is no folder is where the home should be.
        """
        provider = (environment.get("LOOKALIKE_PROVIDER") or "auto").lower()
        if provider not in PROVIDERS:
            raise UsageError(f"LOOKALIKE_PROVIDER is {provider!r}; use one of {', '.join(PROVIDERS)}")
        home = environment.get("LOOKALIKE_HOME")
        return cls(
            home=_checked(named_path(home, "LOOKALIKE_HOME") if home else _default_home()),
            store=environment.get("LOOKALIKE_STORE") or None,
            qdrant_url=environment.get("QDRANT_URL") or None,
            qdrant_api_key=environment.get("QDRANT_API_KEY") or None,
            provider=provider,
        )

    def requiring_gpu(self, required: bool) -> Self:
        """The same settings, with CUDA as the only provider where it is required."""
        return replace(self, provider="cuda") if required else self

    @property
    def weights_dir(self) -> Path:
        """Downloaded weights files."""
        return self.home / "weights"

    @property
    def models_dir(self) -> Path:
        """Exported `.onnx` models."""
        return self.home / "models"

    @property
    def qdrant_dir(self) -> Path:
        """The embedded store's collections."""
        return self.home / "qdrant"


def _default_home() -> Path:
    from platformdirs import user_data_path

    with suppress(RuntimeError):  # of new versions; old ones give a path that begins with ~
        home = user_data_path("lookalike", appauthor=False)
        if home.is_absolute():
            return home
    raise UsageError(
        "there is no user's folder to keep models and collections in; name one with LOOKALIKE_HOME"
    )


def _checked(home: Path) -> Path:
    """It may be missing, and is made then; what can be made neither now nor later is said now."""
    try:
        problem = "" if stat.S_ISDIR(home.stat().st_mode) else "is not a folder"
    except FileNotFoundError:
        problem = ""
    except OSError as error:
        problem = f"cannot be looked into ({error.strerror})"
    if problem:
        raise LookalikeError(f"{home} {problem}; name the folder to keep everything in with LOOKALIKE_HOME")
    return home
