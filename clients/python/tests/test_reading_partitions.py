"""Workers and followers of entity types with partitions, on a server and on a cluster."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

import dirty_streams as ds
from conftest import Cluster
from workers import running, step, wait_until

USERS = ds.Entity(
    "user",
    types={"n": "int"},
    streams=[ds.Stream("user-changes", payload="FULL")],
    id_type=int,
    partitions=4,
)
(STREAM,) = USERS.streams
assert isinstance(STREAM, ds.Stream)
IN = {p: [n for n in range(400) if USERS.partition(n) == p] for p in range(4)}
"""Ids by their partitions."""


@pytest.fixture(params=["server", "cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[ds.Client]:
    raw = request.getfixturevalue(request.param).client()
    client = ds.Client(raw)
    client.declare(USERS)
    client.group(STREAM, "mailer", start="0", order="ENTITY", claim=1)
    client.cursor(STREAM, "directory", start=ds.SNAPSHOT(USERS))
    yield client
    raw.close()


def worker(client: ds.Client, handler: object, **options: object) -> ds.Worker:
    options = {"block": 0.2, "retry_base": 0.02, "signals": False, **options}
    return ds.Worker(client, STREAM, "mailer", handler, entities=[USERS], **options)  # type: ignore[arg-type]


def follow(client: ds.Client, **options: object) -> ds.Follower:
    options = {"block": 0.2, "signals": False, "until_idle": True, **options}
    return ds.Follower(client, STREAM, "directory", entities=[USERS], **options)  # type: ignore[arg-type]


def readers(client: ds.Client, name: str = "mailer") -> list[ds.ReaderStats]:
    found = [client.stats(key).reader(name) for key in STREAM.keys]
    return [reader for reader in found if reader is not None]


@contextmanager
def read_by(follower: ds.Follower, note: Callable[[ds.Event], None]) -> Iterator[None]:
    """A follower in a thread, which is stopped at the end."""

    def read() -> None:
        for batch in follower:
            for event in batch:
                note(event)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        follower.stop()
        thread.join(10)


class Noted:
    """The numbers of each entity, each once. A repetition must be harmless."""

    def __init__(self) -> None:
        self.numbers: dict[int, list[int]] = collections.defaultdict(list)

    def __call__(self, event: ds.Event) -> None:
        entity_id, n = step(event)
        if n not in self.numbers[entity_id]:
            self.numbers[entity_id].append(n)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_busy_partition_starves_no_other(client: ds.Client, concurrency: int) -> None:
    """The first partition has a hundred times as much to do. HOLD goes on while its events wait."""
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in IN[0]))
    client.flush(USERS, *(ds.update(n, {"n": n + k}) for n in IN[0] for k in range(1, 4)))
    others = [IN[p][0] for p in (1, 2, 3)]
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in others))
    seen: list[int] = []
    now, most = [0], [0]
    lock = threading.Lock()

    def handle(event: ds.Event) -> None:
        with lock:
            now[0] += 1
            most[0] = max(now[0], most[0])
        if not seen:  # until all partitions have something to do
            wait_until(lambda: all(one.delivered for one in readers(client)))
        time.sleep(0.002)
        with lock:
            now[0] -= 1
            seen.append(event.id)

    worker(client, handle, concurrency=concurrency).run(until_idle=True)
    assert len(seen) == 4 * len(IN[0]) + 3
    assert max(map(seen.index, others)) < 20
    assert most[0] == concurrency
    assert sum(reader.redelivered or 0 for reader in readers(client)) == 0


def test_events_that_wait_for_their_turn_are_held(client: ds.Client) -> None:
    """CLAIM is a second, and the last event waits longer for its turn, while another worker looks on."""
    client.flush(USERS, *(ds.insert(IN[p][0], {"n": p}) for p in range(4)))
    seen: list[int] = []
    others: list[int] = []

    def slow(event: ds.Event) -> None:
        time.sleep(0.4)
        seen.append(event.id)

    with running(worker(client, slow)):
        wait_until(lambda: all(reader.held for reader in readers(client)))
        with running(worker(client, lambda event: others.append(event.id))):
            wait_until(lambda: len(seen) + len(others) >= 4)
    assert (len(seen), others) == (4, [])


def test_a_worker_may_take_some_partitions(client: ds.Client) -> None:
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in range(40)))
    seen: list[int] = []
    worker(client, lambda event: seen.append(event.id), partitions=[1, 3]).run(until_idle=True)
    assert sorted(seen) == [n for n in range(40) if USERS.partition(n) in {1, 3}]


def test_a_stop_ends_all_partitions_and_hands_on_what_waits(client: ds.Client) -> None:
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in range(40)))
    seen: list[int] = []
    one: ds.Worker

    def handle(event: ds.Event) -> None:
        seen.append(event.id)
        if len(seen) == 3:
            one.stop()

    one = worker(client, handle)
    one.run()
    assert len(seen) == 3
    assert sum(reader.acknowledged or 0 for reader in readers(client)) == 3
    assert [reader.consumers for reader in readers(client)] == [()] * 4


def test_a_follower_reads_all_partitions_from_their_snapshots(client: ds.Client) -> None:
    rows = {n: n for n in range(100)}
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in rows))
    client.cursor(STREAM, "later", start=ds.SNAPSHOT(USERS))
    copy: dict[int, int] = {}
    begins, streams = 0, collections.Counter[object]()
    for batch in ds.Follower(
        client, STREAM, "later", entities=[USERS], limit=10, until_idle=True, signals=False
    ):
        if not copy:
            client.flush(USERS, *(ds.update(n, {"n": n + 1000}) for n in range(0, 100, 7)))
        begins += batch.begin
        streams[batch.stream] += 1
        for event in batch:
            copy[event.id] = event.after["n"] if event.after else event.changes["n"].new
    assert copy == rows | {n: n + 1000 for n in range(0, 100, 7)}
    assert begins == 4
    assert set(streams) == set(STREAM.keys)


def test_leaving_the_iteration_acknowledges_only_what_was_asked_past(client: ds.Client) -> None:
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in range(100)))
    before = threads()
    first: list[int] = []
    for batch in follow(client):
        if first:
            break
        first = [event.id for event in batch if event.op is ds.Op.INSERT]
    wait_until(lambda: threads() == before)
    again = [event.id for batch in follow(client) for event in batch if event.op is ds.Op.INSERT]
    assert sorted(first + again) == list(range(100))


def test_a_partition_that_fails_ends_the_iteration(client: ds.Client) -> None:
    client.forget(STREAM.keys[2], "directory", kind="CURSOR")
    with pytest.raises(ds.NoReaderError):
        list(follow(client, until_idle=False))


def test_positions_of_partitions_are_kept_apart(client: ds.Client) -> None:
    client.flush(USERS, *(ds.insert(n, {"n": n}) for n in range(100)))
    positions: dict[str | bytes, object] = {}
    seen: list[int] = []
    for limit in (30, 1000):
        for batch in ds.read(
            client, STREAM, positions, entities=[USERS], limit=7, until_idle=True, signals=False
        ):
            seen += [event.id for event in batch]
            assert batch.stream is not None
            positions[batch.stream] = batch.position
            if len(seen) > limit:
                break
    assert sorted(seen) == list(range(100))
    with pytest.raises(ValueError, match="position of its own"):
        ds.read(client, STREAM, "1-1/0")


@pytest.mark.parametrize("partitions", [[4], [-1], []])
def test_partitions_that_there_are_not_are_refused(
    client: ds.Client, partitions: list[int]
) -> None:
    with pytest.raises(ValueError, match="partition"):
        worker(client, print, partitions=partitions)


def move_slot(cluster: Cluster, slot: int) -> None:
    """Moves a slot to another node, key by key, as `redis-cli --cluster reshard` does."""
    nodes = [server.client() for server in cluster.servers]
    ids = [node.cluster("MYID").decode() for node in nodes]
    owners = {
        node.execute_command("CLUSTER", "MYID").decode(): index  # type: ignore[no-untyped-call]
        for index, node in enumerate(nodes)
    }
    slots = nodes[0].execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    (owner,) = [one[2][2].decode() for one in slots if one[0] <= slot <= one[1]]
    source = owners[owner]
    target = (source + 1) % 3
    nodes[target].cluster("SETSLOT", slot, "IMPORTING", owner)
    nodes[source].cluster("SETSLOT", slot, "MIGRATING", ids[target])
    while keys := nodes[source].cluster("GETKEYSINSLOT", slot, 2):
        port = cluster.servers[target].port
        nodes[source].migrate("127.0.0.1", port, keys, 0, 1000)
        time.sleep(0.01)
    for node in nodes:
        node.cluster("SETSLOT", slot, "NODE", ids[target])


def test_slots_may_move_while_it_reads(cluster: Cluster) -> None:
    client, producer = ds.Client(cluster.client()), ds.Client(cluster.client())
    client.declare(USERS)
    client.group(STREAM, "mailer", start="0", order="ENTITY")
    client.cursor(STREAM, "directory", start="0")
    handled, followed = Noted(), Noted()
    follower = follow(ds.Client(cluster.client()), until_idle=False)
    workers = [worker(client, handled), worker(ds.Client(cluster.client()), handled)]
    expected = {key: list(range(key, 120, 10)) for key in range(10)}
    with running(*workers), read_by(follower, followed):
        for n in range(120):
            if n in {30, 60, 90}:
                slot = cluster.servers[0].client().cluster("KEYSLOT", STREAM.keys[n // 30])
                threading.Thread(target=move_slot, args=[cluster, slot]).start()
            producer.flush(USERS, ds.snapshot(n % 10, {"n": n}))
            time.sleep(0.005)
        wait_until(lambda: handled.numbers == expected)
        wait_until(lambda: followed.numbers == expected)


def test_a_failover_is_waited_out(own_cluster: Cluster) -> None:
    """What the replica had heard of is handled and read in order; some of it comes twice."""
    client = ds.Client(own_cluster.client())
    client.declare(USERS)
    client.group(STREAM, "mailer", start="0", order="ENTITY")
    client.cursor(STREAM, "directory", start="0")
    handled, followed = Noted(), Noted()
    follower = follow(ds.Client(own_cluster.client()), until_idle=False)

    def flush(*numbers: int) -> None:
        for n in numbers:
            while True:
                try:
                    client.flush(USERS, ds.snapshot(n % 20, {"n": n}))
                    break
                except redis.RedisError as error:
                    if not ds.is_outage(error):
                        raise
                    time.sleep(0.1)

    expected = {key: list(range(key, 80, 20)) for key in range(20)}
    mailer = worker(ds.Client(own_cluster.client()), handled)
    with running(mailer), read_by(follower, followed):
        flush(*range(40))
        raw = own_cluster.servers[0].client()
        wait_until(lambda: raw.info("replication")["slave0"]["lag"] <= 1)
        raw.wait(1, 2000)
        own_cluster.servers[0].kill()
        flush(*range(40, 80))
        wait_until(lambda: handled.numbers == expected)
        wait_until(lambda: followed.numbers == expected)
