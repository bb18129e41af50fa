"""A Qdrant server's URL and API key, and the redaction of both."""

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Hint

HTTP_PORT = 6333
"""The default port, for `https` too: qdrant-client's own rule. Write `:443` for 443."""

GRPC_PORT = 6334
"""The gRPC port beside `HTTP_PORT`; that of a server on another port is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A server's parsed URL; `label` is its form for messages and reports."""

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads `http[s]://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`.

        Raises:
            UsageError: the URL is malformed.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError(_malformed(url)) from None  # it may quote a part of a password
        if (
            parts.scheme not in ("http", "https")
            or not host
            or parts.query
            or parts.fragment
            or "@" in parts.path
        ):
            raise UsageError(_malformed(url))
        return cls(
            scheme=parts.scheme,
            host=host,
            port=HTTP_PORT if port is None else port,
            path=parts.path.rstrip("/"),
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    @property
    def label(self) -> str:
        """Its URL with the port and without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def may_speak_grpc(self) -> bool:
        """Whether gRPC can be used: it has its own port, and supports neither paths nor user names."""
        return self.port == HTTP_PORT and not self.path and self.user is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConnection:
    """What `connect` takes: with it, another process reaches the same server. It has the credentials."""

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine reach the server by its URL."""
        return ServerAddress.parse(self.url).is_loopback


@dataclass(frozen=True, slots=True)
class Secrets:
    """Credentials sent to a server, in every form in which an answer may contain them."""

    forms: tuple[str, ...] = field(default=(), repr=False)
    user: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: ServerAddress, api_key: str | None) -> Self:
        """Returns the key, password and user name: plain, escaped, and as in headers."""
        user, password = address.user or "", address.password or ""
        plain = [text for text in (api_key, password) if text]
        forms = {form for text in plain for form in (text, quote(text, safe=""), json.dumps(text)[1:-1])}
        if user or password:
            forms.add(b64encode(f"{user}:{password}".encode()).decode())
        return cls(tuple(sorted(forms, key=len, reverse=True)), user or None)

    def __bool__(self) -> bool:
        return bool(self.forms)

    def redact(self, text: str) -> str:
        """Returns the text without credentials.

        A user name, which may be a common word, only as a whole word.
        """
        patterns = [re.escape(form) for form in self.forms]
        if self.user is not None:
            patterns.append(rf"(?<!\w){re.escape(self.user)}(?!\w)")
        return re.sub("|".join(patterns), "***", text, flags=re.IGNORECASE) if patterns else text


NO_SECRETS = Secrets()


def check_api_key(api_key: str | None) -> None:
    """Refuses a key that cannot be sent in a header, since libraries would quote it in their errors.

    Raises:
        UsageError: the key has characters that a header cannot carry.
    """
    sendable = api_key is None or (api_key.isascii() and api_key.isprintable() and api_key == api_key.strip())
    if not sendable:
        raise UsageError(
            "the API key contains characters that cannot be sent, perhaps a line break at its end",
            hint=Hint(Action.CORRECT_KEY),
        )


def _malformed(url: str) -> str:
    shown = re.sub(r"^(\w+://)?.*@", r"\1", url, flags=re.DOTALL).partition("?")[0].partition("#")[0]
    return f"{shown!r} is not the URL of a server; write it like http://127.0.0.1:6333"
