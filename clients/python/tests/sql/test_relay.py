"""The relay sends what is marked: nothing is lost, and nothing goes back."""

from __future__ import annotations

import datetime as dt
import decimal
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine, String, delete, event, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from conftest import Server
from dirty_streams import Client, Effect, Entity, Stream
from dirty_streams.sqlalchemy import Marks, Relay, Sent, entity_of

from . import models
from .conftest import Postgres, engine_of, new_database
from .models import (
    Car,
    Colour,
    Employee,
    Engineer,
    Line,
    Manager,
    Member,
    Order,
    Tag,
    Thing,
    User,
    marks,
)
from .support import Relays, ended, rows, send_all, stored, told, waiting

Sessions = sessionmaker[Session]


@pytest.fixture
def relay(engine: Engine, client: Client) -> Relay:
    return Relay(engine, client, marks)


def thing() -> Thing:
    return Thing(
        uid=uuid.UUID(int=7),
        code="ab",
        colour=Colour.RED,
        price=decimal.Decimal("1.5"),
        day=dt.date(2026, 1, 2),
        moment=dt.datetime(2026, 1, 2, 3, 4, 5, 600000),
        raw=b"\x00\xff",
    )


@pytest.fixture
def relays(url: str, server: Server) -> Iterator[Relays]:
    found = Relays(url, server.port)
    yield found
    found.kill()


class Interrupted(Client):
    """A client that lets something happen before its next flush."""

    def __init__(self, client: Client, action: Callable[[], Any]) -> None:
        super().__init__(client.redis)
        self.action: Callable[[], Any] | None = action

    def flush(self, *words: Any, **options: Any) -> Any:
        action, self.action = self.action, None
        if action is not None:
            action()
        return super().flush(*words, **options)


def test_changes_are_sent_and_their_marks_removed(
    engine: Engine, sessions: Sessions, relay: Relay, client: Client
) -> None:
    with sessions.begin() as session:
        session.add_all([User(id=1, name="Alice"), User(id=2, name="Bob")])
    sent = relay.send_once()
    assert sent.effects["user", 1] is sent.effects["user-versioned", 2] is Effect.INSERT
    assert sent.marks == 4
    assert not sent.refused
    with sessions.begin() as session:
        session.get_one(User, 1).name = "Alicia"
        session.get_one(User, 2).id = 3
    assert relay.send_once().effects == {
        ("user", 1): Effect.UPDATE,
        ("user-versioned", 1): Effect.UPDATE,
        ("user", 2): Effect.DELETE,
        ("user-versioned", 2): Effect.DELETE,
        ("user", 3): Effect.INSERT,
        ("user-versioned", 3): Effect.INSERT,
    }
    assert relay.send_once() == Sent()
    assert waiting(engine) == 0
    for number, entity in enumerate([models.users, models.versioned]):
        assert stored(client, entity) == told(client, entity) == rows(engine, User, number)
        assert set(stored(client, entity)) == {"1", "3"}


