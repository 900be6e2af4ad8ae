"""The client for asyncio: it is written from that for threads, so only what differs is tried."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

import dirty_streams as ds
from conftest import Cluster, Lossy, Server
from dirty_streams.asyncio import Client

USERS = ds.Entity("user", types={"age": "int"}, streams=[ds.Stream("users", payload="FULL")])
SHARDED = ds.Entity("user", types={"age": "int"}, streams=["users"], partitions=16)
SCRIPT = Path(__file__).resolve().parents[1] / "scripts/asyncio_client.py"


@pytest.fixture(params=[(2, False), (2, True), (3, False), (3, True)])
async def client(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Client]:
    protocol, text = request.param
    raw = redis.Redis(port=server.port, protocol=protocol, decode_responses=text)
    yield Client(raw)
    await raw.aclose()


@pytest.mark.skipif(not SCRIPT.exists(), reason="only in the repository")
def test_the_client_is_what_is_written_from_that_for_threads() -> None:
    pytest.importorskip("ruff")
    subprocess.run([sys.executable, str(SCRIPT), "--check"], check=True)


async def test_entities_and_events(client: Client) -> None:
    assert await client.declare(USERS) is True
    assert (
        await client.flush(USERS, ds.insert(1, {"age": 3}), ds.insert(b"\xff", {"b": b"\xfe"}))
        == ["insert"] * 2
    )
    assert await client.get(USERS, 1) == {"age": 3}
    assert await client.get_many(USERS, [b"\xff", 2]) == [{"b": b"\xfe"}, None]
    assert [i async for i, _ in client.scan(USERS)] != []
    await client.group("users", "g", start=0)
    batch = await client.consume("users", "g", "c", entities=[USERS])
    assert [event.id for event in batch] == ["1", b"\xff"]
    assert [p.consumer async for p in client.pending("users", "g", limit=1)] == ["c", "c"]
    assert await client.ack("users", "g", "c", [e.event_id or "" for e in batch]) == []
    assert (await client.stats("users")).readers[0].acknowledged == 2
    with pytest.raises(ds.NoReaderError):
        await client.consume("users", "no", "c")
    await client.redis.flushall()
    assert await client.flush(USERS, ds.insert(1, {})) == ["insert"]


async def test_rows_may_have_to_be_awaited(client: Client) -> None:
    await client.declare(USERS)

    async def read() -> AsyncIterator[tuple[int, dict[str, int]]]:
        for n in range(25):
            await asyncio.sleep(0)
            yield n, {"age": n}

    assert await client.seed(USERS, read(), batch=3, pipeline=3) == 25
    status = await client.reconcile(USERS, [(n, {"age": n}) for n in range(20)], batch=3)
    assert (status.same, status.deleted) == (20, 5)
    status = await client.reconcile(USERS, read(), batch=3, pipeline=3)
    assert (status.same, status.repaired) == (20, 5)


async def test_a_cancelled_call_leaves_no_reply_to_the_next(server: Server) -> None:
    raw = redis.Redis(port=server.port, max_connections=1)
    client = Client(raw)
    await client.group("users", "g", start="$")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.consume("users", "g", "c", block=0), 0.2)
    assert (await client.stats("users")).length == 0
    await raw.aclose()


async def test_a_consume_is_not_sent_again_and_a_flush_is(lossy: Lossy) -> None:
    raw = redis.Redis(
        port=lossy.port,
        retry=Retry(ConstantBackoff(0.01), 3),
        retry_on_error=[sync_redis.ConnectionError],
    )
    client = Client(raw)
    await client.declare(USERS)
    await client.group("users", "g", start=0)
    lossy.words = [b"DIRTY.FLUSH"]
    assert await client.flush(USERS, ds.insert(1, {})) == ["none"]
    lossy.words = [b"DIRTY.CONSUME"]
    with pytest.raises(sync_redis.ConnectionError):
        await client.consume("users", "g", "me")
    assert [e.deliveries for e in await client.consume("users", "g", "me", pending=True)] == [2]
    await raw.aclose()


async def test_waits_are_longer_than_the_time_out_and_go_on_together(server: Server) -> None:
    raw = redis.Redis(port=server.port, socket_timeout=0.5)
    client = Client(raw)
    await client.declare(USERS)
    await client.group("users", "g", start="$")
    waits = [
        asyncio.create_task(client.consume("users", "g", f"c{n}", limit=1, block=30))
        for n in range(5)
    ]
    await asyncio.sleep(0.8)
    assert await client.flush(USERS, *(ds.insert(n, {}) for n in range(5))) == ["insert"] * 5
    got = await asyncio.gather(*waits)
    assert sum(len(batch) for batch in got) == 5
    assert len(await client.consume("users", "g", "c", block=0.7)) == 0
    await raw.aclose()


async def test_one_connection_is_enough(server: Server) -> None:
    raw = redis.Redis(port=server.port, single_connection_client=True)
    client = Client(raw)
    await client.declare(USERS)
    done = await asyncio.gather(*(client.flush(USERS, ds.insert(n, {})) for n in range(20)))
    assert done == [["insert"]] * 20
    await raw.aclose()


async def test_a_cluster_has_partitions(cluster: Cluster) -> None:
    raw: Any = redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port)
    client = Client(raw)
    assert await client.declare(SHARDED) is True
    operations = [ds.insert(n, {"age": n}) for n in range(100)]
    assert await client.flush(SHARDED, *operations) == ["insert"] * 100
    assert {i async for i, _ in client.scan(SHARDED)} == {str(n) for n in range(100)}
    slots = raw.nodes_manager.slots_cache
    (wrong, *_) = [node for node in raw.get_primaries() if node != slots[raw.keyslot("user{0}")][0]]
    for slot in list(slots):
        slots[slot] = [wrong]
    assert await client.get_many(SHARDED, [5, 6, 7]) == [{"age": 5}, {"age": 6}, {"age": 7}]
    for slot in list(slots):
        slots[slot] = [wrong]
    assert await client.flush(SHARDED, *(ds.delete(n) for n in range(100))) == ["delete"] * 100
    slots.clear()
    assert await client.declare(SHARDED) is True
    slots.clear()
    assert await client.get(SHARDED, 1) is None
    status = await client.reconcile(SHARDED, [(n, {"age": n}) for n in range(10)])
    assert status.repaired == 10
    await raw.aclose()


async def test_a_failover_is_an_outage_and_no_more(own_cluster: Cluster) -> None:
    raw: Any = redis.RedisCluster(host="127.0.0.1", port=own_cluster.servers[1].port)
    client = Client(raw)
    await client.declare(SHARDED)
    operations = [ds.snapshot(n, {"age": n}) for n in range(50)]
    await client.flush(SHARDED, *operations)
    own_cluster.lose_the_first()
    outages = 0
    for _ in range(400):
        try:
            effects = await client.flush(SHARDED, *operations)
            break
        except sync_redis.RedisError as error:
            if not ds.is_outage(error):
                raise
            outages += 1
            await asyncio.sleep(0.1)
    assert outages > 0
    assert effects == ["none"] * 50
    await raw.aclose()
