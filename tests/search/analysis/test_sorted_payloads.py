"""Tests payloads in one order, with a temporary database."""

import errno
import sqlite3
from pathlib import Path
from unittest import mock

import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_search.analysis.sorted_payloads import SortedPayloads
from made_collections import collection_of, point_of


def test_payloads_are_sorted_and_unchanged(tmp_path: Path) -> None:
    """By dataset and path, character by character; every field is as it was."""
    points = [
        point_of(path, [1, 2], dataset=dataset, class_name=class_name, mtime_ns=2**62, moved_from="x")
        for dataset in ("b", "a", "Ä")
        for path, class_name in (("z.jpg", None), ("10.jpg", "1"), ("9.jpg", "cat"), ("\uffff.jpg", "k"))
    ]
    points.append(point_of("\U0001f600.jpg", [2, 1], dataset="a", ctime_ns=7, synset="n01440764"))
    with collection_of(EmbeddedStore(tmp_path), points) as collection:
        payloads = SortedPayloads(collection)
    batches = list(payloads.batches(5))
    assert [len(batch) for batch in batches] == [5, 5, 3]
    wanted = sorted((point.payload for point in points), key=lambda payload: payload.sort_key)
    assert [payload for batch in batches for payload in batch] == wanted
    assert (len(payloads), payloads.datasets) == (13, {"a", "b", "Ä"})
    payloads.close()


def test_a_full_temporary_folder_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """Commands then say so, as of any other disk."""
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    database = mock.Mock(**{"executemany.side_effect": full})
    with (
        collection_of(EmbeddedStore(tmp_path), []) as collection,
        mock.patch("sqlite3.connect", return_value=database),
        pytest.raises(OSError, match="database or disk is full") as error,
    ):
        SortedPayloads(collection)
    assert error.value.errno == errno.ENOSPC
    database.close.assert_called_once_with()
