"""Slows an ingest by Ray down, so that nodes can be killed amid it.

Run it as a script with the words of `ingest`: nodes are sent what a script defines.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from lookalike_ingest.engines import ray_tasks

PAUSE_S = 2
"""Seconds before each row of files."""

AT_ONCE = 4
MARKS = "embedded"
"""The folder of the marks."""


class SlowEmbedding(ray_tasks.Embedding):
    """Waits before it embeds, and leaves a mark for each row beside the folder of images."""

    def __call__(self, row: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Waits, leaves a mark, and embeds."""
        time.sleep(PAUSE_S)
        found = ray_tasks.unpack(row)[0].found
        marks = Path(found.root).parent / MARKS
        marks.mkdir(exist_ok=True)
        (marks / found.path.replace("/", "-")).touch()
        return super().__call__(row)


def main() -> None:
    """Runs the command with workers that wait, and with small batches for decisions and for writing."""
    from lookalike_ingest import apply
    from lookalike_ingest.__main__ import main
    from lookalike_ingest.engines import windows
    from lookalike_ingest.engines.ray_engine import RayEngine

    RayEngine.worker = SlowEmbedding
    apply.WRITTEN_AT_ONCE = windows.DECIDED_AT_ONCE = AT_ONCE
    main()


if __name__ == "__main__":
    main()
