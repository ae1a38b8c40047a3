"""What every executor does alike: tests run over each registered name, also those of other packages."""

import os
import time
from contextlib import closing, contextmanager
from functools import partial

import pytest

from geoseg.core.errors import GeosegError, SpecError
from geoseg.core.executors.protocol import Executor, Outcome, Worker, Workplace
from geoseg.core.executors.registry import EXECUTORS, executor_name, open_executor


@pytest.fixture(scope="module", params=EXECUTORS)
def place(request):
    if request.param == "dask":
        dask = pytest.importorskip("dask")
        pytest.importorskip("distributed")
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            yield Workplace("dask:local:2")
    else:
        yield Workplace(f"{request.param}:local:2", devices=("cpu", "cpu"))


@pytest.fixture(scope="module")
def executor(place):
    with open_executor(place) as opened:
        yield opened


def square(_worker, number):
    return number * number


def fail_at_three(_worker, number):
    if number == 3:
        raise GeosegError("three is too many: give two")
    return number


def divide(_worker, number):
    return 1 // number


def add(_worker, number, summand, other):
    return number + summand + other


def process_id(_worker, _number):
    time.sleep(0.05)
    return os.getpid()


def die(_worker, parent):
    if os.getpid() != parent:
        os._exit(1)
    return "alive"


def sleep(_worker, seconds):
    time.sleep(seconds)
    return seconds


def opened_for(worker, number):
    """How often a key of the worker was opened, and what is open: keys are odd and even numbers."""
    counts = vars(worker).setdefault("counts", [0, 0])
    return worker.keep(number % 2, partial(count_opening, counts))


@contextmanager
def count_opening(counts):
    counts[0] += 1
    yield tuple(counts)
    counts[1] += 1


def test_every_task_has_one_outcome_in_whatever_order(executor):
    assert isinstance(executor, Executor)
    assert executor.worker_count >= 1
    outcomes = list(executor.map(square, range(20)))
    assert sorted(outcome.task for outcome in outcomes) == list(range(20))
    assert all(outcome.result() == outcome.task**2 for outcome in outcomes)
    assert list(executor.map(square, [])) == []


def test_an_error_of_a_task_surfaces_as_it_is_and_stops_no_other(executor):
    outcomes = {outcome.task: outcome for outcome in executor.map(fail_at_three, range(5))}
    with pytest.raises(GeosegError) as raised:
        outcomes.pop(3).result()
    assert str(raised.value) == "three is too many: give two"
    assert [outcomes[task].result() for task in sorted(outcomes)] == [0, 1, 2, 4]
    (unexpected,) = executor.map(divide, [0])
    with pytest.raises(ZeroDivisionError):
        unexpected.result()


def test_shared_values_reach_every_task(executor):
    assert sorted(outcome.result() for outcome in executor.map(add, range(3), (10, 100))) == [110, 111, 112]


def test_a_worker_keeps_what_the_last_task_opened(executor):
    seen = {outcome.result() for outcome in executor.map(opened_for, [0, 2, 4, 6])}
    assert {opened - closed for opened, closed in seen} == {1}
    assert len(seen) <= executor.worker_count


def test_who_waits_is_called_meanwhile(executor):
    called = []
    assert len(list(executor.map(sleep, [0.6, 0.6], watch=partial(called.append, 1)))) == 2
    assert called


def test_a_dead_worker_is_an_error_in_one_line(executor):
    (outcome,) = executor.map(die, [os.getpid()])
    if executor.is_here:
        assert outcome.result() == "alive"
        return
    with pytest.raises(GeosegError, match=r"died.*--resume goes on") as raised:
        outcome.result()
    assert len(str(raised.value).splitlines()) == 1


def test_nothing_is_left_running(place):
    with open_executor(place) as executor:
        running = {outcome.result() for outcome in executor.map(process_id, range(8))}
        started = time.monotonic()
        with closing(executor.map(sleep, [0.0, 0.0, *[2.0 * (not executor.is_here)] * 6])) as outcomes:
            next(outcomes)
        assert time.monotonic() - started < 6
    for process in running - {os.getpid()}:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


# --------------------------------------------------------------------------------------------- which of them is meant


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Workplace(), "inline"),
        (Workplace(devices=("cuda:0",)), "inline"),
        (Workplace(devices=("cpu", "cpu")), "processes"),
        (Workplace("local:2"), "dask"),
        (Workplace("tcp://host:8786", devices=("cpu", "cpu")), "dask"),
        (Workplace("inline:", devices=("cpu", "cpu")), "inline"),
        (Workplace("nonsense"), "dask"),
        (Workplace("tls://dasky:8786"), "dask"),
        (Workplace("host:8786"), "dask"),
        (Workplace("10.0.0.1:8786"), "dask"),
    ],
)
def test_a_workplace_means_one_executor(place, name):
    assert executor_name(place) == name


@pytest.mark.parametrize(
    ("scheduler", "nearest"), [("procesess:2", "processes"), ("in-line", "inline"), ("Dask:local:2", "dask")]
)
def test_a_misspelt_executor_is_answered_with_the_nearest(scheduler, nearest):
    with pytest.raises(
        SpecError,
        match=f"scheduler {scheduler} is no address like .*, and no executor is called .*: did you mean '{nearest}'",
    ):
        executor_name(Workplace(scheduler))


def test_an_executor_of_another_package_named_nearly_local_leaves_local_to_dask(monkeypatch):
    monkeypatch.setitem(EXECUTORS._own, "locals", "nowhere:OPEN")
    assert executor_name(Workplace("local:2")) == "dask"


def test_an_executor_that_is_open_is_used_as_it_is():
    with open_executor(Workplace()) as executor, open_executor(Workplace(executor)) as same:
        assert same is executor


@pytest.mark.parametrize(("address", "problem"), [("nowhere", "give its address"), ("local:0", "at least one")])
def test_schedulers_that_make_no_sense(address, problem):
    pytest.importorskip("distributed")
    with pytest.raises(SpecError, match=problem), open_executor(Workplace(address)):
        pass


# -------------------------------------------------------------------------------------------------------- workers


def test_a_worker_closes_what_another_key_replaces():
    worker, counts = Worker(), [0, 0]
    for key in "aab":
        worker.keep(key, partial(count_opening, counts))
    assert counts == [2, 1]
    worker.close()
    assert counts == [2, 2]
    worker.keep("b", partial(count_opening, counts))
    assert counts == [3, 2]


def test_an_error_that_cannot_be_pickled_is_named():
    from geoseg.core.executors.processes import _portable

    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} {two}")

    assert str(_portable(Odd(1, 2))) == "Odd('1 2')"


def test_an_outcome_without_error_is_its_value():
    assert Outcome(1, None).result() is None
    with pytest.raises(KeyError):
        Outcome(1, error=KeyError()).result()


def test_a_cluster_without_its_scheduler_is_an_error_in_one_line():
    distributed = pytest.importorskip("distributed")
    from distributed.comm.core import CommClosedError

    from geoseg.core.executors.dask import _lost_in_one_line, outcome_of

    class Lost:
        def result(self):
            raise distributed.client.FutureCancelledError("a", "scheduler-connection-lost")

    with pytest.raises(GeosegError, match=r"scheduler was lost: .* --resume goes on"):
        outcome_of(Lost(), 1).result()
    with pytest.raises(GeosegError, match="scheduler was lost"), _lost_in_one_line():
        raise CommClosedError("closed")
