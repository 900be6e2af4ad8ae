"""Workers of a group against real servers."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Callable

import pytest
import redis

import dirty_streams as ds
from dirty_streams._loops import now
from workers import (
    GROUP,
    STREAM,
    USERS,
    declare,
    pending,
    running,
    step,
    update,
    wait_until,
    worker,
)


def test_handles_what_is_there_and_ends_when_idle(client: ds.Client) -> None:
    declare(client)
    update(client, (1, 1), (2, 1), (1, 2))
    seen: list[ds.Event] = []
    worker(client, seen.append).run(until_idle=True)
    assert [step(event) for event in seen] == [(1, 1), (2, 1), (1, 2)]
    assert pending(client) == 0
    reader = client.stats(STREAM).reader(GROUP)
    assert reader is not None
    assert reader.consumers == ()  # it has left


ORDERS: dict[str, Callable[[ds.Event], object]] = {
    "NONE": lambda event: event.event_id,
    "ENTITY": lambda event: event.id,
    "META tenant": lambda event: event.meta["tenant"],
    "STREAM": lambda _: "all",
}


@pytest.mark.parametrize("order", ORDERS)
def test_keeps_each_order_while_handlers_fail(client: ds.Client, order: str) -> None:
    declare(client, order=order)
    steps = [(n % 7, n) for n in range(60)]
    for entity_id, n in steps:
        update(client, (entity_id, n), tenant=f"tenant-{entity_id % 3}")
    rng = random.Random(1)
    tries: list[tuple[ds.Event, bool]] = []
    lock = threading.Lock()

    def handle(event: ds.Event) -> None:
        with lock:
            fails = rng.random() < 0.2
            tries.append((event, not fails))
        time.sleep(0.001)
        if fails:
            raise ValueError("not now")

    with running(*(worker(client, handle, retry_base=0.005, limit=5) for _ in range(3))):
        wait_until(lambda: pending(client) == 0)
    done = [event for event, handled in tries if handled]
    assert sorted(step(event) for event in done) == sorted(steps)
    by_key = collections.defaultdict(list)
    for event in done:
        by_key[ORDERS[order](event)].append(step(event)[1])
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert len(tries) > len(done)


def test_a_failed_event_comes_again_later_and_before_the_later_ones_of_its_key(
    client: ds.Client,
) -> None:
    declare(client)
    update(client, (1, 1), (2, 1), (1, 2), (2, 2))
    seen: list[tuple[int, int]] = []
    fates: list[tuple[tuple[int, int], str, str | None]] = []

    def handle(event: ds.Event) -> None:
        seen.append(step(event))
        if step(event) == (1, 1) and event.deliveries < 3:
            raise ValueError("no template")

    one = worker(
        client,
        handle,
        retry_base=0.4,
        on_failure=lambda event, error, fate: fates.append((step(event), str(error), fate)),
    )
    one.run(until_idle=True)
    assert seen == [(1, 1), (2, 1), (2, 2)]
    assert fates == [((1, 1), "no template", "retry")]
    first, second = client.pending(STREAM, GROUP)
    assert (first.state, first.error) == ("delayed", "ValueError: no template")
    assert second.state == "queued"
    began = time.monotonic()
    with running(one):
        wait_until(lambda: pending(client) == 0)
    # 0.4 s after the first delivery, and 0.8 s after the second one.
    assert time.monotonic() - began > 0.8
    assert seen[3:] == [(1, 1), (1, 1), (1, 2)]


def test_a_fatal_exception_kills_the_event_at_once(client: ds.Client) -> None:
    declare(client, max_deliveries=5)
    update(client, (1, 1), (1, 2))
    seen: list[tuple[int, int]] = []

    def handle(event: ds.Event) -> None:
        seen.append(step(event))
        if step(event) == (1, 1):
            raise KeyError("\udcff no such printer")

    worker(client, handle, fatal=(LookupError,)).run(until_idle=True)
    assert seen == [(1, 1), (1, 2)]
    (dead,) = client.read(f"{STREAM}:dead", "0", entities=[USERS])
    assert dead.dead is not None
    assert dead.dead.error == "KeyError: '\\udcff no such printer'"


def test_what_the_handler_needs_may_be_away_without_a_failure(client: ds.Client) -> None:
    declare(client, max_deliveries=2)
    update(client, (1, 1), (1, 2))
    seen: list[tuple[int, int, int]] = []

    def handle(event: ds.Event) -> None:
        seen.append((*step(event), event.deliveries))
        if len(seen) < 4:
            raise OSError("the mail server is down")

    worker(client, handle, unavailable=(OSError,), retry_base=0.01).run(until_idle=True)
    assert seen == [(1, 1, 1)] * 4 + [(1, 2, 1)]
    stats = client.stats(STREAM).reader(GROUP)
    assert stats is not None
    assert (stats.failed, stats.redelivered) == (0, 0)


def test_a_handler_that_takes_longer_than_claim_keeps_all_its_events(client: ds.Client) -> None:
    declare(client, order="NONE", claim=1)
    update(client, (1, 1), (2, 1))
    first: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    begun = threading.Event()

    def slow(event: ds.Event) -> None:
        first.append(step(event))
        begun.set()
        if step(event) == (1, 1):
            time.sleep(1.5)

    with running(worker(client, slow)):
        assert begun.wait(30)
        with running(worker(client, lambda event: others.append(step(event)))):
            wait_until(lambda: pending(client) == 0)
    assert (first, others) == ([(1, 1), (2, 1)], [])


def test_a_handler_that_hangs_loses_its_events(client: ds.Client) -> None:
    declare(client, claim=0.3)
    update(client, (1, 1))
    others: list[tuple[int, int]] = []
    begun, freed = threading.Event(), threading.Event()

    def hang(_: ds.Event) -> None:
        begun.set()
        assert freed.wait(30)

    late: list[ds.Event] = []
    with running(worker(client, hang, hold_for=0.2, on_late=late.append)):
        assert begun.wait(30)
        with running(worker(client, lambda event: others.append(step(event)))):
            wait_until(lambda: others)
            wait_until(lambda: pending(client) == 0)
        freed.set()
        wait_until(lambda: late)
    assert others == [(1, 1)]


def holds(raw: redis.Redis) -> int:
    """How many DIRTY.HOLD the server has carried out."""
    return int(raw.info("commandstats").get("cmdstat_dirty.hold", {}).get("calls", 0))


def test_events_that_others_have_are_passed_over_or_told_as_late(
    client: ds.Client, raw: redis.Redis
) -> None:
    declare(client, claim=0.3)
    update(client, (1, 1), (2, 1), (3, 1))
    seen: list[tuple[int, int]] = []
    late: list[tuple[int, int]] = []
    begun, go_on = threading.Event(), threading.Event()

    def handle(event: ds.Event) -> None:
        seen.append(step(event))
        begun.set()
        assert go_on.wait(30)

    one = worker(client, handle, on_late=lambda event: late.append(step(event)))
    with running(one):
        assert begun.wait(30)
        first, second, _ = client.pending(STREAM, GROUP)
        client.ack(STREAM, GROUP, "operator", [first.id, second.id], force=True)
        before = holds(raw)
        wait_until(lambda: holds(raw) >= before + 2)  # the answer to one of them has told
        go_on.set()
        wait_until(lambda: pending(client) == 0)
    assert seen == [(1, 1), (3, 1)]
    assert late == [(1, 1)]


def test_no_handler_begins_when_the_lease_may_be_over(client: ds.Client) -> None:
    """The machine sleeps between two handlers: heartbeat and all. The clock alone tells."""
    declare(client, claim=60)
    update(client, (1, 1), (2, 1))
    slept = [0.0]
    seen: list[tuple[int, int]] = []

    def handle(event: ds.Event) -> None:
        seen.append(step(event))
        if len(seen) == 1:
            _, second = client.pending(STREAM, GROUP)
            client.ack(STREAM, GROUP, "operator", [second.id], force=True)
            slept[0] = 31.0

    one = worker(client, handle)
    one._clock = lambda: now() + slept[0]
    one.run(until_idle=True)
    assert seen == [(1, 1)]


def test_a_handler_can_acknowledge_in_its_own_flush(client: ds.Client) -> None:
    declare(client)
    letters = ds.Entity("letter", streams=["letters"])
    client.declare(letters)
    update(client, (1, 1), (2, 1))
    late: list[ds.Event] = []

    def handle(event: ds.Event) -> object:
        assert event.ack is not None
        if event.id == 2:
            client.ack(STREAM, GROUP, "operator", event.ack.ids, force=True)
        client.flush(letters, ds.snapshot(event.id, {"text": "Dear"}), ack=event.ack)
        return ds.ACKNOWLEDGED

    worker(client, handle, on_late=late.append).run(until_idle=True)
    assert [event.id for event in late] == [2]  # NOTHELD: dropped, not failed
    assert [entity_id for entity_id, _ in client.scan(letters)] == ["1"]
    assert pending(client) == 0


def test_not_held_of_another_event_is_a_failure(client: ds.Client) -> None:
    declare(client)
    letters = ds.Entity("letter", streams=["letters"])
    client.declare(letters)
    update(client, (1, 1))
    others = ds.Ack(STREAM, GROUP, "nobody", ("1-1",))
    fates: list[str | None] = []
    worker(
        client,
        lambda event: client.flush(letters, ds.insert(event.id, {}), ack=others),
        on_failure=lambda *told: fates.append(told[2]),
    ).run(until_idle=True)
    assert fates == ["retry"]


def test_slow_handlers_are_acknowledged_in_between(client: ds.Client) -> None:
    declare(client)
    update(client, *((n, 1) for n in range(4)))
    left: list[int] = []
    taken = [0.0]

    def handle(_: ds.Event) -> None:
        left.append(pending(client))
        taken[0] += 0.6

    one = worker(client, handle)
    one._clock = lambda: taken[0]
    one.run(until_idle=True)
    assert left == [4, 4, 2, 2]


def test_missed_events_are_told(client: ds.Client, raw: redis.Redis) -> None:
    declare(client)
    update(client, (1, 1), (2, 1), (3, 1))
    raw.xtrim(STREAM, maxlen=1, approximate=False)
    missed: list[object] = []
    seen: list[ds.Event] = []
    worker(client, seen.append, on_missed=lambda *told: missed.append(told)).run(until_idle=True)
    assert missed == [(STREAM, 2)]
    assert [step(event) for event in seen] == [(3, 1)]


def test_without_its_group_it_ends(client: ds.Client) -> None:
    client.declare(USERS)
    with pytest.raises(ds.NoReaderError, match='there is no group "mailer"'):
        worker(client, print).run()


def test_a_group_that_is_forgotten_ends_all_its_loops(client: ds.Client) -> None:
    declare(client)
    one = worker(client, print, concurrency=3)
    with pytest.raises(AssertionError, match="NoReaderError"), running(one):  # noqa: PT012
        wait_until(lambda: len(client.stats(STREAM).readers[0].consumers) == 3)
        client.forget(STREAM, GROUP)
        time.sleep(0.3)


def test_a_paused_group_waits(client: ds.Client) -> None:
    declare(client)
    client.pause(STREAM, GROUP)
    update(client, (1, 1))
    seen: list[ds.Event] = []
    with running(worker(client, seen.append)):
        time.sleep(0.3)
        assert seen == []
        client.pause(STREAM, GROUP, on=False)
        wait_until(lambda: seen)


def test_concurrency_on_one_stream_keeps_the_order_of_keys(client: ds.Client) -> None:
    declare(client)
    update(client, *((n % 4, n) for n in range(40)))
    seen: list[tuple[int, int]] = []
    now, most = [0], [0]
    lock = threading.Lock()

    def handle(event: ds.Event) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            seen.append(step(event))
            now[0] -= 1

    worker(client, handle, concurrency=3, limit=4).run(until_idle=True)
    assert most[0] == 3
    assert sorted(seen) == sorted((n % 4, n) for n in range(40))
    assert all([n for i, n in seen if i == key] == list(range(key, 40, 4)) for key in range(4))


@pytest.mark.parametrize("bad", [{"concurrency": 0}, {"partitions": [0]}])
def test_arguments_that_make_no_sense_are_refused(
    client: ds.Client, bad: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"concurrency must|has no partitions"):
        worker(client, print, **bad)
