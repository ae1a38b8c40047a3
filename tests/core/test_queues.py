"""Work in threads ahead of the one that wants its results."""

import threading
import time

import pytest

from geoseg.core.queues import map_ahead


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def later(item):
        time.sleep(0.01 * (item % 3 == 0))
        return 2 * item

    assert list(map_ahead(later, range(20), threads)) == list(range(0, 40, 2))
    assert list(map_ahead(later, [], threads)) == []


def test_items_are_taken_no_further_than_a_thread_needs():
    taken = []
    results = map_ahead(lambda item: item, (taken.append(k) or k for k in range(100)), 2)
    assert next(results) == 0
    assert len(taken) == 3
    results.close()
    assert len(taken) == 3


def test_threads_work_side_by_side():
    both = threading.Barrier(2, timeout=30)
    assert len(list(map_ahead(lambda _: both.wait(), range(2), 2))) == 2


@pytest.mark.parametrize("threads", [1, 3])
def test_errors_of_the_function_and_of_the_items_come_up(threads):
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda item: 1 // item, [1, 0, 1, 1, 1], threads))

    def broken():
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        list(map_ahead(lambda item: item, broken(), threads))
