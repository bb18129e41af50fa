"""Who may ask a server."""

import pytest
from lookalike_core.errors import UsageError
from lookalike_search.serving.access import COOKIE, Access, is_loopback
from lookalike_search.serving.problems import Code, RefusedError

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - nobody's
LOCAL = Access(host="127.0.0.1")
BEYOND = Access(host="192.0.2.1", token=TOKEN)
WITH_NAMES = Access(
    host="127.0.0.1", hosts=frozenset({"images.example"}), origins=frozenset({"https://page.example"})
)


def refusal(access: Access, method: str = "GET", path: str = "/api/v1/query", **headers: str) -> Code | None:
    """Returns the code by which a request is refused; None where it is not."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        access.check(method, path, {"host": "127.0.0.1:8756"} | named)
    except RefusedError as error:
        return error.code
    return None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:8756", "localhost."])
def test_names_of_the_loopback_are_answered(host: str) -> None:
    """With any port, since a tunnel may have another."""
    assert refusal(LOCAL, host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "192.0.2.7",
        "[::2]",
        "a b",
        "::1",
        "localhost:x",
    ],
)
def test_other_names_are_refused(host: str) -> None:
    """A page could have them resolve to this machine, to ask in its own name."""
    assert refusal(LOCAL, host=host) is Code.HOST
    assert refusal(LOCAL, path="/livez", host=host) is Code.HOST


def test_further_names_and_any_address_can_be_allowed() -> None:
    """Addresses only where the server listens on all: nobody can have one resolve to it."""
    assert refusal(WITH_NAMES, host="Images.example:80") is None
    everywhere = Access(host="0.0.0.0", token=TOKEN)  # noqa: S104 - nothing listens
    bearer = f"Bearer {TOKEN}"
    assert refusal(everywhere, host="192.0.2.7:8756", authorization=bearer) is None
    assert refusal(everywhere, host="evil.example", authorization=bearer) is Code.HOST
    assert refusal(BEYOND, host="192.0.2.1", authorization=bearer) is None
    assert refusal(BEYOND, host="192.0.2.7", authorization=bearer) is Code.HOST


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8756.evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(method: str, headers: dict[str, str]) -> None:
    """Every request costs something, so that of an image in a page is refused, too."""
    assert refusal(LOCAL, method, **headers) is Code.ORIGIN


def test_own_pages_programs_and_allowed_origins_are_answered() -> None:
    """Programs send no origin."""
    assert refusal(LOCAL) is None
    assert refusal(LOCAL, "POST", origin="http://127.0.0.1:8756", sec_fetch_site="same-origin") is None
    assert refusal(WITH_NAMES, "POST", origin="https://page.example", sec_fetch_site="cross-site") is None
    assert refusal(WITH_NAMES, "POST", origin="https://pages.example") is Code.ORIGIN
    assert refusal(LOCAL, path="/login", sec_fetch_site="cross-site") is None
    assert refusal(LOCAL, "POST", path="/login", sec_fetch_site="cross-site") is Code.ORIGIN


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \xe9\u2026"},
        {"cookie": f"{COOKIE}={TOKEN}"},
        {"cookie": COOKIE},
        {"cookie": f"other={BEYOND.cookie}"},
    ],
)
def test_a_missing_or_wrong_token_is_refused(headers: dict[str, str]) -> None:
    """But for the paths that tell whether the server lives."""
    assert refusal(BEYOND, **headers) is Code.TOKEN
    assert refusal(BEYOND, path="/metrics", **headers) is Code.TOKEN
    assert refusal(BEYOND, path="/livez", **headers) is None


def test_the_token_is_taken_from_a_header_or_as_a_cookie() -> None:
    """The cookie does not hold the token."""
    assert refusal(BEYOND, authorization=f"bearer {TOKEN}") is None
    assert refusal(BEYOND, cookie=f"a=b; {COOKIE}={BEYOND.cookie}") is None
    assert TOKEN not in BEYOND.cookie
    assert BEYOND.cookie != Access(host="192.0.2.1", token="another").cookie  # noqa: S106 - nobody's


def test_paths_are_for_this_machine_alone() -> None:
    """A further name on loopback is that of a proxy, through which others ask."""
    assert LOCAL.is_local
    assert Access(host="::1", hosts=frozenset({"localhost", "127.0.0.2"})).is_local
    assert not WITH_NAMES.is_local
    assert not BEYOND.is_local


def test_a_server_that_others_reach_needs_a_token() -> None:
    """And one that fits into a header."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):  # noqa: S104 - nothing listens
        assert not is_loopback(host)
        with pytest.raises(UsageError, match="needs a token"):
            Access(host=host)
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert is_loopback(host)
        assert Access(host=host).token is None
    for token in ("", "two words", "caf\xe9", "line\nbreak"):
        with pytest.raises(UsageError, match="cannot hold"):
            Access(host="127.0.0.1", token=token)
    for origin in ("page.example", "https://", "https://page.example/path", "*"):
        with pytest.raises(UsageError, match="is no origin"):
            Access(host="127.0.0.1", origins=frozenset({origin}))


def test_other_sites_may_link_to_a_page() -> None:
    """Who follows a link sees it; scripts and frames of those sites are still refused."""
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert refusal(LOCAL, path="/browse", **link) is None
    assert refusal(LOCAL, "POST", path="/", **link) is Code.ORIGIN
    assert refusal(LOCAL, path="/api/v1/collections", **link) is Code.ORIGIN
    assert refusal(LOCAL, path="/browse", **link | {"sec_fetch_dest": "iframe"}) is Code.ORIGIN
    assert refusal(LOCAL, path="/browse", sec_fetch_site="cross-site", sec_fetch_mode="cors") is Code.ORIGIN
