"""Tests batches: of every size, and read as they are asked for."""

from lookalike_core.batched import batched


def test_batches_have_the_size_but_for_the_last() -> None:
    """Nothing gives no batch, and a multiple of the size no short one."""
    assert list(batched([], 2)) == []
    assert list(batched([1, 2, 3, 4], 2)) == [[1, 2], [3, 4]]
    assert list(batched(iter("abc"), 2)) == [["a", "b"], ["c"]]


def test_no_item_is_read_before_its_batch() -> None:
    """What is behind a batch may take memory, or a request."""
    left = iter(range(5))
    assert next(batched(left, 2)) == [0, 1]
    assert list(left) == [2, 3, 4]
