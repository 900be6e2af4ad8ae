"""Partitions of entities: the vectors of all clients, and a cluster."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import dirty_streams as ds
from conftest import Cluster
from dirty_streams._partitions import crc16

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[2] / "partitions.json").read_text()
)
USERS = ds.Entity(
    "user",
    types={"age": "int"},
    streams=[ds.Stream("user-changes", payload="FULL")],
    partitions=16,
)
ROWS = {str(n): {"age": n} for n in range(200)}


def vector_id(vector: dict[str, Any]) -> bytes:
    return vector["id"].encode() if "id" in vector else base64.b64decode(vector["base64"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["crc16"]))
def test_all_clients_choose_the_same_partition(vector: dict[str, Any]) -> None:
    entity_id = vector_id(vector)
    assert crc16(entity_id) == vector["crc16"]
    for count, partition in vector["partitions"].items():
        assert ds.partition_of(entity_id, int(count)) == partition
        entity = ds.Entity("e", partitions=int(count))
        assert entity.key_of(entity_id) == f"e{{{partition}}}"


def test_the_server_chooses_the_same_shard(client: ds.Client) -> None:
    things = ds.Entity("thing", streams=["things"])
    client.flush(things, *(ds.insert(vector_id(vector), {}) for vector in VECTORS))
    for count in (1, 3, 16, 64):
        for shard in range(count):
            read = {e.id for e in client.read("things", 0, shard=(shard, count), limit=1000)}
            wanted = {vector_id(v) for v in VECTORS if v["partitions"].get(str(count)) == shard}
            assert {i.encode() if isinstance(i, str) else i for i in read} == wanted


def test_keys_and_streams_have_tags() -> None:
    assert USERS.keys[:2] == ("user{0}", "user{1}")
    (stream,) = USERS.streams
    assert stream.keys[15] == "user-changes{15}"
    assert ds.Entity(b"\xff", partitions=2).keys == (b"\xff{0}", b"\xff{1}")
    assert USERS.name == "user"


@pytest.fixture(params=["server", "cluster"])
def partitioned(request: pytest.FixtureRequest) -> Iterator[ds.Client]:
    """A client of a server, and of a cluster."""
    raw = request.getfixturevalue(request.param).client(protocol=3, decode_responses=True)
    yield ds.Client(raw)
    raw.close()


def test_a_type_with_partitions_is_used_as_any_other(partitioned: ds.Client) -> None:
    client, (stream,) = partitioned, USERS.streams
    assert client.declare(USERS) is True
    assert client.info(USERS)["name"] == "user"
    effects = client.flush(USERS, *(ds.snapshot(i, row) for i, row in ROWS.items()))
    assert effects == [ds.Effect.INSERT] * len(ROWS)
    mixed = client.flush(
        USERS, ds.delete("no"), ds.update(1, {"age": 7}), ds.snapshot(2, {"age": 2}), ds.delete(3)
    )
    assert mixed == ["none", "update", "none", "delete"]
    told = client.flush(USERS, ds.touch(5), ds.touch(4), with_events=True)
    assert [list(one.events) for one in told] == [
        [f"user-changes{{{USERS.partition(n)}}}"] for n in (5, 4)
    ]
    assert client.get_many(USERS, [4, 3, "1"]) == [{"age": 4}, None, {"age": 7}]
    found = dict(client.scan(USERS, limit=10))
    assert found == {i: row for i, row in {**ROWS, "1": {"age": 7}}.items() if i != "3"}
    assert client.group(stream, "mailer", start=0, dead="graves") is True
    assert client.cursor(stream, "index", start=ds.SNAPSHOT(USERS)) is True
    with pytest.raises(TypeError, match="partitions"):
        client.consume(stream, "mailer", "c")
    events = [e for key in stream.keys for e in client.consume(key, "mailer", "c").events]
    assert len(events) == len(ROWS) + 4
    assert len(list(client.pending(stream, "mailer", limit=7))) == len(events)
    first = [
        e
        for key in stream.keys
        for e in client.follow(key, "index", limit=1000, entities=[USERS]).events
    ]
    assert {e.id: dict(e.after) for e in first} == found
    client.pause(stream, "mailer")
    assert client.stats(stream.keys[3]).readers[1].paused is True
    client.seek(stream, "index", ds.SNAPSHOT(USERS))
    assert client.redrive(stream, "mailer") == 0
    assert client.discard(stream, "mailer") == 0
    assert client.forget(stream, "mailer") is True
    assert client.forget(stream, "mailer") is False


def test_a_lost_declaration_of_a_partition_is_declared_again(partitioned: ds.Client) -> None:
    client = partitioned
    client.declare(USERS)
    for key in (USERS.key_of(1), USERS.key_of(2)):
        client.redis.delete(key)
    operations = [ds.insert(n, {"age": n}) for n in range(50)]
    assert client.flush(USERS, *operations) == ["insert"] * 50
    assert client.info(USERS.key_of(1))["streams"][0]["payload"] == "FULL"


def test_one_refused_partition_is_told_and_the_others_are_done(partitioned: ds.Client) -> None:
    client = partitioned
    client.declare(USERS)
    with pytest.raises(ds.BadValueError):
        client.flush(USERS, *(ds.insert(n, {"age": "x" if n == 7 else n}) for n in range(100)))
    assert client.get(USERS, 7) is None
    done = {int(i) for i, _ in client.scan(USERS)}
    assert done == {n for n in range(100) if USERS.partition(n) != USERS.partition(7)}


def test_deferred_flushes_of_partitions_are_committed_together(partitioned: ds.Client) -> None:
    client = partitioned
    client.declare(USERS)
    operations = [ds.insert(n, {"age": n}) for n in range(20)]
    assert client.flush(USERS, *operations, defer="t1") == ["deferred"] * 20
    assert sum(waiting.size or 0 for waiting in client.deferred(USERS)) == 20
    done, none = client.commit(USERS, "t1", "t2")
    assert (done, none) == (["insert"] * 20, None)
    client.flush(USERS, *operations, defer="t3")
    assert client.abort(USERS, "t3", "t4") == len({USERS.partition(n) for n in range(20)})
    with pytest.raises(ValueError, match="one partition"):
        client.flush(USERS, ds.touch(1), ds.touch(2), ack=ds.Ack("s", "g", "c", ("1-1",)))


def test_rows_of_partitions_are_reconciled(partitioned: ds.Client) -> None:
    client = partitioned
    client.declare(USERS)
    assert client.seed(USERS, ROWS.items(), batch=7, pipeline=3) == len(ROWS)
    assert client.seed(USERS, ROWS.items()) == 0
    rows = {**ROWS, "1": {"age": 100}, "new": {"age": 1}}
    for lost in ("17", "18", "19"):
        del rows[lost]
    with pytest.raises(ds.LimitError):
        client.reconcile(USERS, rows.items(), max_delete=2)
    assert len(dict(client.scan(USERS))) == len(ROWS) + 1
    status = client.reconcile(USERS, rows.items(), max_delete="2%", batch=7, pipeline=3)
    assert (status.phase, status.seen, status.deleted) == ("done", len(rows), 3)
    assert dict(client.scan(USERS)) == rows


def test_moved_slots_are_found(cluster: Cluster) -> None:
    raw: Any = cluster.client()
    client = ds.Client(raw)
    client.declare(USERS)
    client.flush(USERS, *(ds.insert(n, {}) for n in range(100)))
    key = USERS.key_of(5)
    node = raw.get_node_from_key(key)
    wrong = next(n for n in raw.get_primaries() if n.name != node.name)
    slots = raw.nodes_manager.slots_cache
    slots.update({slot: [wrong] for slot in slots})
    assert client.get(USERS, 5) == {}
    assert raw.get_node_from_key(key).name == node.name
    slots.update({slot: [wrong] for slot in slots})
    assert client.flush(USERS, *(ds.delete(n) for n in range(100))) == ["delete"] * 100
    for lost in ([key], USERS.keys):
        for one in lost:
            raw.nodes_manager.slots_cache.pop(raw.keyslot(one))
        assert client.get_many(USERS, [5, 6, 7, 8]) == [None] * 4
        assert client.declare(USERS) is True
    raw.close()


def test_a_slot_that_is_being_moved_answers(cluster: Cluster) -> None:
    raw: Any = cluster.client()
    client = ds.Client(raw)
    client.declare(USERS)
    client.flush(USERS, *(ds.insert(n, {"age": n}) for n in range(100)))
    entity_id = next(n for n in range(100) if USERS.partition(n) == 3)
    key = USERS.keys[3]
    slot = raw.keyslot(key)
    source = raw.get_node_from_key(key)
    target = next(n for n in raw.get_primaries() if n.name != source.name)
    ids = {n.name: raw.cluster_myid(n) for n in (source, target)}
    clients: list[Any] = [redis.Redis(port=n.port) for n in (source, target)]
    source_client, target_client = clients
    target_client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.name])
    source_client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.name])
    keys = source_client.cluster("GETKEYSINSLOT", slot, 1000)
    source_client.migrate("127.0.0.1", target.port, keys, 0, 1000)
    assert client.get(USERS, entity_id) == {"age": entity_id}
    assert client.flush(USERS, ds.snapshot(entity_id, {"age": -1})) == ["update"]
    target_client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target.name])
    source_client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target.name])
    assert client.get(USERS, entity_id) == {"age": -1}
    target_client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[source.name])
    source_client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[target.name])
    target_client.migrate("127.0.0.1", source.port, keys, 0, 1000)
    for one in (source_client, target_client):
        one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[source.name])
        one.close()
    raw.close()


def test_a_failover_is_an_outage_and_no_more(own_cluster: Cluster) -> None:
    raw: Any = own_cluster.client()
    client = ds.Client(raw)
    client.declare(USERS)
    operations = [ds.snapshot(n, {"age": n}) for n in range(50)]
    client.flush(USERS, *operations)
    own_cluster.lose_the_first()
    outages = 0
    for _ in range(400):
        try:
            effects = client.flush(USERS, *operations)
            break
        except redis.RedisError as error:
            if not ds.is_outage(error):
                raise
            outages += 1
            time.sleep(0.1)
    assert outages > 0
    assert effects == ["none"] * 50
    assert client.get_many(USERS, range(50)) == [{"age": n} for n in range(50)]
    raw.close()
