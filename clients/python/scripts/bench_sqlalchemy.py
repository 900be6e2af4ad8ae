"""What marks cost a transaction, and how many rows a second a relay sends.

    bench_sqlalchemy.py DATABASE_URL REDIS_URL [ROUNDS [TRANSACTIONS [ROWS]]]

It creates its tables in the database, and drops them. The figures of clients/python/docs/sqlalchemy.md are from this.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from typing import TYPE_CHECKING

import redis
from sqlalchemy import Engine, create_engine, delete, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from dirty_streams import Client, Stream
from dirty_streams.sqlalchemy import Marks, Relay, entity_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Base(DeclarativeBase):
    """The tables."""


class Account(Base):
    """A row."""

    __tablename__ = "bench_accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    city: Mapped[str]
    balance: Mapped[int]


marks = Marks(Base.metadata, name="bench_marks")
marks.track(
    Account, entity_of(Account, "bench-account", streams=[Stream("bench-changes", maxlen=1000)])
)
values = itertools.count()


def account(number: int) -> Account:
    """A new row."""
    return Account(
        id=number, name=f"name {number}", email=f"{number}@example.com", city="Zagreb", balance=0
    )


def one_update(session: Session) -> None:
    """Changes an object."""
    session.get_one(Account, 1).balance = next(values)


def ten_updates(session: Session) -> None:
    """Changes ten objects."""
    for number in range(1, 11):
        session.get_one(Account, number).balance = next(values)


def bulk_update(session: Session) -> None:
    """Changes a hundred rows by a statement."""
    session.execute(update(Account).where(Account.id < 100).values(balance=next(values)))


def microseconds(
    sessions: sessionmaker[Session], action: Callable[[Session], None], times: int
) -> tuple[float, float]:
    """How long a transaction takes, and how long it keeps this process busy."""
    begun = time.perf_counter(), time.process_time()
    for _ in range(times):
        with sessions.begin() as session:
            action(session)
    taken = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return taken[0] / times * 1e6, taken[1] / times * 1e6


def transactions(engine: Engine, rounds: int, times: int) -> None:
    """Transactions without marks and with marks, in turn; the median of the rounds."""
    with Session(engine) as session, session.begin():
        session.add_all([account(number) for number in range(1, 101)])
    plain, marked = sessionmaker(engine), sessionmaker(engine)
    marks.listen(marked)
    for action in (one_update, ten_updates, bulk_update):
        pairs = [
            (*microseconds(plain, action, times), *microseconds(marked, action, times))
            for _ in range(rounds)
        ]
        without, busy_without, with_marks, busy_with = (
            statistics.median(each) for each in zip(*pairs, strict=True)
        )
        print(
            f"{action.__name__:12} {without:6.0f} us unmarked ({busy_without:.0f} of the processor), "
            f"{with_marks:6.0f} us marked ({busy_with:.0f})",
            flush=True,
        )
        with Session(engine) as session, session.begin():
            session.execute(delete(marks.table))


def relay(engine: Engine, client: Client, rows: int) -> None:
    """Inserts and updates that a relay sends."""
    sessions = sessionmaker(engine)
    marks.listen(sessions)
    with sessions.begin() as session:
        session.execute(delete(Account))
        session.execute(delete(marks.table))
    found = Relay(engine, client, marks)
    rates = []
    for number in range(4):
        with sessions.begin() as session:
            if number == 0:
                session.add_all([account(number) for number in range(rows)])
            else:
                session.execute(update(Account).values(balance=number))
        begun = time.perf_counter(), time.process_time()
        found.run(until_idle=True)
        taken = time.perf_counter() - begun[0], time.process_time() - begun[1]
        rates.append(rows / taken[0])
        print(
            f"relay: {rates[-1]:.0f} rows a second; its own processor time {taken[1] / rows * 1e6:.0f} us a row",
            flush=True,
        )


def main(
    database: str, server: str, rounds: str = "9", times: str = "200", rows: str = "10000"
) -> None:
    """Measures both."""
    engine = create_engine(database)
    client = Client(redis.Redis.from_url(server))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        transactions(engine, int(rounds), int(times))
        relay(engine, client, int(rows))
    finally:
        Base.metadata.drop_all(engine)


if __name__ == "__main__":
    main(*sys.argv[1:])
