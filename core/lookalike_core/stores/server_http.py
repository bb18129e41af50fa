"""Requests by a server's documented HTTP interface, for what qdrant-client does not offer over gRPC."""

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lookalike_core.stores.address import ServerAddress
from lookalike_core.stores.faults import refuse_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


class ServerHttp:
    """Requests to one server over HTTP; none is retried here."""

    def __init__(self, address: ServerAddress, *, api_key: str | None, timeout_s: float) -> None:
        self._address, self._api_key, self._timeout_s = address, api_key, timeout_s

    @property
    def label(self) -> str:
        """The server's URL, without credentials."""
        return self._address.label

    def with_timeout(self, timeout_s: float) -> "ServerHttp":
        """Returns requests to the same server that wait no longer for each step of an answer."""
        return ServerHttp(self._address, api_key=self._api_key, timeout_s=min(timeout_s, self._timeout_s))

    def ask(self, method: str, path: str, *, answer_timeout_s: float = 0.0, **options: Any) -> Any:  # noqa: ANN401 - of httpx, and JSON
        """Returns the result in the answer, from JSON.

        `answer_timeout_s` is how long the server may take to answer, if longer than other requests may.

        Raises:
            UnexpectedResponse: the answer is a refusal; `fault_of` says what it stands for.
        """
        with self.client(answer_timeout_s=answer_timeout_s) as client:
            response = client.request(method, path, **options)
            refuse_answer(response)
            return response.json().get("result")

    @contextmanager
    def client(self, *, answer_timeout_s: float = 0.0) -> "Iterator[httpx.Client]":
        """Yields a client as `connection` configures qdrant-client's."""
        import httpx

        address, options = self._address, dict[str, Any]()
        if address.is_loopback:
            options["trust_env"] = False
        if address.scheme == "http":  # no certificates to load
            options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if address.user is not None:
            options["auth"] = (address.user, address.password or "")
        if self._api_key is not None:
            options["headers"] = {"api-key": self._api_key}
        timeout = httpx.Timeout(self._timeout_s, read=max(self._timeout_s, answer_timeout_s))
        with httpx.Client(base_url=address.label, timeout=timeout, **options) as client:
            yield client
