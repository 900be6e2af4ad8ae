"""Triggers mark whatever changes the rows: SQL by hand, cascades, other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, ForeignKey, delete, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from dirty_streams import Client, Entity
from dirty_streams.sqlalchemy import Marks, Relay, UnmarkedError

from . import models
from .models import Thing, marks
from .support import rows, send_all, stored
from .test_marks import begun
from .test_relay import thing

Marked = set[tuple[str, Any]]


def marked(connection: Connection) -> Marked:
    table = marks.table.c
    found = connection.execute(select(table.entity, table.id)).all()
    keys = {(entity, tuple(json.loads(key))) for entity, key in found if entity != "user-versioned"}
    return {(entity, key[0] if len(key) == 1 else key) for entity, key in keys}


CASES: list[tuple[str, Marked]] = [
    ("INSERT INTO users (id, name) VALUES (8, 'x'), (9, 'y')", {("user", 8), ("user", 9)}),
    ("UPDATE users SET age = age + 1 WHERE id < 3", {("user", 1), ("user", 2)}),
    ("UPDATE users SET id = 7 WHERE id = 3", {("user", 3), ("user", 7)}),
    ("DELETE FROM users WHERE id = 3", {("user", 3)}),
    ("UPDATE members SET tenant = 5 WHERE number = 3", {("member", (1, 3)), ("member", (5, 3))}),
    ("UPDATE employees SET name = 'x' WHERE id = 2", {("employee", 2), ("engineer", 2)}),
    ("UPDATE managers SET budget = 1", {("employee", 2)}),
    ("UPDATE engineers SET language = 'C'", {("employee", 3), ("engineer", 3)}),
    ("UPDATE vehicles SET doors = 2 WHERE id = 2", {("vehicle", 2)}),
    ("UPDATE lines SET amount = 9 WHERE id = 1", {("order", 1)}),
    ("UPDATE lines SET order_id = 2 WHERE id = 1", {("order", 1), ("order", 2)}),
    ("UPDATE lines SET order_id = NULL WHERE id = 1", {("order", 1)}),
    ("INSERT INTO lines (id, order_id, amount) VALUES (9, 2, 1)", {("order", 2)}),
    ("DELETE FROM lines WHERE id = 1", {("order", 1)}),
    ("INSERT INTO order_tags (order_id, tag_id) VALUES (2, 1)", {("order", 2)}),
    ("UPDATE tags SET name = 'x'", set()),
]


@pytest.mark.parametrize(("statement", "expected"), CASES)
def test_a_statement_by_hand_is_marked(engine: Engine, statement: str, expected: Marked) -> None:
    with Session(engine) as session:
        begun(session)
    with engine.begin() as connection:
        marks.create_triggers(connection)
        marks.create_triggers(connection)  # again, in place of those that are there
    with engine.begin() as connection:
        connection.execute(text(statement))
        assert marked(connection) == expected
    with engine.begin() as connection:
        connection.execute(delete(marks.table))
        marks.drop_triggers(connection)
        connection.execute(text("UPDATE users SET age = 7"))
        assert marked(connection) == set()


def test_only_what_differs_is_marked_on_postgresql(engine: Engine) -> None:
    with Session(engine) as session:
        begun(session)
    with engine.begin() as connection:
        marks.create_triggers(connection)
        connection.execute(text("UPDATE users SET name = name"))
        known = marked(connection)
        assert known == (
            set() if engine.dialect.name == "postgresql" else {("user", n) for n in (1, 2, 3)}
        )


def test_a_truncated_table_is_marked_on_postgresql(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        return
    with Session(engine) as session:
        begun(session)
    with engine.begin() as connection:
        marks.create_triggers(connection)
        connection.execute(text("TRUNCATE members"))
        assert marked(connection) == {("member", (1, 2)), ("member", (1, 3))}


def test_keys_of_any_type_are_sent_from_triggers(engine: Engine, client: Client) -> None:
    with engine.begin() as connection:
        marks.create_triggers(connection)
    with Session(engine) as session:
        session.add(thing())
        session.commit()
    relay = Relay(engine, client, marks)
    send_all(relay)
    assert len(stored(client, models.things)) == 1
    assert stored(client, models.things).keys() == rows(engine, Thing).keys()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM things"))
    send_all(relay)
    assert stored(client, models.things) == {}


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)


class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parents.id", ondelete="CASCADE"))


own = Marks(Base.metadata, name="family_marks")
own.track(Child, Entity("child", streams=["child-changes"]))


def test_a_cascade_of_the_database_is_marked_by_triggers_alone(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)
    own.listen(sessions)
    assert (
        "children.parent_id has ON … CASCADE: rows that the database changes by itself leave no mark"
        in caplog.text
    )

    def children_of(parent: int) -> list[str]:
        with sessions.begin() as session:
            session.add(Parent(id=parent))
            session.flush()
            session.add(Child(id=parent, parent_id=parent))
            session.flush()
            session.execute(delete(own.table))
            session.delete(session.get_one(Parent, parent))
        with sessions() as session:
            return list(session.scalars(select(own.table.c.id)))

    assert children_of(1) == []
    with engine.begin() as connection:
        own.create_triggers(connection)
    assert children_of(2) == ["[2]"]
    with engine.begin() as connection:
        own.drop_triggers(connection)


def unlistened(session: Session) -> None:
    session.execute(text("UPDATE users SET age = 1"))


def refused(session: Session) -> None:
    with pytest.raises(UnmarkedError):
        session.execute(text("UPDATE users SET age = 1"))


@pytest.mark.parametrize(("unseen", "action"), [("ignore", unlistened), ("refuse", refused)])
def test_who_has_triggers_may_ignore_what_is_unseen(
    engine: Engine, unseen: str, action: Callable[[Session], None]
) -> None:
    sessions = sessionmaker(engine)
    marks.listen(sessions, unseen=unseen)
    with sessions() as session:
        action(session)
