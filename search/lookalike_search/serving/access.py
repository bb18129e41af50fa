"""Who may ask: the hosts, origins and the token of a server, checked before anything is read."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lookalike_core.errors import UsageError

from lookalike_search.serving.problems import Code, RefusedError

COOKIE = "lookalike"

OPEN_PATHS = frozenset({"/livez", "/readyz", "/login"})
"""What needs no token: whether the server lives, and the page that asks for the token."""

STATIC = "/static/"
"""Style sheets and scripts, which are the same on every server, so that the login page can have them."""

PAGES = frozenset({"/", "/browse", "/map", "/duplicates", "/evaluation"})
"""What other sites may link to, as to any page: their own scripts cannot read it."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = ("GET", "HEAD")
_FOREIGN_SITES = ("cross-site", "same-site")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a server on `host` answers: requests with its `token`, if it has one, and to its own names.

    `hosts` are further names under which it is reached, and `origins` those of pages that may ask, such as
    `https://example.org`.
    """

    host: str
    token: str | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuses a server that others could reach without a token.

        Raises:
            UsageError: it has none, or it is no token, or an origin is none.
        """
        if self.token is None and not is_loopback(self.host):
            raise UsageError(f"{self.host} can be reached from other machines, which needs a token")
        if self.token is not None and not re.fullmatch(r"[\x21-\x7e]+", self.token):
            raise UsageError("the token has characters that a header cannot hold; use letters and digits")
        for origin in self.origins:
            if not re.fullmatch(r"https?://[^/?#@\s]+", origin):
                raise UsageError(f"{origin!r} is no origin; give one like https://example.org")

    @property
    def is_local(self) -> bool:
        """Whether only this machine asks, as far as is known: a further name is mostly that of a proxy."""
        return is_loopback(self.host) and all(map(is_loopback, self.hosts))

    @property
    def cookie(self) -> str:
        """The value of the cookie that stands for the token, from which the token cannot be computed."""
        return hmac.new((self.token or "").encode(), b"lookalike cookie", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Returns whether a text is the token, in a time that does not depend on where they differ."""
        return self.token is not None and _are_equal(text, self.token)

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Refuses a request that is not for this server, comes from a foreign page, or lacks the token.

        Raises:
            RefusedError: it is one.
        """
        self._check_host(headers.get("host", ""))
        self._check_origin(method, path, headers)
        if path not in OPEN_PATHS and not path.startswith(STATIC):
            self._check_token(headers)

    def allowed_origin(self, headers: Mapping[str, str]) -> str | None:
        """Returns the foreign origin of a request if its pages may ask, else None."""
        origin = headers.get("origin", "").lower()
        return origin if origin in self.origins else None

    def _check_host(self, header: str) -> None:
        """Refuses names that others gave this server: a page could have its own name resolve to it."""
        host = _host_of(header)
        if host in self.hosts or host in _LOOPBACK_NAMES or host == self.host.lower():
            return
        if self._is_any_address and _is_address(host):
            return
        raise RefusedError(Code.HOST, "the Host of the request is not a name of this server")

    @property
    def _is_any_address(self) -> bool:
        return _is_address(self.host) and ipaddress.ip_address(self.host).is_unspecified

    def _check_origin(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        if self.allowed_origin(headers) is not None:
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "")
        is_own = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
        is_link = method in _SAFE_METHODS and (path in OPEN_PATHS or _is_followed(path, headers))
        if not is_own or (site in _FOREIGN_SITES and not is_link):
            raise RefusedError(Code.ORIGIN, "pages of other origins may not ask this server")

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if self.token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return
        if _are_equal(_cookie_of(headers.get("cookie", "")), self.cookie):
            return
        raise RefusedError(Code.TOKEN, "the token is missing or wrong; send Authorization: Bearer TOKEN")


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches a server on a host."""
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_followed(path: str, headers: Mapping[str, str]) -> bool:
    """Returns whether somebody follows a link to a page, which a browser shows by itself."""
    modes = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return path in PAGES and modes == ("navigate", "document")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host_of(header: str) -> str:
    """Returns the host of a `Host` header without its port, or brackets; "" for a malformed one."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:\s/@]+))(?::\d{1,5})?", header.lower())
    return (found[1] or found[2]).rstrip(".") if found else ""


def _cookie_of(header: str) -> str:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), "")


def _are_equal(text: str, other: str) -> bool:
    """Compares hashes, so that the time does not even depend on the lengths."""
    digests = (hashlib.sha256(each.encode("utf-8", "replace")).digest() for each in (text, other))
    return hmac.compare_digest(*digests)