def test_values_keep_their_types(sessions: Sessions, relay: Relay, client: Client) -> None:
    seen = dt.datetime(2026, 11, 26, 8, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    with sessions.begin() as session:
        session.add(
            User(
                id=1,
                name="Ćilić",
                age=31,
                balance=decimal.Decimal("9999999.90"),
                created=dt.datetime(2026, 11, 26, 7, 30, 0, 5),
                seen=seen if session.get_bind().dialect.name == "postgresql" else None,
                settings={"a": [1, None]},
            )
        )
    relay.send_once()
    found = client.get(models.users, 1)
    assert found is not None
    assert found.pop("seen", seen) == seen
    assert found == {
        "id": 1,
        "name": "Ćilić",
        "age": 31,
        "balance": decimal.Decimal("9999999.90"),
        "created": dt.datetime(2026, 11, 26, 7, 30, 0, 5),
        "settings": {"a": [1, None]},
    }


def test_entities_of_all_classes_are_sent(
    engine: Engine, sessions: Sessions, relay: Relay, client: Client
) -> None:
    with sessions.begin() as session:
        session.add_all([Member(tenant=tenant, number=1, name="x") for tenant in range(9)])
        session.add_all([Employee(id=1), Manager(id=2, budget=5), Engineer(id=3, language="C")])
        session.add_all([Car(id=1, doors=4), models.Vehicle(id=2)])
        session.add(
            Order(id=1, lines=[Line(id=1), Line(id=2, amount=3)], tags=[Tag(id=1, name="red")])
        )
        key = {
            "uid": uuid.UUID(int=7),
            "code": "ab",
            "colour": Colour.RED,
            "price": decimal.Decimal("1.5"),
        }
        session.add(
            Thing(**key, day=dt.date(2026, 1, 2), moment=dt.datetime(2026, 1, 2), raw=b"\x00\xff")
        )
    client.declare(models.members)
    send_all(relay)
    members = stored(client, models.members)
    assert members.keys() == {f"{tenant}-1" for tenant in range(9)}
    assert len({models.members.partition(id_) for id_ in members}) > 1
    assert stored(client, models.employees) == {
        "1": {"id": 1, "kind": "employee", "name": ""},
        "2": {"id": 2, "kind": "manager", "name": "", "budget": 5},
    }
    assert stored(client, models.engineers) == {
        "3": {"id": 3, "kind": "engineer", "name": "", "language": "C"}
    }
    assert stored(client, models.vehicles) == {
        "1": {"id": 1, "kind": "car", "doors": 4},
        "2": {"id": 2, "kind": "vehicle"},
    }
    assert client.get(models.orders, 1) == {
        "id": 1,
        "lines": [{"id": 1, "amount": 1}, {"id": 2, "amount": 3}],
        "tags": ["red"],
    }
    (found_thing,) = stored(client, models.things).values()
    assert found_thing["price"] == decimal.Decimal("1.50")
    with sessions.begin() as session:
        session.execute(update(Line).where(Line.id == 1).values(amount=7))
        session.execute(update(Employee).values(name="x"))
        order = session.get_one(Order, 1)
        order.tags.clear()
    send_all(relay)
    found = client.get(models.orders, 1)
    assert found is not None
    assert (found["lines"][0]["amount"], found["tags"]) == (7, [])
    assert stored(client, models.engineers)["3"]["name"] == "x"
    assert set(stored(client, models.employees)) == {"1", "2"}
    assert waiting(engine) == 0


def test_a_key_that_is_the_same_to_the_database_alone_is_found(
    engine: Engine, client: Client
) -> None:
    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "words"
        word: Mapped[str] = mapped_column(
            String(collation=NOCASE[engine.dialect.name]), primary_key=True
        )

    words = entity_of(Word, "word", streams=["word-changes"])
    own = Marks(Base.metadata, name="word_marks")
    own.track(Word, words)
    sessions = sessionmaker(engine)
    own.listen(sessions)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("DROP COLLATION IF EXISTS nocase CASCADE"))
            options = "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            connection.execute(text(f"CREATE COLLATION nocase {options}"))
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    with sessions.begin() as session:
        session.add_all([Word(word="Alpha"), Word(word="Beta")])
    with sessions.begin() as session:
        session.execute(delete(own.table))
        own.mark(session, Word, "ALPHA", "beta", "gamma")
    assert Relay(engine, client, own).send_once().effects == {
        ("word", "Alpha"): Effect.INSERT,
        ("word", "Beta"): Effect.INSERT,
        ("word", "gamma"): Effect.NONE,
    }


NOCASE = {"sqlite": "NOCASE", "postgresql": "nocase"}


