"""Opens pages in the user's browser, where there is one that shows them beside the terminal."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping

from lookalike_core.cli.console import say


def has_display(platform: str = sys.platform, variables: Mapping[str, str] = os.environ) -> bool:
    """Returns whether there is a screen for a browser: elsewhere one might take over the terminal."""
    if platform in ("win32", "darwin"):
        return True
    return any(variables.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def open_page(url: str) -> None:
    """Opens a URL in the browser, in a thread, since some browsers return only when they are closed."""
    if not has_display():
        say(f"there is no screen to open a browser on; open {url} where there is one")
        return
    threading.Thread(target=_open, args=(url,), daemon=True).start()


def _open(url: str) -> None:
    try:
        is_opened = webbrowser.open(url)
    except webbrowser.Error:
        is_opened = False
    if not is_opened:
        say(f"no browser was found; open {url} in one")
