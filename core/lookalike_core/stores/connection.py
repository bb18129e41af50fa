"""Connecting to a Qdrant server: reach it, authenticate, log warnings.

gRPC is used if its port answers, else HTTP, chosen once. Connecting is not retried, so that a wrong URL is
reported at once.
"""

import re
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

from lookalike_core.errors import StoreError
from lookalike_core.logs import get_logger
from lookalike_core.stores.address import GRPC_PORT, Secrets, ServerAddress, ServerConnection, check_api_key
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_http import ServerHttp
from lookalike_core.stores.server_reads import MessageReads, ModelReads
from lookalike_core.stores.server_tuning import DEFAULT_SERVER_TUNING, ServerTuning

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_logger = get_logger("stores")

_PROBE_TIMEOUT_S = 1

_RECONNECTING = {
    "grpc.initial_reconnect_backoff_ms": 500,
    "grpc.min_reconnect_backoff_ms": 500,
    "grpc.max_reconnect_backoff_ms": 2000,
}
"""gRPC's reconnection back-off: by default up to two minutes, which exceeds all of our retries."""


def connect(
    url: str,
    *,
    api_key: str | None,
    grpc_port: int | None = None,
    tuning: ServerTuning = DEFAULT_SERVER_TUNING,
) -> ServerStore:
    """Returns a store on the server at `url`, after the server has answered and accepted the key.

    Connecting is not retried; each later request is, after transient faults, which is logged. A user name and
    password in the URL are sent as HTTP basic authentication, for a reverse proxy. `grpc_port` is where gRPC
    is tried; None is Qdrant's default, used only with its default HTTP port.

    Raises:
        UsageError: `url` is not a URL, or the key cannot be sent.
        StoreError: nothing answers there, or it is not Qdrant, or it refuses the key.
    """
    address = ServerAddress.parse(url)
    check_api_key(api_key)
    secrets = Secrets.of(address, api_key)
    requests = Requests(address.label, secrets=secrets)
    grpc_port = _grpc_port(address, grpc_port)
    reach = partial(_reach, address, requests, api_key=api_key, timeout_s=tuning.connect_timeout_s)
    try:
        version = reach(grpc_port=grpc_port)
    except StoreError:
        if grpc_port is None:
            raise
        grpc_port = None  # something else has the port; where HTTP fails too, its message counts
        version = reach(grpc_port=None)
    for notice in _notices(address, secrets.redact(version), api_key=api_key):
        _logger.warning("%s", notice)
    client = _client(address, api_key=api_key, grpc_port=grpc_port, timeout_s=tuning.timeout_s)
    return ServerStore(
        client,
        label=address.label,
        secrets=secrets,
        reads=ModelReads(client) if grpc_port is None else MessageReads(client, timeout_s=tuning.timeout_s),
        tuning=tuning,
        http=ServerHttp(address, api_key=api_key, timeout_s=tuning.timeout_s),
        connection=ServerConnection(url=url, api_key=api_key),
    )


def _grpc_port(address: ServerAddress, wanted: int | None) -> int | None:
    """Returns the port that answers if gRPC may be used, else None."""
    if wanted is None and address.may_speak_grpc:
        wanted = GRPC_PORT
    return wanted if wanted is not None and _answers(address.host, wanted) else None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _reach(
    address: ServerAddress,
    requests: Requests,
    *,
    api_key: str | None,
    grpc_port: int | None,
    timeout_s: int,
) -> str:
    """Returns the server's version, after a request with a short timeout for its collections."""

    def reach() -> str:
        client = _client(address, api_key=api_key, grpc_port=grpc_port, timeout_s=timeout_s)
        try:
            version = client.info().version
            client.get_collections()
            return version
        finally:
            client.close()

    try:
        return requests.make(reach, "connecting", tries=1)
    except StoreError as error:
        scheme = _other_scheme(address) if grpc_port is None else None
        if scheme is None:
            raise
        said = "does not speak TLS" if scheme == "http" else "speaks TLS"
        rest = address.label.partition("://")[2]
        raise StoreError(
            f"connecting failed on {address.label}: the port {said}; write {scheme}://{rest}",
            store=address.label,
        ) from error


def _other_scheme(address: ServerAddress) -> str | None:
    """Returns the scheme that the URL should have, if the port proves to speak the other one."""
    tls = _speaks_tls(address)
    if address.scheme == "http":
        return "https" if tls else None
    return "http" if not tls and _speaks_http(address) else None


def _speaks_tls(address: ServerAddress) -> bool | None:
    """Returns whether a TLS handshake succeeds; None if that is unknown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=_PROBE_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # to refuse a handshake takes TLS too
    except (OSError, ValueError):
        return None


def _speaks_http(address: ServerAddress) -> bool:
    request = f"GET / HTTP/1.1\r\nHost: {address.host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address.host, address.port), timeout=_PROBE_TIMEOUT_S) as plain:
            plain.sendall(request.encode())
            return plain.recv(5).startswith(b"HTTP/")
    except OSError:
        return False


def _client(
    address: ServerAddress, *, api_key: str | None, grpc_port: int | None, timeout_s: int
) -> "QdrantClient":
    """Returns a client that sends the key as a header, without the client's own warning: `_notices` logs one.

    A proxy from the environment is not used for this machine, which no proxy can reach.
    """
    from qdrant_client import QdrantClient

    options: dict[str, Any] = {"grpc_options": dict(_RECONNECTING)}
    if address.is_loopback:
        options["trust_env"] = False
        options["grpc_options"]["grpc.enable_http_proxy"] = 0
    if address.scheme == "http":  # no certificates to load, which would take longer than all the rest
        options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if address.user is not None:
        options["auth"] = (address.user, address.password or "")
    if api_key is not None:
        options["headers"] = {"api-key": api_key}
    return QdrantClient(
        url=address.label,
        grpc_port=GRPC_PORT if grpc_port is None else grpc_port,
        prefer_grpc=grpc_port is not None,
        timeout=timeout_s,
        check_compatibility=False,
        **options,
    )


def _notices(address: ServerAddress, version: str, *, api_key: str | None) -> tuple[str, ...]:
    from importlib.metadata import version as installed

    ours = installed("qdrant-client")
    notices = []
    if not _compatible(ours, version):
        notices.append(
            f"the server at {address.label} is Qdrant {version} and the client here is {ours}; "
            "only one minor version apart is supported, so use a server of a closer version"
        )
    if address.scheme == "http" and not address.is_loopback:
        sent = {"the API key": api_key, "the user and password of the URL": address.user}
        secrets = (name for name, value in sent.items() if value is not None)
        notices += [f"unencrypted to {address.label}: {each}; use https" for each in secrets]
    return tuple(notices)


def _compatible(ours: str, theirs: str) -> bool:
    """Returns whether Qdrant supports the version pair: minors at most one apart; unknown versions pass."""
    here, there = (re.match(r"(\d+)\.(\d+)", version) for version in (ours, theirs))
    if not here or not there:
        return True
    return here[1] == there[1] and abs(int(here[2]) - int(there[2])) <= 1