def test_a_mark_that_is_committed_behind_later_ones_is_sent(
    postgres_engine: Engine, client: Client
) -> None:
    sessions = sessionmaker(postgres_engine)
    marks.listen(sessions)
    late = sessions()
    late.add(User(id=1))
    late.flush()  # its mark has a number, which nobody else sees
    with sessions.begin() as session:
        session.add(User(id=2))
    relay = Relay(postgres_engine, Interrupted(client, late.commit), marks)
    assert set(relay.send_once().effects) == {("user", 2), ("user-versioned", 2)}
    late.close()
    assert set(relay.send_once().effects) == {("user", 1), ("user-versioned", 1)}
    assert waiting(postgres_engine) == 0


def test_a_row_that_changes_between_reading_and_sending_is_sent_again(
    engine: Engine, sessions: Sessions, client: Client
) -> None:
    def change() -> None:
        with sessions.begin() as session:
            session.get_one(User, 1).name = "newer"

    with sessions.begin() as session:
        session.add(User(id=1, name="new"))
    relay = Relay(engine, Interrupted(client, change), marks)
    relay.send_once()
    assert stored(client, models.users)["1"]["name"] == "new"
    assert set(relay.send_once().effects.values()) == {Effect.UPDATE}
    assert stored(client, models.users)["1"]["name"] == "newer"
    assert waiting(engine) == 0


def test_a_row_that_changes_between_its_mark_and_itself_is_read_as_it_was(
    engine: Engine, sessions: Sessions, client: Client
) -> None:
    """So the version of a mark stands for one state."""

    changed: list[bool] = []

    def change() -> None:
        with sessions.begin() as session:
            session.get_one(User, 1).name = "newer"

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM dirty_marks" in statement and not changed:
            changed.append(True)
            change()

    with sessions.begin() as session:
        session.add(User(id=1, name="new"))
    event.listen(engine, "after_cursor_execute", after)
    relay = Relay(engine, client, marks)
    relay.send_once()
    assert stored(client, models.versioned)["1"]["name"] == "new"
    relay.send_once()
    assert stored(client, models.versioned)["1"]["name"] == "newer"


def test_two_relays_do_not_send_at_once(engine: Engine, sessions: Sessions, client: Client) -> None:
    with sessions.begin() as session:
        session.add(User(id=1, name="old"))
    second = Relay(engine, client, marks)
    seen: list[Sent] = []

    def overtake() -> None:
        with sessions.begin() as session:
            session.get_one(User, 1).name = "new"
        seen.append(second.send_once())

    Relay(engine, Interrupted(client, overtake), marks).send_once()
    assert seen == [Sent(standby=True)]
    assert stored(client, models.users)["1"]["name"] == "old"
    second.send_once()
    assert stored(client, models.users)["1"]["name"] == "new"
    assert waiting(engine) == 0


def test_with_versions_relays_may_overtake_each_other(engine: Engine, client: Client) -> None:
    sole = sole_marks(engine)
    sessions = sessionmaker(engine)
    sole.marks.listen(sessions)
    with sessions.begin() as session:
        session.add_all([sole.model(id=1, name="old"), sole.model(id=2, name="gone")])
    second = Relay(engine, client, sole.marks)
    seen: list[Sent] = []

    def overtake() -> None:
        with sessions.begin() as session:
            session.get_one(sole.model, 1).name = "new"
            session.delete(session.get_one(sole.model, 2))
        seen.append(second.send_once())

    late = Relay(engine, Interrupted(client, overtake), sole.marks).send_once()
    assert set(seen[0].effects.values()) <= {Effect.INSERT, Effect.NONE}
    assert set(late.effects.values()) == {Effect.STALE}
    assert stored(client, sole.entity) == {"1": {"id": 1, "name": "new"}}
    second.send_once()
    with sessions.begin() as session:
        assert session.scalars(select(sole.marks.table)).all() == []
        session.add(sole.model(id=2, name="back"))
    second.send_once()
    assert stored(client, sole.entity)["2"] == {"id": 2, "name": "back"}


