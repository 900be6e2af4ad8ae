"""Workers and followers of asyncio against real servers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import dirty_streams as ds
from conftest import Cluster, Server
from dirty_streams import asyncio as dsa
from workers import PATIENCE, USERS, Proxy, client_of, step, update

STREAM, GROUP, CURSOR = "user-changes", "mailer", "directory"
PARTITIONED = ds.Entity(
    "user",
    types={"n": "int"},
    streams=[ds.Stream("user-changes", payload="FULL")],
    id_type=int,
    partitions=4,
)


def async_client(port: int) -> dsa.Client:
    return dsa.Client(redis.asyncio.Redis(port=port, retry=Retry(NoBackoff(), 0)))


@pytest.fixture
async def here(server: Server) -> AsyncIterator[dsa.Client]:
    client = async_client(server.port)
    yield client
    await client.redis.aclose()


def declare(client: ds.Client, **options: object) -> None:
    client.declare(USERS)
    client.group(STREAM, GROUP, start="0", **{"order": "ENTITY", **options})  # type: ignore[arg-type]
    client.cursor(STREAM, CURSOR, start=ds.SNAPSHOT(USERS))


def worker(client: dsa.Client, handler: object, **options: object) -> dsa.Worker:
    options = {"block": 0.2, "retry_base": 0.02, "signals": False, **options}
    return dsa.Worker(client, STREAM, GROUP, handler, entities=[USERS], **options)  # type: ignore[arg-type]


def follow(client: dsa.Client, **options: object) -> dsa.Follower:
    options = {"block": 0.2, "signals": False, "until_idle": True, **options}
    return dsa.Follower(client, STREAM, CURSOR, entities=[USERS], **options)  # type: ignore[arg-type]


def pending(client: ds.Client) -> int:
    stats = client.stats(STREAM).reader(GROUP)
    assert stats is not None
    return (stats.pending or 0) + (stats.lag or 0)


async def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.005)


async def test_keeps_the_order_while_handlers_fail(client: ds.Client, here: dsa.Client) -> None:
    declare(client)
    update(client, *((n % 4, n) for n in range(40)))
    done: list[tuple[int, int]] = []
    now = most = fails = 0

    async def handle(event: ds.Event) -> None:
        nonlocal now, most, fails
        now += 1
        most = max(now, most)
        await asyncio.sleep(0.002)
        now -= 1
        if step(event)[1] % 7 == 3 and event.deliveries < 3:
            fails += 1
            raise ValueError("not now")
        done.append(step(event))

    one = worker(here, handle, concurrency=3, limit=5)
    task = asyncio.create_task(one.run())
    await wait_until(lambda: len(done) == 40)
    one.stop()
    await task
    assert all([n for i, n in done if i == key] == list(range(key, 40, 4)) for key in range(4))
    assert (most, fails) == (3, 12)
    assert pending(client) == 0


async def test_a_handler_that_takes_longer_than_claim_keeps_all_its_events(
    client: ds.Client, here: dsa.Client
) -> None:
    declare(client, claim=1)
    update(client, (1, 1), (2, 1))
    first: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []

    async def slow(event: ds.Event) -> None:
        first.append(step(event))
        if step(event) == (1, 1):
            await asyncio.sleep(1.5)

    workers = [worker(here, slow), worker(here, lambda event: others.append(step(event)))]
    tasks = [asyncio.create_task(workers[0].run())]
    await wait_until(lambda: first)
    tasks.append(asyncio.create_task(workers[1].run()))
    await wait_until(lambda: pending(client) == 0)
    for one in workers:
        one.stop()
    await asyncio.gather(*tasks)
    assert (first, others) == ([(1, 1), (2, 1)], [])


async def test_a_cancelled_worker_hands_its_events_on(client: ds.Client, here: dsa.Client) -> None:
    declare(client, max_deliveries=2)
    update(client, (1, 1), (1, 2), (2, 1))
    seen: list[tuple[int, int]] = []

    async def handle(event: ds.Event) -> None:
        seen.append(step(event))
        if len(seen) == 2:
            await asyncio.sleep(60)

    task = asyncio.create_task(worker(here, handle).run())
    await wait_until(lambda: len(seen) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again: list[tuple[int, int, int]] = []
    await worker(here, lambda event: again.append((*step(event), event.deliveries))).run(
        until_idle=True
    )
    assert seen == [(1, 1), (1, 2)]
    assert again == [(1, 2, 1), (2, 1, 1)]


@pytest.mark.parametrize("lost", ["DIRTY.CONSUME", "DIRTY.FAIL", "DIRTY.STATS"])
async def test_after_a_lost_reply_what_it_brought_comes_first(server: Server, lost: str) -> None:
    client = client_of(server.port)
    declare(client)
    update(client, *((n % 3, n) for n in range(6)))
    proxy = Proxy(server.port)
    seen: list[tuple[int, int]] = []

    async def handle(event: ds.Event) -> None:
        if step(event) == (1, 1) and event.failures == 0:
            raise ValueError("once")
        seen.append(step(event))

    proxy.lose_reply_to(lost)
    here = async_client(proxy.port)
    one = worker(here, handle)
    task = asyncio.create_task(one.run())
    await wait_until(lambda: pending(client) == 0)
    one.stop()
    await task
    assert proxy.lost == 1
    assert sorted(seen) == sorted((n % 3, n) for n in range(6))
    await here.redis.aclose()
    proxy.close()


async def test_a_server_that_is_killed_and_started_again_loses_nothing(durable: Server) -> None:
    client = client_of(durable.port)
    declare(client)
    update(client, *((n % 3, n) for n in range(30)))
    handled: list[tuple[int, int]] = []
    followed: list[int] = []

    async def handle(event: ds.Event) -> None:
        await asyncio.sleep(0.01)
        if step(event) not in handled:
            handled.append(step(event))

    clients = [async_client(durable.port) for _ in range(2)]
    one = worker(clients[0], handle, limit=4)
    follower = follow(clients[1], until_idle=False, limit=3)

    async def read() -> None:
        async for batch in follower:
            followed.extend(step(event)[1] for event in batch if event.op is not ds.Op.READ)
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(one.run()), asyncio.create_task(read())]
    for _ in range(2):
        await asyncio.sleep(0.1)
        durable.kill()
        await asyncio.sleep(0.1)
        durable.start()
    await wait_until(lambda: len(handled) == 30 and 29 in followed)
    one.stop()
    follower.stop()
    await asyncio.gather(*tasks)
    assert all([n for i, n in handled if i == key] == list(range(key, 30, 3)) for key in range(3))
    assert list(dict.fromkeys(followed)) == list(range(30))
    for each in clients:
        await each.redis.aclose()


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {here!r})
import redis.asyncio
from workers import USERS, step
from dirty_streams.asyncio import Client, Worker

async def handle(event):
    print("begin", *step(event), flush=True)
    while not worker.stopped:
        await asyncio.sleep(0.005)
    if {hang}:
        print("told", flush=True)
        await asyncio.sleep(60)
    print("end", *step(event), flush=True)

async def main():
    global worker
    redis_client = redis.asyncio.Redis(port={port})
    worker = Worker(Client(redis_client), "user-changes", "mailer", handle, entities=[USERS], block=0.3)
    await worker.run()
    await redis_client.aclose()
    print("left", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("twice", [False, True])
def test_a_signal_ends_it_after_the_handler_in_hand_and_a_second_one_at_once(
    server: Server, number: signal.Signals, twice: bool
) -> None:
    client = client_of(server.port)
    declare(client, max_deliveries=2)
    update(client, (1, 1), (1, 2), (2, 1))
    here = str(Path(__file__).resolve().parent)
    program = PROGRAM.format(here=here, port=server.port, hang=twice)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begin 1 1\n"
    process.send_signal(number)
    if twice:
        assert process.stdout.readline() == "told\n"
        process.send_signal(number)
    out, error = process.communicate(timeout=PATIENCE)
    code = -signal.SIGINT if number == signal.SIGINT else 128 + signal.SIGTERM
    if twice:
        assert (process.returncode, out) == (code, "")
    else:
        assert (process.returncode, out, error) == (0, "end 1 1\nleft\n", "")
    again: list[tuple[int, int]] = []
    ds.Worker(client, STREAM, GROUP, lambda event: again.append(step(event)), entities=[USERS]).run(
        until_idle=True
    )
    assert again == ([(1, 1)] if twice else []) + [(1, 2), (2, 1)]


# Followers.


async def test_a_follower_goes_on_from_its_last_acknowledgement(
    client: ds.Client, here: dsa.Client
) -> None:
    client.declare(USERS)
    client.cursor(STREAM, CURSOR, start="0")
    update(client, *((n, n) for n in range(10)))
    first: list[int] = []
    async for batch in follow(here, limit=3):
        first += [event.id for event in batch]
        if len(first) == 6:
            break
    follower = follow(here, limit=3)
    again: list[int] = []
    async for batch in follower:
        again += [event.id for event in batch]
        follower.stop()
    assert (first, again) == (list(range(6)), [3, 4, 5])
    left = [event.id async for batch in follow(here) for event in batch]
    assert left == [6, 7, 8, 9]


async def test_after_missed_events_it_begins_again_with_the_entities(
    client: ds.Client, here: dsa.Client
) -> None:
    declare(client)
    update(client, (1, 1), (2, 2))
    async for _ in follow(here):
        pass
    update(client, (2, 3), (3, 3))
    client.redis.xtrim(STREAM, maxlen=1, approximate=False)
    with pytest.raises(ds.MissedError, match="1 events"):
        async for _ in follow(here):
            pass
    batches = [batch async for batch in follow(here, snapshot=ds.SNAPSHOT(USERS))]
    assert any(batch.begin for batch in batches)
    states = {event.id: event.after["n"] for batch in batches for event in batch if event.after}
    assert states == {1: 1, 2: 3, 3: 3}


@pytest.fixture(params=["server", "cluster"])
async def partitioned(request: pytest.FixtureRequest) -> AsyncIterator[dsa.Client]:
    place: Server | Cluster = request.getfixturevalue(request.param)
    sync = ds.Client(place.client())
    (stream,) = PARTITIONED.streams
    sync.declare(PARTITIONED)
    sync.group(stream, GROUP, start="0", order="ENTITY", claim=1)
    sync.cursor(stream, CURSOR, start="0")
    sync.flush(PARTITIONED, *(ds.insert(n, {"n": n}) for n in range(100)))
    raw: redis.asyncio.Redis | redis.asyncio.RedisCluster
    if isinstance(place, Cluster):
        raw = redis.asyncio.RedisCluster(host="127.0.0.1", port=place.servers[0].port)
    else:
        raw = redis.asyncio.Redis(port=place.port)
    yield dsa.Client(raw)
    await raw.aclose()


async def all_have_events(client: dsa.Client) -> bool:
    """Whether a worker has got events of each partition."""
    streams = [await client.stats(key) for key in PARTITIONED.streams[0].keys]
    return all(reader.delivered for one in streams if (reader := one.reader(GROUP)))


async def test_a_worker_reads_all_partitions_in_turn(partitioned: dsa.Client) -> None:
    (stream,) = PARTITIONED.streams
    seen: list[int] = []
    now = most = 0

    async def handle(event: ds.Event) -> None:
        nonlocal now, most
        now += 1
        most = max(now, most)
        while not seen and not await all_have_events(partitioned):
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.015)
        now -= 1
        seen.append(event.id)

    await dsa.Worker(partitioned, stream, GROUP, handle, entities=[PARTITIONED], signals=False).run(
        until_idle=True
    )
    assert sorted(seen) == list(range(100))
    assert most == 1
    assert {PARTITIONED.partition(n) for n in seen[:8]} == {0, 1, 2, 3}
    stats = (await partitioned.stats(stream.keys[0])).reader(GROUP)
    assert stats is not None
    assert stats.redelivered == 0


async def test_a_follower_reads_all_partitions_and_may_be_left(partitioned: dsa.Client) -> None:
    (stream,) = PARTITIONED.streams
    seen: list[int] = []

    def following() -> dsa.Follower:
        return dsa.Follower(
            partitioned,
            stream,
            CURSOR,
            entities=[PARTITIONED],
            limit=10,
            signals=False,
            until_idle=True,
        )

    before = len(asyncio.all_tasks())
    taken = 0
    async for batch in following():
        taken += 1
        if taken == 3:
            break
        seen += [event.id for event in batch]
    await wait_until(lambda: len(asyncio.all_tasks()) == before)
    async for batch in following():
        seen += [event.id for event in batch]
    assert sorted(seen) == list(range(100))


async def test_positions_are_kept_by_the_application(partitioned: dsa.Client) -> None:
    (stream,) = PARTITIONED.streams
    positions: dict[str | bytes, object] = {}
    seen: list[int] = []
    for limit in (30, 1000):
        async for batch in dsa.read(
            partitioned, stream, positions, entities=[PARTITIONED], limit=7, until_idle=True
        ):
            seen += [event.id for event in batch]
            assert batch.stream is not None
            positions[batch.stream] = batch.position
            if len(seen) > limit:
                break
    assert sorted(seen) == list(range(100))
