"""The rules of the loops, without a server: the clock is passed in."""

from __future__ import annotations

import threading
import time

import pytest
import redis
from redis import exceptions

import dirty_streams as ds
from dirty_streams._loops import Outage, Sleep, consumer_name, sources
from dirty_streams._threads import Stop, Turns
from dirty_streams._worker import Lease
from dirty_streams.errors import is_outage, typed


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_is_in_doubt_after_half_of_claim() -> None:
    clock = Clock()
    lease = Lease(clock)
    assert not lease.doubtful()  # nobody knows CLAIM yet
    lease.claim = 60.0
    lease.take(["1-1", "1-2"], clock.now)
    clock.now += 29
    assert (lease.doubtful(), lease.rest()) == (False, -9)
    lease.confirm(lease.held(), ["1-2"], clock.now)
    assert (lease.rest(), list(lease.held())) == (20, ["1-1"])
    clock.now += 30
    assert lease.doubtful()


def test_a_hold_that_comes_back_late_takes_nothing_from_a_later_batch() -> None:
    lease = Lease(Clock())
    lease.claim = 60.0
    lease.take(["1-1"], 100)
    asked = lease.held()
    lease.take(["1-1", "1-2"], 110)  # it has come again
    lease.confirm(asked, ["1-1"], 105)
    assert list(lease.held()) == ["1-1", "1-2"]


def test_what_is_settled_is_not_lost() -> None:
    lease = Lease(Clock())
    lease.take(["1-1", "1-2"], 100)
    asked = lease.held()
    lease.settle(["1-1"])
    lease.confirm(asked, ["1-1"], 105)
    assert list(lease.held()) == ["1-2"]
    lease.drop()
    assert not lease.holds("1-2")


def test_each_failure_doubles_the_wait_up_to_the_longest_one() -> None:
    client = ds.Client(redis.Redis())
    worker = ds.Worker(client, "s", "g", print, retry_base=0.5, retry_cap=60)
    delays = [worker._policy.delay(deliveries) for deliveries in (1, 2, 3, 8, 5000)]
    assert delays == [0.5, 1.0, 2.0, 60.0, 60.0]


def test_an_outage_is_waited_out_a_little_longer_each_time() -> None:
    outage = Outage("x")
    waits = []
    for _ in range(12):
        (request,) = outage.wait(redis.ConnectionError("gone"))
        assert isinstance(request, Sleep)
        waits.append(request.seconds)
    assert 0.05 <= waits[0] <= 0.1
    assert 2.5 <= waits[-1] <= 5.0
    assert (outage.over(), outage.over()) == (True, False)
    with pytest.raises(ds.NoReaderError):
        list(outage.wait(ds.NoReaderError("no")))


OUTAGES = [
    redis.ConnectionError("gone"),
    redis.TimeoutError("late"),
    redis.BusyLoadingError("loading"),
    redis.ReadOnlyError("READONLY"),
    exceptions.OutOfMemoryError("OOM"),
    exceptions.ClusterDownError("CLUSTERDOWN"),
    exceptions.MasterDownError("MASTERDOWN"),
    exceptions.TryAgainError("TRYAGAIN"),
    exceptions.RedisClusterException("no node"),
    *(exceptions.ResponseError(f"{code} x") for code in ("UNBLOCKED", "NOREPLICAS", "MISCONF")),
    exceptions.ResponseError("BUSY Redis is busy running a script"),
]
NO_OUTAGES = [
    exceptions.AuthenticationError("WRONGPASS"),
    exceptions.NoPermissionError("NOPERM"),
    *(exceptions.ResponseError(f"{code} x") for code in ("NOREADER", "ERR", "WRONGTYPE", "FULL")),
    ValueError("no"),
]


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
def test_what_passes_by_itself_is_an_outage(error: Exception) -> None:
    assert is_outage(typed(error) if isinstance(error, exceptions.ResponseError) else error)


@pytest.mark.parametrize("error", NO_OUTAGES, ids=repr)
def test_what_does_not_pass_is_none(error: Exception) -> None:
    assert not is_outage(typed(error) if isinstance(error, exceptions.ResponseError) else error)


def test_turns_come_in_the_order_of_asking() -> None:
    turns, stop = Turns(1), Stop()
    assert turns.take(stop)
    order: list[int] = []

    def ask(number: int) -> None:
        assert turns.take(stop)
        order.append(number)
        turns.release()

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=ask, args=[number]))
        threads[-1].start()
        while len(turns._waiting) <= number:
            time.sleep(0.001)
    turns.release()
    turns.take(stop)  # whoever gives its turn back waits behind all others
    assert order == [0, 1, 2, 3, 4]
    for thread in threads:
        thread.join()


def test_a_stop_ends_the_wait_for_a_turn() -> None:
    turns, stop = Turns(1), Stop()
    assert turns.take(stop)
    threading.Timer(0.05, stop.set).start()
    assert not turns.take(stop)
    turns.release()
    assert turns.take(Stop())


def test_names_of_consumers_are_new() -> None:
    assert len({consumer_name() for _ in range(100)}) == 100


def test_a_stream_is_read_as_its_partitions() -> None:
    (stream,) = ds.Entity("user", streams=["changes"], partitions=3).streams
    assert [source.key for source in sources(stream)] == [f"changes{{{n}}}" for n in range(3)]
    assert [source.partition for source in sources(stream, [2, 0])] == [2, 0]
    (plain,) = sources("changes")
    assert (plain.key, plain.partition) == ("changes", None)