class Sole:
    """A class, its type and its marks, apart from those of the other tests."""

    def __init__(self, **options: Any) -> None:
        class Base(DeclarativeBase):
            pass

        class Note(Base):
            __tablename__ = "notes"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]

        self.base = Base
        self.model: Any = Note
        self.entity: Entity = entity_of(Note, "note", **{"streams": ["note-changes"], **options})
        self.marks = Marks(Base.metadata, name="note_marks")


def sole_marks(engine: Engine, *, snapshot: Any = None, **options: Any) -> Sole:
    """The tables of such a class, empty."""
    sole = Sole(**({"version": "mark"} | options))
    sole.marks.track(sole.model, sole.entity, snapshot=snapshot)
    sole.base.metadata.drop_all(engine)
    sole.base.metadata.create_all(engine)
    return sole


def failing(note: Any) -> dict[str, Any]:
    return {"id": note.id, "name": note.name, "number": 1 // (0 if note.name == "bad" else 1)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": {"name": "int"}}, 'BADVALUE field "name" takes a 64-bit signed integer'),
        ({"snapshot": failing}, "integer division or modulo by zero"),
    ],
    ids=["by Redis", "by snapshot="],
)
def test_a_row_that_is_refused_stays_marked_and_holds_up_no_other(
    engine: Engine,
    client: Client,
    options: dict[str, Any],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sole = sole_marks(engine, **options, version=None)
    sessions = sessionmaker(engine)
    sole.marks.listen(sessions)
    with sessions.begin() as session:
        session.add_all([sole.model(id=n, name="bad" if n == 4 else str(n)) for n in range(1, 8)])
    relay = Relay(engine, client, sole.marks, batch=5, retry=0)
    sent = Sent()
    for _ in range(6):
        sent.refused |= relay.send_once().refused
    assert set(stored(client, sole.entity)) == {"1", "2", "3", "5", "6", "7"}
    (refused,) = sent.refused.items()
    assert refused[0] == ("note", 4)
    assert message in str(refused[1])
    with sessions.begin() as session:
        (mark,) = session.execute(select(sole.marks.table)).all()
        assert message in mark.error
        session.get_one(sole.model, 4).name = "4"
    sent = Sent()
    for _ in range(3):
        sent.effects = relay.send_once().effects | sent.effects
    assert sent.effects == {("note", 4): Effect.INSERT}
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with sessions() as session:
        assert session.execute(select(sole.marks.table)).all() == []


def test_a_stream_that_is_full_lets_the_marks_wait(engine: Engine, client: Client) -> None:
    stream = Stream("note-changes", maxlen=3, on_full="REFUSE")
    sole = sole_marks(engine, streams=[stream])
    client.declare(sole.entity)
    client.group("note-changes", "slow", start="0")
    sessions = sessionmaker(engine)
    sole.marks.listen(sessions)
    with sessions.begin() as session:
        session.add_all([sole.model(id=n, name="x") for n in (1, 2, 3)])
    relay = Relay(engine, client, sole.marks, retry=0)
    relay.send_once()
    with sessions.begin() as session:
        session.add(sole.model(id=4, name="x"))
    (error,) = relay.send_once().refused.values()
    assert str(error).startswith("FULL")
    events = client.consume("note-changes", "slow", "reader").events
    client.ack("note-changes", "slow", "reader", [str(event.event_id) for event in events])
    sent = [relay.send_once() for _ in range(2)]
    assert sent[0].effects | sent[1].effects == {("note", 4): Effect.INSERT}


def test_a_server_that_has_lost_its_data_gets_the_declaration_again(
    sessions: Sessions, relay: Relay, client: Client, raw: redis.Redis
) -> None:
    with sessions.begin() as session:
        session.add_all([User(id=1), User(id=2)])
    relay.send_once()
    raw.flushall()
    with sessions.begin() as session:
        session.get_one(User, 2).name = "x"
    assert relay.send_once().effects["user", 2] is Effect.INSERT
    tracked = marks.tracked[0]
    read = marks.objects(relay.engine, tracked, page=100)
    assert relay.reconcile(models.Invoice).phase == "done"
    assert set(stored(client, models.users)) == {"2"}  # a run brings the other one back
    assert (
        client.reconcile(
            models.users, ((key[0], tracked.snapshot_of(row)) for key, row in read)
        ).repaired
        == 1
    )


def test_events_have_the_meta_of_their_sessions(
    sessions: Sessions, relay: Relay, client: Client
) -> None:
    for number, who in ((1, "alice"), (2, "bob"), (3, None)):
        with sessions(info={"dirty_meta": {"who": who}} if who else {}) as session:
            session.add(User(id=number))
            session.commit()
    relay.send_once()
    events = client.read("user-changes", "0", entities=[models.users]).events
    assert {(event.id, event.meta.get("who")) for event in events} == {
        ("1", "alice"),
        ("2", "bob"),
        ("3", None),
    }


def test_marks_of_a_release_that_tracks_more_are_left(
    engine: Engine, sessions: Sessions, client: Client
) -> None:
    with sessions.begin() as session:
        session.add_all([User(id=n) for n in (1, 2, 3)])
    older = Marks(models.Base.metadata.__class__())
    older.track(User, models.users)
    relay = Relay(engine, client, older, batch=2)
    send_all(relay)
    assert set(stored(client, models.users)) == {"1", "2", "3"}
    assert waiting(engine) == 3


@pytest.mark.parametrize("versioned", [False, True], ids=["without a version", "with a version"])
def test_reconcile_repairs_and_is_quiet_about_what_is_equal(
    engine: Engine, client: Client, raw: redis.Redis, versioned: bool
) -> None:
    sole = sole_marks(engine, version="mark" if versioned else None)
    sessions = sessionmaker(engine)
    with sessions.begin() as session:  # before it is tracked
        session.add_all([sole.model(id=n, name=f"name {n}") for n in range(1, 8)])
    relay = Relay(engine, client, sole.marks, batch=3)
    client.declare(sole.entity)
    assert relay.seed(sole.model) == 7
    sole.marks.listen(sessions)
    with sessions.begin() as session:
        session.get_one(sole.model, 1).name = "newer"
        session.delete(session.get_one(sole.model, 7))
    send_all(relay)
    assert raw.xlen("note-changes") == 2
    status = relay.reconcile(sole.model)
    assert (status.same, status.repaired, status.missing, raw.xlen("note-changes")) == (6, 0, 0, 2)
    raw.hset("note:1", "name", "by hand")
    raw.delete("note:2")
    raw.hset("note:9", mapping={"name": "alone", "mark": 1})
    with sessions.begin() as session:
        session.execute(update(sole.model).where(sole.model.id == 3).values(name="by hand"))
        session.execute(delete(sole.marks.table))
    status = relay.reconcile(sole.model)
    assert (status.same, status.repaired, status.deleted) == (3, 3, 1)
    assert {id_: fields["name"] for id_, fields in stored(client, sole.entity).items()} == {
        "1": "newer",
        "2": "name 2",
        "3": "by hand",
        "4": "name 4",
        "5": "name 5",
        "6": "name 6",
    }
    with sessions.begin() as session:
        session.get_one(sole.model, 2).name = "later"
    assert set(relay.send_once().effects.values()) == {Effect.UPDATE}


def test_rows_are_read_behind_the_beginning_of_a_run(
    engine: Engine, sessions: Sessions, client: Client
) -> None:
    with sessions() as session:
        session.scalars(select(User)).all()
        with pytest.raises(ValueError, match="may be older than the run"):
            client.reconcile(models.invoices, marks.rows(session, models.Invoice))
        session.rollback()
        session.add(User(id=1))
        session.flush()
        session.add(models.Invoice(id=1, user_id=1))
        session.commit()
        assert client.reconcile(models.invoices, marks.rows(session, models.Invoice)).repaired == 1
    assert client.seed(models.invoices, marks.rows(engine, models.Invoice)) == 0


def running(relay: Relay) -> threading.Thread:
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    return thread


def patiently(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited too long")


def test_outages_of_redis_are_waited_out(
    engine: Engine, sessions: Sessions, durable: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(durable.client(socket_timeout=2, retry=Retry(NoBackoff(), 0)))
    relay = Relay(engine, client, marks, interval=0.01)
    thread = running(relay)
    for number in (1, 2):
        with sessions.begin() as session:
            session.add(User(id=number))
        patiently(lambda: waiting(engine) == 0)
        durable.kill()
        with sessions.begin() as session:
            session.add(User(id=10 + number))
        time.sleep(0.3)
        assert waiting(engine) == 2
        durable.start()
        patiently(lambda: waiting(engine) == 0)
    relay.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert set(stored(client, models.users)) == {"1", "2", "11", "12"}
    assert {record.getMessage().split(":")[0] for record in caplog.records} == {
        "the marks wait",
        "the relay goes on",
    }


@pytest.fixture
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """A server that a test may stop."""
    server = type(postgres)()
    server.start()
    yield server
    server.remove()


def test_outages_of_the_database_are_waited_out(own_postgres: Postgres, client: Client) -> None:
    engine = engine_of(new_database(own_postgres))
    models.Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    marks.listen(sessions)
    relay = Relay(engine, client, marks, interval=0.01)
    thread = running(relay)
    with sessions.begin() as session:
        session.add(User(id=1))
    patiently(lambda: waiting(engine) == 0)
    own_postgres.stop()
    engine.dispose()
    time.sleep(0.5)
    assert thread.is_alive()
    own_postgres.start()
    with sessions.begin() as session:
        session.add(User(id=2))
    patiently(lambda: waiting(engine) == 0)
    relay.stop()
    thread.join(10)
    assert set(stored(client, models.users)) == {"1", "2"}
    engine.dispose()


def test_a_server_without_the_module_ends_the_relay(
    sessions: Sessions, engine: Engine, client: Client
) -> None:
    def unknown() -> None:
        raise redis.ResponseError("unknown command 'DIRTY.FLUSH', with args beginning with: ")

    with sessions.begin() as session:
        session.add(User(id=1))
    with pytest.raises(redis.ResponseError, match="unknown command"):
        Relay(engine, Interrupted(client, unknown), marks).run()
    assert waiting(engine) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_relay_in_order(
    engine: Engine, relays: Relays, sessions: Sessions, client: Client, number: signal.Signals
) -> None:
    process = relays.start()
    with sessions.begin() as session:
        session.add_all([User(id=n) for n in range(200)])
    patiently(lambda: waiting(engine) < 400)
    process.send_signal(number)
    assert ended(process) == (0, "ended in order\n")
    left = waiting(engine)
    assert left % 20 == 0  # whole turns
    send_all(Relay(engine, client, marks))
    assert stored(client, models.users) == told(client, models.users) == rows(engine, User)


def test_a_relay_takes_over_from_one_that_is_killed(
    engine: Engine, relays: Relays, sessions: Sessions, client: Client
) -> None:
    first = relays.start()
    with sessions.begin() as session:
        session.add(User(id=1))
    patiently(lambda: waiting(engine) == 0)
    second = relays.start()
    first.kill()
    ended(first)
    with sessions.begin() as session:
        session.add(User(id=2))
    patiently(lambda: waiting(engine) == 0)
    second.terminate()
    assert ended(second) == (0, "ended in order\n")
    assert set(stored(client, models.users)) == {"1", "2"}


@pytest.fixture
def postgres_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A database with many writers at once."""
    engine = engine_of(new_database(request.getfixturevalue("postgres")))
    models.Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_the_lock_ends_with_the_connection(postgres_engine: Engine, client: Client) -> None:
    relay = Relay(postgres_engine, client, marks)
    for _ in range(3):
        assert not relay.send_once().standby
    with postgres_engine.connect() as connection:
        held = connection.execute(
            text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        ).scalar()
        assert held == 0
