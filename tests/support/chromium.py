"""A headless Chromium, spoken to over two pipes, to look at a page as people's browsers will.

It says what a page logged, what it asked for, and what it looks like (Chrome DevTools Protocol,
https://chromedevtools.github.io/devtools-protocol/).
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium is installed to look at the page with"
TIMEOUT_S = 60


def chromium() -> str | None:
    """The browser's program, where one is installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass(slots=True)
class Tab:
    """One open page: `logged` is what its console and its policy said, `requested` what it asked for."""

    browser: "_Pipe"
    session: str
    logged: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def open(self, page: Path) -> None:
        """Loads a file and waits until all of it is there."""
        self.logged.clear()
        self.requested.clear()
        self("Page.navigate", url=page.as_uri())
        self.browser.wait_for("Page.loadEventFired", self)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, promises waited for."""
        done = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def show_as(
        self,
        *,
        width: int = 1280,
        height: int = 900,
        phone: bool = False,
        scheme: Literal["light", "dark"] = "light",
    ) -> None:
        """The window's size and what the page's reader prefers."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """What is in the window, or all of the page, as PNG."""
        done = self("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(done["data"]))

    def print_to(self, file: Path) -> None:
        """The page as PDF, as printed without ticking "background graphics"."""
        done = self("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        file.write_bytes(base64.b64decode(done["data"]))

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol."""
        return self.browser.call(method, parameters, self)

    def hear(self, method: str, parameters: dict[str, Any]) -> None:
        """Notes an event."""
        match method:
            case "Runtime.consoleAPICalled":
                self.logged.append(f"{parameters['type']}: {parameters['args']}")
            case "Runtime.exceptionThrown":
                self.logged.append(f"exception: {parameters['exceptionDetails']}")
            case "Log.entryAdded":
                self.logged.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])


_STARTER = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
os.dup2(pipes[0], 3)
os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium wants its pipes as 3 and 4, which others may be by now; a shell knows no numbers over 9."""


@contextmanager
def open_tab(program: str, profile: Path) -> Iterator[Tab]:
    """An empty page in a browser of its own, which ends with the block."""
    our_read, its_write = os.pipe()
    its_read, our_write = os.pipe()
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command += [f"--user-data-dir={profile}", "--no-first-run", "--hide-scrollbars", "about:blank"]
    starter = [sys.executable, "-c", _STARTER, str(its_read), str(its_write), *command]
    with subprocess.Popen(starter, pass_fds=(its_read, its_write), stderr=subprocess.DEVNULL) as process:
        os.close(its_read)
        os.close(its_write)
        with os.fdopen(our_read, "rb") as source, os.fdopen(our_write, "wb") as target:
            browser = _Pipe(source, target)
            try:
                yield browser.new_tab()
            finally:
                browser.call("Browser.close", {}, None)
                process.wait(TIMEOUT_S)


class _Pipe:
    """Messages are JSON with a zero byte behind each."""

    def __init__(self, source: Any, target: Any) -> None:
        self._source, self._target = source, target
        self._number = 0
        self._events: list[str] = []

    def new_tab(self) -> Tab:
        target = self.call("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
        attached = self.call("Target.attachToTarget", {"targetId": target, "flatten": True}, None)
        tab = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab(f"{domain}.enable")
        return tab

    def call(self, method: str, parameters: dict[str, Any], tab: Tab | None) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if tab is not None:
            message["sessionId"] = tab.session
        self._target.write(json.dumps(message).encode() + b"\0")
        self._target.flush()
        while True:
            heard = self._next(tab)
            if heard.get("id") == self._number:
                assert "error" not in heard, (method, heard)
                return dict(heard["result"])

    def wait_for(self, event: str, tab: Tab) -> None:
        while event not in self._events:
            self._next(tab)
        self._events.clear()

    def _next(self, tab: Tab | None) -> dict[str, Any]:
        data = bytearray()
        while not data.endswith(b"\0"):
            byte = self._source.read(1)
            assert byte, "Chromium ended by itself"
            data += byte
        message: dict[str, Any] = json.loads(data[:-1])
        if tab is not None and "method" in message:
            self._events.append(message["method"])
            tab.hear(message["method"], message["params"])
        return message
