from __future__ import annotations

import pytest
import redis

import dirty_streams as ds


def test_the_first_page_of_the_readme(client: ds.Client) -> None:
    users = ds.Entity(
        "user",
        types={"age": "int", "balance": "decimal:2", "created": "datetime"},
        streams=[ds.Stream("user-changes", payload="FULL", maxlen=100_000)],
        revision=1,
    )
    assert client.declare(users) is True
    effects = client.flush(
        users, ds.snapshot(42, {"name": "Alice", "age": 31}), ds.delete(7), meta={"who": "admin"}
    )
    assert effects == [ds.Effect.INSERT, ds.Effect.NONE]
    assert client.get(users, 42) == {"name": "Alice", "age": 31}
    assert client.get(users, 7) is None
    assert dict(client.scan(users)) == {"42": {"name": "Alice", "age": 31}}
    assert (
        client.group("user-changes", "mailer", start="0", order="ENTITY", max_deliveries=5) is True
    )
    batch = client.consume("user-changes", "mailer", "m1", entities=[users], block=0.1)
    (event,) = batch.events
    assert (event.op, event.entity, event.id, event.deliveries) == ("insert", "user", "42", 1)
    assert event.changes == {"name": (None, "Alice"), "age": (None, 31)}
    assert event.meta == {"who": "admin"}
    assert client.ack("user-changes", "mailer", "m1", [event.event_id or ""]) == []
    assert client.stats("user-changes").readers[0].order == "ENTITY"


def test_a_flush_declares_what_was_lost(client: ds.Client, raw: redis.Redis) -> None:
    users = ds.Entity("user", streams=["user-changes"])
    assert client.flush(users, ds.insert(1, {})) == [ds.Effect.INSERT]
    raw.flushall()
    assert client.flush(users, ds.insert(1, {})) == [ds.Effect.INSERT]


def test_a_type_may_be_named_by_bytes(client: ds.Client) -> None:
    users = ds.Entity(b"user", types={"age": "decimal"}, streams=[b"changes"], id_type=int)
    client.flush(users, ds.insert(1, {"age": 3}))
    (event,) = client.read(b"changes", b"0", entities=[users])
    assert (event.entity, event.id, event.declaration) == ("user", 1, users)


def test_errors_of_the_application_take_no_code(client: ds.Client) -> None:
    class MineError(ds.DirtyError):
        pass

    with pytest.raises(ds.DirtyError) as refused:
        client.group("users", "new")
    assert not isinstance(refused.value, MineError)
