"""Tests where a browser is opened."""

import webbrowser

import pytest
from lookalike_search.commands import web_browser


@pytest.mark.parametrize(
    ("platform", "variables", "has"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_a_display_is_found(platform: str, variables: dict[str, str], has: bool) -> None:
    """On Linux by its variables; elsewhere there is one."""
    assert web_browser.has_display(platform, variables) is has


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("is_opened", [True, False])
def test_the_address_is_said_where_no_browser_is_opened(
    has: bool, is_opened: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a screen none is tried, since it might take over the terminal."""
    tried: list[str] = []

    def open_(url: str) -> bool:
        tried.append(url)
        return is_opened

    monkeypatch.setattr(webbrowser, "open", open_)
    monkeypatch.setattr(web_browser, "has_display", lambda: has)
    monkeypatch.setattr(web_browser.threading, "Thread", Immediately)
    web_browser.open_page("http://127.0.0.1:1")
    assert tried == ["http://127.0.0.1:1"] * has
    assert ("open http://127.0.0.1:1" in capsys.readouterr().err) is not (has and is_opened)


class Immediately:
    """A thread that runs where it is started."""

    def __init__(self, *, target: object, args: tuple[str], daemon: bool) -> None:
        assert daemon
        assert callable(target)
        self._target, self._arguments = target, args

    def start(self) -> None:
        """Runs it."""
        self._target(*self._arguments)
