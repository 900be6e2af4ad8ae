"""Each command's options and replies, in RESP2 and RESP3."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import dirty_streams as ds
from conftest import Server

USERS = ds.Entity("user", types={"age": "int"}, streams=[ds.Stream("users", payload="FULL")])


@pytest.fixture(params=[(2, False), (3, True)], ids=["resp2", "resp3"])
def raw(request: pytest.FixtureRequest, server: Server) -> Iterator[redis.Redis]:
    protocol, text = request.param
    client = server.client(protocol=protocol, decode_responses=text)
    yield client
    client.close()


def ids(batch: ds.Batch) -> list[str]:
    return [event.event_id or "" for event in batch]


def test_every_option_of_a_declaration_arrives(client: ds.Client) -> None:
    orders = ds.Entity(
        "order",
        types={"total": "decimal:2"},
        version="rev",
        tombstone=dt.timedelta(hours=1),
        soft_delete="gone",
        name="Order",
        prefix="o/",
        revision=3,
        streams=[
            ds.Stream("all", maxlen=1000, approximate=True, on_full="KEEP", max_age=1.5),
            ds.Stream("some", ops="ID", fields=["total"], payload="IMAGES"),
            ds.Stream("kafka", format="DEBEZIUM", id_field="id", safe_numbers=True, db=0),
            "plain",
        ],
    )
    assert client.declare(orders) is True
    told = client.info(orders)
    streams = {stream.pop("stream"): stream for stream in told.pop("streams")}
    assert told == {
        "name": "Order",
        "prefix": "o/",
        "revision": 3,
        "stateless": False,
        "version": "rev",
        "tombstone": 3_600_000,
        "softdelete": "gone",
        "types": {"total": "decimal:2", "rev": "int"},
    }
    assert (streams["all"]["maxlen"], streams["all"]["onfull"]) == ("~ 1000", "KEEP")
    assert streams["all"]["maxage"] == 1500
    assert (streams["some"]["ops"], streams["some"]["fields"]) == ("ID", ["total"])
    assert streams["some"]["payload"] == "IMAGES"
    assert (streams["kafka"]["idfield"], streams["kafka"]["safenumbers"]) == ("id", True)
    assert streams["plain"]["ops"] == "IUD"
    older = ds.Entity("order", revision=2, streams=["plain"])
    assert client.declare(older) is False
    assert client.info(b"order")["revision"] == 3


def test_tags_and_stateless_types_are_declared(client: ds.Client) -> None:
    tagged = ds.Entity(
        "tagged",
        tags={"ID": "dirtyStream=Users/slow,Status//ID", "Status": "dirtyStream=Status"},
        pools={"slow": 0},
    )
    assert client.declare(tagged) is True
    told = {stream["stream"]: stream["ops"] for stream in client.info(tagged)["streams"]}
    assert told == {"Users": "IUD", "Status": "ID"}
    plain = ds.Entity("p", stateless=True, types={"n": "int"}, streams=["ps"])
    client.declare(plain)
    assert client.flush(plain, ds.change(1, {"n": 1}, {"n": 2})) == ["update"]
    (event,) = client.read("ps", 0, entities=[plain])
    assert event.changes == {"n": (1, 2)}
    mixed = ds.change(1, {"n": 1, "b": b"\xff"}, {"n": 2, "b": "text"})
    assert client.flush(plain, mixed) == ["update"]


def test_every_effect_is_a_value(client: ds.Client) -> None:
    people = ds.Entity(
        "person", types={"gone": "bool"}, version="v", soft_delete="gone", streams=["people"]
    )
    client.declare(people)
    results = client.flush(
        people,
        ds.insert(1, {"v": 2, "name": "A"}),
        ds.insert(1, {"v": 2, "name": "A"}),
        ds.snapshot(1, {"v": 2, "name": "B"}),
        ds.snapshot(1, {"v": 1}),
        ds.update(1, {"v": 3, "name": "C"}),
        ds.touch(1),
        ds.snapshot(2, {"v": 1, "gone": True}),
        ds.seed(3, {"v": 1}),
        ds.delete(1, {"v": 4}),
    )
    assert [str(result) for result in results] == (
        ["insert", "none", "conflict", "stale", "update", "touch", "hidden", "seed", "delete"]
    )
    assert client.flush(people, ds.snapshot(3, {"v": 0}), force=True) == [ds.Effect.UPDATE]
    assert client.get(people, 3) == {"v": 0}
    assert client.flush(people) == []


def test_events_of_a_flush_are_told(client: ds.Client) -> None:
    client.declare(USERS)
    (told,) = client.flush(USERS, ds.insert(1, {"age": 3}), with_events=True)
    (event,) = client.read("users", 0)
    assert told == ds.Flushed(ds.Effect.INSERT, ("age",), {"users": event.event_id})
    (told,) = client.flush(USERS, ds.update(1, {"age": 4}), with_events=True, dry_run=True)
    assert told == ds.Flushed(ds.Effect.UPDATE, ("age",), {"users": None})
    assert client.flush(USERS, ds.delete(1), dry_run=True) == ["delete"]
    assert client.get(USERS, 1) == {"age": 3}


def test_a_token_makes_a_flush_happen_once(client: ds.Client) -> None:
    client.declare(USERS)
    for _ in range(2):
        assert client.flush(USERS, ds.insert(1, {}), once="t", once_for=60) == ["insert"]
    assert client.flush(USERS, ds.insert(1, {})) == ["none"]


def test_deferred_flushes_are_listed_committed_and_aborted(
    client: ds.Client, raw: redis.Redis
) -> None:
    client.declare(USERS)
    assert client.flush(USERS, ds.insert(1, {}), ds.touch(b"\xff"), defer="t1") == ["deferred"] * 2
    (waiting,) = client.deferred(USERS, min_age=0, limit=5)
    assert (waiting.token, waiting.size) == ("t1", 2)
    assert waiting.operations == (("INSERT", "1"), ("TOUCH", b"\xff"))
    assert client.deferred(USERS, min_age=60) == []
    client.flush(USERS, ds.update(1, {"age": 1}), defer="t2", with_events=True)
    raw.hset("user@deferred", "odd", "text")
    odd = client.deferred(USERS)[-1]
    assert odd == ds.Deferred("odd", None, None, None)
    done = client.commit(USERS, "t1", "t2", "t3", "odd")
    assert done[0] == ["insert", "none"]
    assert done[1] is not None
    assert done[1][0].fields == ("age",)
    assert done[2:] == [None, [ds.Effect.UNREADABLE]]
    assert client.abort(USERS, "t1", "odd") == 1


def test_a_flush_acknowledges_in_the_same_unit(client: ds.Client) -> None:
    client.declare(USERS)
    client.group("users", "g", start=0)
    client.flush(USERS, ds.insert(1, {}))
    got = ids(client.consume("users", "g", "c"))
    ack = ds.Ack("users", "g", "c", tuple(got))
    assert client.flush(USERS, ds.insert(2, {}), ack=ack) == ["insert"]
    with pytest.raises(ds.NotHeldError, match=got[0]):
        client.flush(USERS, ds.insert(3, {}), ack=ack)
    assert client.get(USERS, 3) is None


def test_every_option_of_a_reader_arrives(client: ds.Client) -> None:
    where = ds.Where(
        entities=["user"],
        ids=[1, b"\xff"],
        ops="IU",
        fields=["age"],
        meta={"who": ["a", "b"], "tenant": "x"},
    )
    declared = client.group(
        "s",
        "g",
        start="$",
        order="META tenant",
        claim=90,
        max_pending=7,
        max_deliveries=4,
        dead="graves",
        on_dead="PARK",
        min_age=0.25,
        where=where,
        revision=2,
    )
    assert declared is True
    assert client.group("s", "g", order="META tenant", revision=1) is False
    assert client.cursor("s", "c", start=0, shard=(1, 3), min_age=dt.timedelta(seconds=2)) is True
    cursor, group = client.stats("s").readers
    assert (group.order, group.claim, group.max_pending) == ("META tenant", 90, 7)
    assert (group.max_deliveries, group.dead, group.on_dead) == (4, "graves", "PARK")
    assert (group.min_age, group.revision, group.kind) == (0.25, 2, "group")
    assert [group.where.count(word) for word in ("ENTITY", "user", "ID", "META", b"\xff")] == [
        1,
        1,
        1,
        3,
        1,
    ]
    assert (group.stalled, group.paused, group.turn) == (False, False, None)
    assert (cursor.shard, cursor.min_age, cursor.kind) == ((1, 3), 2.0, "cursor")
    assert cursor.position is not None
    assert client.stats("s").reader("g") == group
    assert client.stats("s").reader("no") is None


def test_readers_begin_where_they_are_told(client: ds.Client, raw: redis.Redis) -> None:
    client.declare(USERS)
    client.flush(USERS, ds.insert(1, {}), ds.insert(2, {}))
    first, second = ids(client.read("users", 0))
    starts: list[tuple[Any, int]] = [
        ("0", 2),
        ("$", 0),
        (first, 1),
        (dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), 2),
        (dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1), 0),
    ]
    for number, (start, count) in enumerate(starts):
        client.group("users", f"g{number}", start=start)
        assert len(client.consume("users", f"g{number}", "c")) == count
    raw.xgroup_create("users", "native", first)
    client.group("users", "taken", start=ds.NativeGroup("native"))
    assert ids(client.consume("users", "taken", "c")) == [second]
    with pytest.raises(ValueError, match="zone"):
        client.read("users", dt.datetime(2020, 1, 1))


def test_events_are_acknowledged_failed_held_and_left(client: ds.Client) -> None:
    client.declare(USERS)
    client.group("users", "g", start=0, max_deliveries=2, claim=30)
    client.flush(USERS, *(ds.insert(n, {}) for n in range(5)), meta={"who": "me"})
    got = ids(client.consume("users", "g", "c", limit=4))
    assert client.ack("users", "g", "c", [got[0], "1-1"]) == ["1-1"]
    assert client.ack("users", "g", "c", []) == []
    assert client.hold("users", "g", "c", got) == [got[0]]
    assert client.hold("users", "g", "c") == []
    failed = client.fail("users", "g", "c", "no", [got[1], got[0]], delay=60)
    assert failed == ["retry", "not-held"]
    assert client.fail("users", "g", "c", b"\xff", [got[2]], fatal=True) == ["dead"]
    delayed, held = client.pending("users", "g", limit=1)
    assert (delayed.id, delayed.state, delayed.error, delayed.failures) == (
        got[1],
        "delayed",
        "no",
        1,
    )
    assert delayed.due is not None
    assert dt.timedelta(seconds=50) < delayed.due - dt.datetime.now(dt.timezone.utc)
    assert (held.id, held.consumer, held.deliveries) == (got[3], "c", 1)
    assert [p.id for p in client.pending("users", "g", consumer="c")] == [got[3]]
    (dead,) = client.read("users:dead", 0)
    assert dead.dead is not None
    assert (dead.dead.id, dead.dead.error, dead.dead.reader) == (got[2], b"\xff", "g")
    assert (dead.entity, dead.id, dead.meta) == ("user", "2", {"who": "me"})
    assert client.redrive("users", "g", ids=[got[2]]) == 1
    assert client.redrive("users", "g") == 1
    again = client.consume("users", "g", "c")
    assert [(e.deliveries, e.failures) for e in again] == [(1, 0), (2, 1), (1, 0)]
    assert client.leave("users", "g", "c") == 4
    assert client.leave("users", "g", "c") == 0
    batch = client.consume("users", "g", "d", ack=["1-1"])
    assert batch.not_held == ("1-1",)
    assert len(client.consume("users", "g", "d", pending=True)) == 1
    assert client.ack("users", "g", "operator", got, force=True) == [got[0]]


def test_dead_events_are_selected(client: ds.Client) -> None:
    client.declare(USERS)
    client.group("users", "g", start=0, order="META who")
    for n in range(4):
        client.flush(USERS, ds.insert(n, {}), meta={"who": str(n)})
    got = ids(client.consume("users", "g", "c"))
    client.fail("users", "g", "c", "no", got, fatal=True)
    assert client.redrive("users", "g", entity=("user", 0)) == 1
    assert client.discard("users", "g", key="1") == 1
    assert client.discard("users", "g", ids=[got[2]]) == 1
    assert client.discard("users", "g") == 2
    with pytest.raises(ValueError, match="one of"):
        client.redrive("users", "g", key="1", ids=[got[2]])
    client.cursor("users", "c", start=0)
    assert client.fail_cursor("users", "c", "no", [got[0], "1-1"]) == ["dead", "not-held"]
    assert client.discard("users", "c", kind="CURSOR") == 1


def test_a_cursor_follows_from_a_snapshot(client: ds.Client) -> None:
    client.declare(USERS)
    client.flush(USERS, *(ds.seed(n, {"age": n}) for n in range(3)))
    client.cursor("users", "index", start=ds.SNAPSHOT(USERS))
    first = client.follow("users", "index", entities=[USERS])
    assert (first.begin, first.phase, first.scanned) == (True, "stream", 3)
    assert {(e.op, e.id, e.after["age"], e.event_id) for e in first} == {
        (ds.Op.READ, str(n), n, None) for n in range(3)
    }
    client.flush(USERS, ds.update(1, {"age": 9}))
    second = client.follow("users", "index", ack=first.position)
    assert [(e.op, e.changes["age"]) for e in second] == [("update", (1, 9))]
    assert (second.begin, second.phase, second.more, second.missed) == (False, None, False, 0)
    assert client.ack_position("users", "index", second.position or "") is True
    assert client.ack_position("users", "index", second.position or "") is False
    client.seek("users", "index", ds.SNAPSHOT("user"))
    assert len(client.follow("users", "index")) == 3


def test_readers_are_moved_paused_and_forgotten(client: ds.Client) -> None:
    client.declare(USERS)
    client.group("users", "g", start="$")
    client.flush(USERS, ds.insert(1, {}))
    client.pause("users", "g")
    assert len(client.consume("users", "g", "c")) == 0
    client.pause("users", "g", on=False)
    assert len(client.consume("users", "g", "c", block=5)) == 1
    client.seek("users", "g", "0")
    assert len(client.consume("users", "g", "c")) == 1
    assert client.forget("users", "g") is True
    assert client.forget("users", "g") is False
    client.cursor("users", "c", start=0)
    client.seek("users", "c", "$", kind="CURSOR")
    assert len(client.follow("users", "c")) == 0
    with pytest.raises(ds.DirtyError, match="is a cursor"):
        client.seek("users", "c", 0)
    assert client.forget("users", "c", kind="CURSOR") is True


def test_events_are_read_from_a_position_of_the_caller(client: ds.Client) -> None:
    client.declare(USERS)
    client.flush(USERS, ds.insert(1, {"age": 1}), ds.update(1, {"age": 2}), ds.insert(2, {}))
    batch = client.read("users", "0", limit=1, entities=[USERS])
    assert (len(batch), batch.more, batch.missed) == (1, True, 0)
    assert batch.position is not None
    rest = client.read("users", batch.position, where=ds.Where(ops="U"), block=0.01)
    assert [event.changes for event in rest] == [{"age": (1, 2)}]
    assert len(client.read("users", 0, min_age=60)) == 0
    assert len(client.read("users", 0, shard=(0, 1))) == 3


def test_entries_of_others_are_shown_as_they_are(client: ds.Client, raw: redis.Redis) -> None:
    raw.xadd("users", {"a": "1", b"\xff": b"\xfe"})
    (event,) = client.read("users", 0)
    assert (event.entity, event.op) == (None, None)
    assert event.fields == (("a", "1"), (b"\xff", b"\xfe"))


def test_rows_repair_what_differs(client: ds.Client, raw: redis.Redis) -> None:
    client.declare(USERS)
    rows = {str(n): {"age": n} for n in range(1000)}
    assert client.seed(USERS, rows.items(), batch=100, pipeline=3) == 1000
    raw.hset("user:5", "age", 99)
    raw.delete("user:6")
    client.flush(USERS, ds.seed("lost", {}))

    def read() -> Iterator[tuple[str, dict[str, int]]]:
        yield from rows.items()

    counted = client.reconcile(USERS, read(), sweep=False, run="first")
    assert (counted.repaired, counted.missing, counted.deleted) == (2, 1, 0)
    status = client.reconcile(USERS, read(), batch=70, pipeline=2)
    assert (status.phase, status.seen, status.same, status.repaired) == ("done", 1000, 1000, 0)
    assert (status.missing, status.deleted, status.differs) == (1, 1, 1)
    assert dict(client.scan(USERS)) == rows
    events = list(client.read("users", 0))
    assert sorted((e.op, e.id) for e in events) == [
        ("delete", "lost"),
        ("insert", "6"),
        ("update", "5"),
    ]


def test_a_run_that_fails_is_ended(client: ds.Client) -> None:
    client.declare(USERS)
    client.flush(USERS, *(ds.seed(n, {}) for n in range(50)))

    def read() -> Iterator[tuple[int, dict[str, int]]]:
        yield 1, {}
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="gone"):
        client.reconcile(USERS, read(), batch=1, pipeline=1, run="r1")
    with pytest.raises(ds.NoRunError):
        client.reconcile_status(USERS, "r1")
    with pytest.raises(ds.LimitError):
        client.reconcile(USERS, [(1, {})], max_delete=3)
    status = client.reconcile(USERS, [(n, {}) for n in range(40)], max_delete="25%")
    assert status.deleted == 10


def test_a_waiting_call_gets_the_next_event(client: ds.Client, server: Server) -> None:
    client.declare(USERS)
    client.group("users", "g", start="$")
    other = ds.Client(server.client())
    timer = threading.Timer(0.1, lambda: other.flush(USERS, ds.insert(1, {})))
    timer.start()
    assert len(client.consume("users", "g", "c", block=10)) == 1
    timer.join()
    other.redis.close()
