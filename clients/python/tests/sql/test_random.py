"""Random sessions of several writers, and relays that are killed: at the end Redis and the events are as the rows."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from conftest import Server
from dirty_streams import Client
from dirty_streams.sqlalchemy import Relay

from . import models
from .models import Invoice, Line, Member, Order, Tag, User, marks, order_tags
from .support import Relays, rows, send_all, stored, told, waiting

SECONDS = float(os.environ.get("DIRTY_SOAK", "5"))
TRACKED = [
    (models.users, User, 0),
    (models.versioned, User, 1),
    (models.invoices, Invoice, 0),
    (models.members, Member, 0),
    (models.orders, Order, 0),
]


FAILURES = (
    IntegrityError,
    PendingRollbackError,
    StaleDataError,
    ObjectDeletedError,
    ZeroDivisionError,
)
CONFLICTS = ("deadlock", "could not serialize", "database is locked")


class Writer:
    """Random transactions. Some fail, as those of applications do."""

    def __init__(self, sessions: sessionmaker[Session], seed: int) -> None:
        self.sessions = sessions
        self.random = random.Random(seed)
        self.done = self.committed = 0
        self.failed: list[BaseException] = []

    def run(self, until: float) -> None:
        try:
            while time.monotonic() < until:
                with contextlib.suppress(*FAILURES), self.sessions() as session:
                    try:
                        self.transaction(session)
                    except OperationalError as error:
                        if not any(words in str(error) for words in CONFLICTS):
                            raise
                self.done += 1
        except BaseException as error:
            self.failed.append(error)

    def transaction(self, session: Session) -> None:
        if session.get_bind().dialect.name == "postgresql":
            level = self.random.choice(["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
            session.connection(execution_options={"isolation_level": level})
        for _ in range(self.random.randint(1, 4)):
            if self.random.random() < 0.3:
                self.savepoint(session)
            else:
                self.change(session)
        if self.random.random() < 0.15:
            session.rollback()
        else:
            session.commit()
            self.committed += 1

    def savepoint(self, session: Session) -> None:
        with (
            contextlib.suppress(IntegrityError, StaleDataError, ZeroDivisionError),
            session.begin_nested(),
        ):
            self.change(session)
            if self.random.random() < 0.3:
                raise ZeroDivisionError
            self.change(session)

    def change(self, session: Session) -> None:
        actions: list[Callable[[Session], Any]] = [
            self.save, self.save, self.remove, self.rename, self.bulk_update, self.bulk_insert, self.bulk_delete,
            self.invoice, self.member, self.order, self.order, self.lines, self.expired,
        ]  # fmt: skip
        self.random.choice(actions)(session)

    @property
    def id(self) -> int:
        return self.random.randint(1, 9)

    @property
    def name(self) -> str:
        return self.random.choice("abcdefgh")

    def save(self, session: Session) -> None:
        session.merge(User(id=self.id, name=self.name, age=self.random.choice([None, 1, 2])))

    def remove(self, session: Session) -> None:
        user = session.get(User, self.id)
        if user is not None:
            session.execute(delete(Invoice).where(Invoice.user_id == user.id))
            session.delete(user)

    def rename(self, session: Session) -> None:
        user = session.get(User, self.id)
        if user is not None:
            user.id = self.id + 10
            session.flush()

    def expired(self, session: Session) -> None:
        user = session.get(User, self.id)
        if user is not None:
            session.expire(user)
            user.name = self.name

    def bulk_update(self, session: Session) -> None:
        session.execute(
            update(User).where(User.name == self.name).values(name=self.name, age=self.id)
        )
        session.execute(update(Member).where(Member.tenant == self.id % 3).values(name=self.name))

    def bulk_insert(self, session: Session) -> None:
        first = self.random.randint(20, 40)
        session.execute(insert(User), [{"id": first + n, "name": self.name} for n in range(3)])

    def bulk_delete(self, session: Session) -> None:
        session.execute(delete(User).where(User.id > 10, User.name == self.name))

    def invoice(self, session: Session) -> None:
        invoice = session.get(Invoice, self.id)
        if invoice is None:
            session.merge(User(id=1))
            session.add(Invoice(id=self.id, user_id=1))
        else:
            invoice.state = self.name
        session.flush()

    def member(self, session: Session) -> None:
        key = (self.id % 3, self.id % 3)
        member = session.get(Member, key)
        if member is None:
            session.add(Member(tenant=key[0], number=key[1], name=self.name))
        elif self.random.random() < 0.5:
            session.delete(member)
        else:
            member.tenant = self.id % 3
        session.flush()

    def order(self, session: Session) -> None:
        order = session.get(Order, self.id % 4)
        if order is None:
            session.add(Order(id=self.id % 4, lines=[Line(amount=self.id)]))
        elif self.random.random() < 0.2:
            order.first = None
            order.tags = []
            session.flush()
            session.delete(order)
        elif self.random.random() < 0.5:
            order.lines.append(Line(amount=self.id))
        elif order.lines:
            order.first = None
            order.lines.remove(self.random.choice(order.lines))
        order_and_tag = {"order_id": self.id % 4, "tag_id": 1}
        if session.get(Order, order_and_tag["order_id"]) is not None:
            session.merge(Tag(id=1))
            session.flush()
            found = select(order_tags).filter_by(**order_and_tag)
            if session.execute(found).first() is None:
                session.execute(order_tags.insert().values(**order_and_tag))

    def lines(self, session: Session) -> None:
        session.execute(update(Line).where(Line.amount == self.id).values(amount=self.id))
        line = session.scalar(select(Line).where(Line.amount == self.id).limit(1))
        if line is not None and session.get(Order, self.id % 4) is not None:
            line.order_id = self.id % 4
        session.flush()


# Sessions have objects whose rows are gone, and whose keys others get: SQLAlchemy warns of it.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_random_sessions_are_told_whatever_happens_to_the_relays(
    engine: Engine, url: str, server: Server, client: Client
) -> None:
    sessions = sessionmaker(engine)
    marks.listen(sessions)
    client.declare(models.members)
    seed = int(os.environ.get("DIRTY_SEED", "0")) or random.randint(1, 10**6)
    chance = random.Random(seed)
    writers = [Writer(sessions, seed + number) for number in range(3)]
    relays = Relays(url, server.port)
    try:
        killed = 0
        alive = [relays.start(chance.randint(1, 60)) for _ in range(2)]
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=writer.run, args=(until,)) for writer in writers]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            for number, process in enumerate(alive):
                if process.poll() is not None:
                    killed += 1
                    assert process.returncode == -9, process.communicate()
                    alive[number] = relays.start(chance.randint(1, 60))
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        for process in alive:
            process.terminate()
            process.wait()
    finally:
        relays.kill()
    assert [writer.failed for writer in writers] == [[], [], []]
    assert killed > 0
    send_all(Relay(engine, client, marks))
    assert waiting(engine) == 0
    for entity, model, index in TRACKED:
        expected = {id_: texts(fields) for id_, fields in rows(engine, model, index).items()}
        found = {id_: texts(fields) for id_, fields in stored(client, entity).items()}
        assert found == expected, f"DIRTY_SEED={seed}"
        assert {id_: texts(fields) for id_, fields in told(client, entity).items()} == expected, (
            f"DIRTY_SEED={seed}"
        )
    done, committed = (
        sum(getattr(writer, name) for writer in writers) for name in ("done", "committed")
    )
    assert committed > done / 10
    print(f"{done} transactions, of which {committed} were committed, and {killed} relays killed")


def texts(fields: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items()}
