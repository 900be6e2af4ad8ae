"""All kinds of sessions are listened to, and nothing else is; what cannot be tracked is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, Numeric, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from dirty_streams import Client, Entity
from dirty_streams.sqlalchemy import Marks, Relay, entity_of

from . import models
from .models import Line, User, marks, order_tags


class OwnSession(Session):
    pass


def test_nothing_of_asyncio_is_imported_before_it_is_used() -> None:
    """Since SQLAlchemy 2.1 its extra `asyncio` brings greenlet, without which the import fails."""
    program = "import sys; sys.modules['greenlet'] = None; import dirty_streams.sqlalchemy"
    subprocess.run([sys.executable, "-c", program], check=True)


def one_session(engine: Engine) -> Session:
    session = Session(engine)
    marks.listen(session)
    return session


def maker(engine: Engine) -> Session:
    sessions = sessionmaker(engine)
    marks.listen(sessions)
    return sessions()


def own_class(engine: Engine) -> Session:
    marks.listen(OwnSession)
    return OwnSession(engine)


def scoped(engine: Engine) -> Session:
    sessions = scoped_session(sessionmaker(engine))
    marks.listen(sessions)
    return sessions()


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(marks.table)) or 0


@pytest.mark.parametrize("make", [one_session, maker, own_class, scoped])
def test_sessions_of_any_kind_are_listened_to(
    engine: Engine, make: Callable[[Engine], Session]
) -> None:
    with make(engine) as session:
        session.add(User(id=1))
        session.commit()
        assert count(session) >= 2
    with Session(engine) as other:
        known = count(other)
        other.add(User(id=2))
        other.commit()
        assert count(other) == known


def test_sessions_of_asyncio_are_listened_to(url: str, engine: Engine) -> None:
    async def play() -> int:
        asynchronous = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        sessions = async_sessionmaker(asynchronous)
        marks.listen(sessions)
        async with sessions() as session:
            session.add(User(id=1))
            await session.commit()
            await session.execute(User.__table__.update().values(name="x"))  # type: ignore[attr-defined]
            await session.commit()
        async with AsyncSession(asynchronous) as other:
            other.add(User(id=2))
            await other.commit()
            found = await other.run_sync(count)
        await asynchronous.dispose()
        return found

    assert asyncio.run(play()) == 4
    with Session(engine) as session:
        assert count(session) == 4


class Base(DeclarativeBase):
    pass


class Slug(Base):
    __tablename__ = "slugs"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(primary_key=True)


class Reading(Base):
    __tablename__ = "readings"
    at: Mapped[dt.datetime] = mapped_column(primary_key=True)


class Weird(Base):
    __tablename__ = "weird"
    key: Mapped[float] = mapped_column(Numeric(asdecimal=False), primary_key=True)


class Revised(Base):
    __tablename__ = "revised"
    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int]


def twice(own: Marks) -> None:
    own.track(User, users)
    own.track(User, users)


def half_a_key(own: Marks) -> None:
    own.track(models.Member, users)
    own.mark(Session(), models.Member, 1)


def rows_of_marks(own: Marks) -> None:
    own.track(User, Entity("user", version="mark", streams=["s"]))
    next(own.rows(Session(), User))


users = Entity("user", streams=["user-changes"])
WRONG: list[tuple[type[Exception], str, Callable[[Marks], Any]]] = [
    (TypeError, "<class 'int'> is not a mapped class", lambda m: m.track(int, users)),
    (
        TypeError,
        r"Slug has the primary key tenant, slug, of which two may have the same text: give id=lambda tenant, slug: …",
        lambda m: m.track(Slug, users),
    ),
    (TypeError, "Reading has the primary key at", lambda m: m.track(Reading, users)),
    (
        TypeError,
        r"Weird: a primary key of type Numeric\(.*\) has no text",
        lambda m: m.track(Weird, users),
    ),
    (
        ValueError,
        "'user' is STATELESS: a relay sends whole states",
        lambda m: m.track(User, Entity("user", stateless=True, streams=["user-changes"])),
    ),
    (
        ValueError,
        "the version of 'revised' is the number of the mark, so its rows have no field 'revision'",
        lambda m: m.track(
            Revised, entity_of(Revised, "revised", version="revision", streams=["s"])
        ),
    ),
    (
        ValueError,
        "'user' is tracked already, as User as 'user'",
        twice,
    ),
    (
        ValueError,
        r"a part of Slug names its primary key \['tenant', 'slug'\], not \['order_id'\] of 'lines'",
        lambda m: m.track(Slug, users, id=lambda *key: "-".join(key), parts={Line: "order_id"}),
    ),
    (KeyError, "nothing", lambda m: m.track(User, users, parts={order_tags: "nothing"})),
    (
        ValueError,
        "unseen is 'refuse' or 'ignore', not 'warn'",
        lambda m: m.listen(Session, unseen="warn"),
    ),
    (TypeError, "marks listen to sessions, not to 7", lambda m: m.listen(7)),
    (ValueError, "User is not tracked", lambda m: m.mark(Session(), User, 1)),
    (
        ValueError,
        "the primary key of Member is tenant, number, not 1",
        half_a_key,
    ),
    (
        ValueError,
        "User is tracked as 0 entity types, not as one",
        lambda m: next(m.rows(Session(), User)),
    ),
    (
        ValueError,
        "the version of 'user' is that of marks, which rows do not have: use Relay.reconcile",
        rows_of_marks,
    ),
]


@pytest.mark.parametrize(("kind", "message", "action"), WRONG)
def test_what_cannot_be_tracked_is_refused(
    kind: type[Exception], message: str, action: Callable[[Marks], Any]
) -> None:
    with pytest.raises(kind, match=message):
        action(Marks(Base.metadata.__class__()))


def test_types_come_from_columns() -> None:
    assert models.users.types == {
        "id": "int",
        "age": "int",
        "balance": "decimal:2",
        "created": "datetime",
        "seen": "time",
        "settings": "json",
    }
    assert models.employees.types == {"id": "int", "budget": "int"}
    changed = entity_of(User, "user", types={"age": "uint", "more": "bool"}, streams=["s"])
    assert (changed.types["age"], changed.types["more"]) == ("uint", "bool")


class Paused(Base):
    __tablename__ = "paused"
    id: Mapped[int] = mapped_column(primary_key=True)
    pause: Mapped[dt.timedelta]


paused = entity_of(Paused, "paused", streams=["s"])
paused_marks = Marks(Base.metadata, name="paused_marks")
paused_marks.track(Paused, paused)


def test_an_interval_is_its_seconds(engine: Engine, client: Client) -> None:
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        paused_marks.listen(session)
        session.add(Paused(id=1, pause=dt.timedelta(minutes=1, milliseconds=500)))
        session.commit()
    Relay(engine, client, paused_marks).send_once()
    assert client.get(paused, 1) == {"id": 1, "pause": 60.5}
