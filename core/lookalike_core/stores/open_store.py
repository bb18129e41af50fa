"""The choice of the store that a command uses.

In this order: `--store`, `LOOKALIKE_STORE`, `QDRANT_URL`, else `auto`: a Qdrant server on this machine if one
runs, otherwise the embedded store. A store that was named never falls back. The API key in the environment is
sent only to a server that was named, not to one that was found.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lookalike_core.atomic import parse_path
from lookalike_core.errors import StoreError, StoreRefusedError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.settings import Settings
from lookalike_core.stores.address import HTTP_PORT, ServerAddress
from lookalike_core.stores.collection_names import is_collection_name
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.probe import ANSWER_TIMEOUT_S, LOCAL_HOST, is_qdrant, qdrant_has
from lookalike_core.stores.protocol import Store

_FORMS = "use auto, embedded, embedded:DIR, or the URL of a server like http://127.0.0.1:6333"


def open_store(
    named: str | None,
    settings: Settings,
    *,
    argument: Argument = Argument.STORE,
    local_port: int = HTTP_PORT,
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> Store:
    """Returns the store to use; a server has answered and, if it was named, accepted the key.

    `named` is the value of `argument`: `auto`, `embedded`, `embedded:DIR` or a URL. Retried requests to a
    server, and lost points of an embedded collection, are logged.

    Raises:
        UsageError: the store's name is malformed.
        StoreError: the server or folder that was named, or found, cannot be used.
    """
    text, origin = settings.store, "LOOKALIKE_STORE"
    if named is not None:
        text, origin = named, argument
    if text is None and settings.qdrant_url is not None:
        return _server(settings.qdrant_url, "QDRANT_URL", settings)
    if text is not None and text != "auto":
        return _named_store(text, origin, settings)
    if is_qdrant(local_port, timeout_s=answer_timeout_s):
        return _found(f"http://{LOCAL_HOST}:{local_port}")
    return _embedded(settings.qdrant_dir, "embedded")


def find_other_store(
    name: str, store: Store, settings: Settings, *, local_port: int = HTTP_PORT
) -> str | None:
    """Returns the value of `--store` that reaches a collection which `store` does not have.

    Checks the embedded store and a server on this machine, unless `store` is it. None if neither has the
    collection; never raises, and takes some tenths of a second at most.
    """
    with suppress(Exception):
        for said in _others(store, settings, local_port):
            if said == "embedded" and name in EmbeddedStore(settings.qdrant_dir):
                return said
            if said != "embedded" and _server_has(name, local_port):
                return said
    return None


def check_store_name(text: str, origin: Argument | str) -> None:
    """Refuses a malformed name of a store, without opening the store; `origin` is where the name stands.

    Raises:
        UsageError: it is neither `auto`, `embedded`, `embedded:DIR` nor a URL.
    """
    if text != "auto" and _embedded_folder(text, origin) is None:
        _check_url(text, origin)


def _named_store(text: str, origin: Argument | str, settings: Settings) -> Store:
    folder = _embedded_folder(text, origin)
    if folder is None:
        return _server(text, origin, settings)
    if not folder:
        return _embedded(settings.qdrant_dir, "embedded")
    return _embedded(Path(folder), f"embedded:{folder}")


def _embedded_folder(text: str, origin: Argument | str) -> str | None:
    """Returns the folder of an embedded store, "" for the default one; None if it is no embedded store."""
    kind, separator, directory = text.partition(":")
    if kind != "embedded":
        return None
    if separator and not directory:
        raise UsageError.of(origin, f"{text!r} names no folder; {_FORMS}")
    return str(parse_path(directory, origin)) if directory else ""


def _embedded(folder: Path, label: str) -> EmbeddedStore:
    """Opens a folder as a store; a missing one counts as empty, an inaccessible one is refused."""
    try:
        with os.scandir(folder):
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(
            f"{folder} cannot hold collections ({error.strerror}); make it a folder that you can access",
            path=folder,
            hint=Hint(Action.CHANGE_FOLDER),
        ) from error
    return EmbeddedStore(folder, label=label)


def _server(url: str, origin: Argument | str, settings: Settings) -> Store:
    _check_url(url, origin)
    from lookalike_core.stores.connection import connect

    return connect(url, api_key=settings.qdrant_api_key)


def _check_url(url: str, origin: Argument | str) -> None:
    try:
        ServerAddress.parse(url)
    except UsageError as error:
        problem = str(error).partition("; ")[0]
        forms = _FORMS if ":" in url or "@" in url else f"for a folder write embedded:{url}; or {_FORMS}"
        raise UsageError.of(origin, f"{problem}; {forms}") from None


def _found(url: str) -> Store:
    """Connects without a key to a server that was found, not named: any user here could fake one."""
    from lookalike_core.stores.connection import connect

    try:
        return connect(url, api_key=None)
    except StoreRefusedError as error:
        raise StoreError(
            f"the Qdrant server at {url} requires an API key, which is sent only to a server that is named",
            store=url,
            hint=Hint(Action.NAME_SERVER, {Argument.STORE: url}),
        ) from error


def _others(store: Store, settings: Settings, local_port: int) -> Iterator[str]:
    if not (isinstance(store, EmbeddedStore) and store.directory == settings.qdrant_dir):
        yield "embedded"
    if isinstance(store, EmbeddedStore):
        yield f"http://{LOCAL_HOST}:{local_port}"


def _server_has(name: str, port: int) -> bool:
    return is_collection_name(name) and qdrant_has(name, port)
