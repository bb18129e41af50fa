"""Prefetching: in threads, in order, and bounded."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from lookalike_core import prefetch
from lookalike_core.prefetch import map_ahead

AHEAD = 5


def test_results_come_in_the_order_of_the_items() -> None:
    """Here the first thread waits for the second."""
    second_is_done = threading.Event()

    def second_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(60)
        if item == 1:
            second_is_done.set()
        return item

    assert list(map_ahead(second_first, iter(range(4)), ahead=2)) == [0, 1, 2, 3]


def test_look_ahead_is_bounded() -> None:
    """Decoded images take memory, so only a few may wait for the network."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    ahead = [taken - (item + 1) for item in map_ahead(lambda item: item, items(), ahead=AHEAD)]
    assert ahead == [AHEAD] * (100 - AHEAD) + [AHEAD - 1, AHEAD - 2, AHEAD - 3, AHEAD - 4, AHEAD - 5]


def test_no_item_is_read_before_the_first_result_is_requested() -> None:
    """Creating the generator starts no thread."""

    def items() -> Iterator[int]:
        pytest.fail("taken")
        yield 0

    map_ahead(lambda item: item, items(), ahead=AHEAD).close()


def test_no_items_give_no_results() -> None:
    """A folder may have nothing to read."""
    assert list(map_ahead(lambda item: item, iter([]), ahead=AHEAD)) == []


def test_an_error_in_a_thread_is_raised_where_its_result_was_due() -> None:
    """Earlier results come first, so that they can still be written."""

    def fail_at_three(item: int) -> int:
        if item == 3:
            raise OSError("the disk is gone")
        return item

    results = map_ahead(fail_at_three, iter(range(100)), ahead=AHEAD)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_an_error_of_the_input_iterator_is_raised_after_earlier_results() -> None:
    """Results of earlier items come first, so that they can still be written."""

    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    results = map_ahead(lambda item: item, items(), ahead=AHEAD)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_closing_early_leaves_no_thread_behind() -> None:
    """An interrupted ingest ends when the files in progress are read."""
    before = set(threading.enumerate())
    results = map_ahead(lambda item: item, iter(range(1000)), ahead=AHEAD)
    assert next(results) == 0
    results.close()
    assert set(threading.enumerate()) <= before


def test_closing_early_cancels_waiting_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only items in progress are completed; here they are held up until the rest is cancelled."""
    started: list[int] = []
    go_on = threading.Event()

    def slow(item: int) -> int:
        started.append(item)
        if item:
            assert go_on.wait(60)
        return item

    class Releasing(ThreadPoolExecutor):
        """Lets items go on once its threads are waited for: whatever is cancelled, is so before."""

        def shutdown(self, *words: bool, **named: bool) -> None:
            go_on.set()
            super().shutdown(*words, **named)

    monkeypatch.setattr(prefetch, "ThreadPoolExecutor", Releasing)
    results = map_ahead(slow, iter(range(1000)), ahead=100)
    assert next(results) == 0
    results.close()
    assert len(started) < 100
