"""Tests tables in CSV and matrices in NumPy's format."""

import csv
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.stores.points import Payload
from lookalike_core.tables.rows import COLUMNS, TableBatch, has_formula
from lookalike_core.tables.text_files import is_csv_table, open_csv, open_matrix
from made_collections import manifest_of, payload_of, random_vectors

MANIFEST = manifest_of(datasets={"data": "/data/\udcff"})


def batch_of(*payloads: Payload) -> TableBatch:
    """Returns a batch of these images with random vectors."""
    vectors = np.array(random_vectors(max(1, len(payloads)), 2))[: len(payloads)]
    return TableBatch(payloads=payloads, vectors=vectors)


def test_names_of_every_kind_survive_csv(tmp_path: Path) -> None:
    """Line breaks, quotes, commas and formulas are as in the store; a root that is not UTF-8 is mended."""
    names = ['a "b",\nc\rd.jpg', "=HYPERLINK(1).jpg", "ü.jpg", "plain.jpg"]
    payloads = [payload_of(name, class_name=None if name == "ü.jpg" else name) for name in names]
    with open_csv(tmp_path / "a.csv", MANIFEST) as table:
        table.write(batch_of(*payloads[:2]))
        table.write(batch_of(*payloads[2:]))
    text = (tmp_path / "a.csv").read_bytes().decode()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["path"] for row in rows] == names
    assert [row["class"] for row in rows] == [names[0], names[1], "", names[3]]
    assert rows[3]["file"] == "/data/\ufffd/plain.jpg"
    assert rows[3]["bytes"] == "123456"
    assert rows[3]["taken_at"] == ""
    assert text.count("\r") == 3  # in the name alone
    assert is_csv_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "is_formula"),
    [("=1.jpg", True), ("@a.jpg", True), ("-1.jpg", True), ("+1.jpg", True), ("a=1.jpg", False)],
)
def test_names_that_spreadsheets_take_for_formulas_are_found(name: str, is_formula: bool) -> None:
    """The path counts, and so does the class."""
    assert has_formula(payload_of(name)) is is_formula
    assert has_formula(payload_of("a.jpg", class_name=name)) is is_formula
    assert not has_formula(payload_of("a.jpg", class_name=None))


def test_a_user_s_table_is_no_result(tmp_path: Path) -> None:
    """Only the whole first line of an export counts."""
    for text in ("", "id,dataset", "path,class\n", f"{','.join(COLUMNS)},more\n"):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        assert not is_csv_table(tmp_path / "a.csv")


@pytest.mark.parametrize("counts", [(), (3,), (2, 3)])
def test_numpy_reads_the_matrix(tmp_path: Path, counts: tuple[int, ...]) -> None:
    """However many batches there were, and also as a memory map."""
    batches = [batch_of(*(payload_of(f"{i}.jpg") for i in range(count))) for count in counts]
    with open_matrix(tmp_path / "a.npy", 2) as matrix:
        for batch in batches:
            matrix.write(batch)
    found = np.load(tmp_path / "a.npy", mmap_mode="r" if counts else None, allow_pickle=False)
    assert (found.dtype, found.shape) == (np.float32, (sum(counts), 2))
    if batches:
        np.testing.assert_array_equal(found, np.concatenate([batch.vectors for batch in batches]))
