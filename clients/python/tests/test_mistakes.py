"""What an application gets wrong is told at once, and loses no event."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio

import dirty_streams as ds
from conftest import Server
from dirty_streams import asyncio as dsa
from workers import USERS, client_of, step, update

STREAM, GROUP, CURSOR = "user-changes", "mailer", "directory"


def declare(client: ds.Client, **options: Any) -> None:
    client.declare(USERS)
    client.group(STREAM, GROUP, start="0", **{"order": "ENTITY", **options})
    client.cursor(STREAM, CURSOR, start="0")


def worker(client: Any, handler: Any, **options: Any) -> ds.Worker:
    options = {"block": 0.2, "signals": False, "entities": [USERS], **options}
    return ds.Worker(client, STREAM, GROUP, handler, **options)


async def asynchronous(*_: object) -> None: ...


def returns_a_coroutine(event: ds.Event) -> object:
    return asynchronous(event)


class Asynchronous:
    async def __call__(self, event: ds.Event) -> None: ...


MISTAKES: dict[str, tuple[Callable[[Any], object], str]] = {
    "a URL is no client": (lambda _: ds.Client("redis://localhost"), "redis.Redis"),  # type: ignore[arg-type]
    "a client of asyncio is none for threads": (
        lambda _: ds.Client(redis.asyncio.Redis()),  # type: ignore[arg-type]
        "redis.Redis",
    ),
    "a client for threads is none of asyncio": (lambda _: dsa.Client(redis.Redis()), "asyncio"),  # type: ignore[arg-type]
    "a filter's fields": (lambda _: ds.Where(fields="state"), "fields are a list, not 'state'"),
    "a filter's entities": (lambda _: ds.Where(entities="user"), "entities are a list"),
    "a filter's ids": (lambda _: ds.Where(ids="42"), "ids are a list, not '42'"),
    "a stream's fields": (lambda _: ds.Stream("s", fields="state"), "fields are a list"),
    "one stream": (lambda _: ds.Entity("u", streams=ds.Stream("s")), "streams are a list"),  # type: ignore[arg-type]
    "a type of Python": (
        lambda _: ds.Entity("u", types={"age": int}, streams=["s"]),  # type: ignore[dict-item]
        "the type of the field 'age' is a text such as 'int', not <class 'int'>",
    ),
    "ids to get": (lambda client: client.get_many(USERS, "42"), "ids are a list, not '42'"),
    "ids to acknowledge": (
        lambda client: client.ack(STREAM, GROUP, "me", "1-1"),
        "ids are a list, not '1-1'",
    ),
    "ids to redrive": (
        lambda client: client.redrive(STREAM, GROUP, ids="1-1"),
        "ids are a list, not '1-1'",
    ),
    "a key instead of the entity type": (
        lambda client: client.flush("user", ds.delete(1)),
        "takes an Entity, not 'user'",
    ),
    "fields that are no mapping": (
        lambda client: client.flush(USERS, ds.snapshot(1, None)),  # type: ignore[arg-type]
        "fields are a mapping, not a NoneType",
    ),
    "a span": (lambda client: client.group(STREAM, "g", start="0", claim="30"), "not '30'"),
    "no handler": (lambda client: worker(client, None), "not callable"),
    "a handler of asyncio": (
        lambda client: worker(client, asynchronous),
        "dirty_streams.asyncio",
    ),
    "an object's handler of asyncio": (
        lambda client: worker(client, Asynchronous()),
        "dirty_streams.asyncio",
    ),
    "a callback of asyncio": (
        lambda client: worker(client, print, on_failure=asynchronous),
        "dirty_streams.asyncio",
    ),
    "no list of exceptions": (
        lambda client: worker(client, print, fatal="ValueError"),
        "fatal takes exceptions",
    ),
    "one entity": (
        lambda client: worker(client, print, entities=USERS),
        "entities are a list",
    ),
    "a name of an entity": (
        lambda client: worker(client, print, entities=["user"]),
        "takes an Entity, not 'user'",
    ),
    "an entity instead of its stream": (
        lambda client: ds.Follower(client, USERS, CURSOR),  # type: ignore[arg-type]
        "has the streams in .streams",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_an_argument_of_a_wrong_type_is_told(client: ds.Client, case: str) -> None:
    mistake, told = MISTAKES[case]
    with pytest.raises(TypeError, match=told):
        mistake(client)


def test_a_handler_that_returns_a_coroutine_fails(client: ds.Client) -> None:
    declare(client)
    update(client, (1, 1))
    failures: list[str] = []
    worker(client, returns_a_coroutine, on_failure=lambda *told: failures.append(str(told[1]))).run(
        until_idle=True
    )
    assert "dirty_streams.asyncio" in failures[0]
    assert [event.state for event in client.pending(STREAM, GROUP)] == ["delayed"]


@pytest.mark.parametrize("fatal", [ValueError, [KeyError, ValueError]])
def test_exceptions_may_be_one_or_any_list(client: ds.Client, fatal: Any) -> None:
    declare(client)
    update(client, (1, 1))
    fates: list[object] = []

    def fail(_: ds.Event) -> None:
        raise ValueError

    worker(client, fail, fatal=fatal, on_failure=lambda *told: fates.append(told[2])).run(
        until_idle=True
    )
    assert fates == ["dead"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_and_threads_that_share_a_worker_are_consumers_of_their_own(
    server: Server, client: ds.Client
) -> None:
    declare(client)
    update(client, *((n, n) for n in range(60)))
    seen: list[int] = []
    reading, writing = os.pipe()
    both = threading.Barrier(2)

    def handle(event: ds.Event) -> None:
        os.write(writing, b"%d\n" % event.id)

    shared = worker(client_of(server.port), handle, limit=5)
    child = os.fork()
    if child == 0:
        try:
            shared.run(until_idle=True)
        finally:
            os._exit(0)

    def run() -> None:
        both.wait()
        shared.run(until_idle=True)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        seen = [int(line) for line in told]
    assert sorted(seen) == list(range(60))


@pytest.mark.parametrize("concurrency", [1, 2])
def test_after_an_error_a_worker_may_run_again(client: ds.Client, concurrency: int) -> None:
    client.declare(USERS)
    update(client, (1, 1))
    seen: list[tuple[int, int]] = []
    one = worker(client, lambda event: seen.append(step(event)), concurrency=concurrency)
    with pytest.raises(ds.NoReaderError):
        one.run(until_idle=True)
    declare(client)
    one.run(until_idle=True)
    assert seen == [(1, 1)]
    assert not one.stopped


async def test_after_an_error_a_worker_of_asyncio_may_run_again(
    server: Server, client: ds.Client
) -> None:
    client.declare(USERS)
    update(client, (1, 1))
    seen: list[tuple[int, int]] = []
    raw = redis.asyncio.Redis(port=server.port)
    one = dsa.Worker(
        dsa.Client(raw), STREAM, GROUP, lambda event: seen.append(step(event)), entities=[USERS]
    )
    with pytest.raises(ds.NoReaderError):
        await one.run(until_idle=True)
    declare(client)
    await one.run(until_idle=True)
    assert seen == [(1, 1)]
    one.stop()
    await one.run()
    with pytest.raises(RuntimeError, match="was stopped"):
        await one.run()
    await raw.aclose()


def test_a_worker_that_was_stopped_says_so_when_it_runs_again(client: ds.Client) -> None:
    declare(client)
    one = worker(client, print)
    one.stop()
    one.run()  # it was told to stop before it began
    assert one.stopped
    with pytest.raises(RuntimeError, match="this worker was stopped"):
        one.run()


def test_a_worker_without_a_group_leaves_no_warning(
    client: ds.Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.declare(USERS)
    with pytest.raises(ds.NoReaderError):
        worker(client, print).run()
    assert caplog.records == []


PARTITIONED = ds.Entity(
    "user", types={"n": "int"}, streams=["user-changes"], id_type=int, partitions=2
)


@pytest.mark.parametrize("entity", [USERS, PARTITIONED])
def test_a_follower_that_was_left_may_go_on(client: ds.Client, entity: ds.Entity) -> None:
    client.declare(entity)
    client.cursor(entity.streams[0], CURSOR, start="0")
    client.flush(entity, *(ds.insert(n, {"n": n}) for n in range(10)))
    follower = ds.Follower(
        client, entity.streams[0], CURSOR, entities=[entity], limit=2, until_idle=True
    )
    for _ in follower:
        break
    assert sorted(event.id for batch in follower for event in batch) == list(range(10))
    follower.stop()
    assert list(follower) == []
    with pytest.raises(RuntimeError, match="this follower was stopped"):
        list(follower)


@pytest.mark.parametrize("entity", [USERS, PARTITIONED])
async def test_a_follower_of_asyncio_that_was_left_may_go_on(
    server: Server, client: ds.Client, entity: ds.Entity
) -> None:
    client.declare(entity)
    client.cursor(entity.streams[0], CURSOR, start="0")
    client.flush(entity, *(ds.insert(n, {"n": n}) for n in range(10)))
    raw = redis.asyncio.Redis(port=server.port)
    follower = dsa.Follower(
        dsa.Client(raw), entity.streams[0], CURSOR, entities=[entity], limit=2, until_idle=True
    )
    async for _ in follower:
        break
    assert sorted([event.id async for batch in follower for event in batch]) == list(range(10))
    follower.stop()
    assert [batch async for batch in follower] == []
    with pytest.raises(RuntimeError, match="this follower was stopped"):
        [batch async for batch in follower]
    await raw.aclose()
