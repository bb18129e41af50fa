"""Messages of the commands of an ingest that repeat themselves."""

import logging

import pytest
from lookalike_core.cli.console import reporting
from lookalike_core.logs import get_logger
from lookalike_ingest.commands.notices import saying_once


def test_messages_of_the_run_before_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """One that a run did without is said again; the filter is gone in the end."""
    logger = get_logger("ingest")
    with reporting():
        with saying_once() as forget:
            for run in (("a", "b"), ("a",), ("a", "b"), ("a", "a", "b")):
                for message in run:
                    logger.warning("%s", message)
                forget()
        logger.warning("a")
    assert capsys.readouterr().err.split() == ["a", "b", "b", "a"]
    assert not any(handler.filters for handler in logging.getLogger("lookalike").handlers)
