"""The classes of the tests, all tracked by `marks`."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import uuid
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    Numeric,
    String,
    Table,
    TypeDecorator,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from dirty_streams import Entity, Stream
from dirty_streams.sqlalchemy import Marks, entity_of


class Base(DeclarativeBase):
    pass


# Random sessions delete what another one has deleted, about which SQLAlchemy would warn.
UNCONFIRMED = {"confirm_deleted_rows": False}


class User(Base):
    __tablename__ = "users"
    __mapper_args__ = UNCONFIRMED

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    email: Mapped[str | None] = mapped_column(unique=True)
    age: Mapped[int | None]
    balance: Mapped[decimal.Decimal | None] = mapped_column(Numeric(10, 2))
    created: Mapped[dt.datetime | None]
    seen: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    settings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    invoices: Mapped[list[Invoice]] = relationship(passive_deletes="all")


class Invoice(Base):
    """It has a version of its own, and a relationship that deletes."""

    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    state: Mapped[str] = mapped_column(default="new")
    revision: Mapped[int] = mapped_column(Integer)
    __mapper_args__ = {"version_id_col": revision, **UNCONFIRMED}  # noqa: RUF012


class Member(Base):
    """A composite primary key."""

    __tablename__ = "members"
    __mapper_args__ = UNCONFIRMED

    tenant: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Upper(TypeDecorator[str]):
    """Small in Python, large in the database."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        return value and value.upper()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002
        return value and value.lower()


class Thing(Base):
    """A primary key of many types."""

    __tablename__ = "things"

    uid: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Upper, primary_key=True)
    colour: Mapped[Colour] = mapped_column(primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    moment: Mapped[dt.datetime] = mapped_column(primary_key=True)
    raw: Mapped[bytes] = mapped_column(primary_key=True)
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(6, 2), primary_key=True)
    name: Mapped[str] = mapped_column(default="")


class Employee(Base):
    """Joined inheritance. Engineers are entities of a type of their own."""

    __tablename__ = "employees"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "employee"}  # noqa: RUF012


class Manager(Employee):
    __tablename__ = "managers"

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    budget: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Engineer(Employee):
    __tablename__ = "engineers"

    id: Mapped[int] = mapped_column(ForeignKey("employees.id"), primary_key=True)
    language: Mapped[str] = mapped_column(default="")
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012


class Vehicle(Base):
    """Single-table inheritance."""

    __tablename__ = "vehicles"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012


class Car(Vehicle):
    doors: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "car"}  # noqa: RUF012


order_tags = Table(
    "order_tags",
    Base.metadata,
    Column("order_id", ForeignKey("orders.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")


class Line(Base):
    """A part of an order."""

    __tablename__ = "lines"
    __mapper_args__ = UNCONFIRMED

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    amount: Mapped[int] = mapped_column(default=1)


class Order(Base):
    """Its entity has its lines and tags. `first` is written behind the row."""

    __tablename__ = "orders"
    __mapper_args__ = UNCONFIRMED

    id: Mapped[int] = mapped_column(primary_key=True)
    first_id: Mapped[int | None] = mapped_column(ForeignKey("lines.id", use_alter=True))
    # No backref: a line that is removed is not in session.dirty.
    lines: Mapped[list[Line]] = relationship(
        cascade="all, delete-orphan", foreign_keys=[Line.order_id], order_by=Line.id
    )
    first: Mapped[Line | None] = relationship(foreign_keys=[first_id], post_update=True)
    tags: Mapped[list[Tag]] = relationship(secondary=order_tags, order_by=Tag.id)


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelves.id"))


class Shelf(Base):
    """It writes to its books behind everything else."""

    __tablename__ = "shelves"

    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list[Book]] = relationship(post_update=True)


def order_fields(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "first": order.first_id,
        "lines": [{"id": line.id, "amount": line.amount} for line in order.lines],
        "tags": [tag.name for tag in order.tags],
    }


def entity(model: type[Any], key: str, **options: Any) -> Entity:
    return entity_of(model, key, streams=[Stream(f"{key}-changes", payload="IMAGES")], **options)


users = entity(User, "user")
versioned = entity(User, "user-versioned", version="mark")
invoices = entity(Invoice, "invoice")
members = entity(Member, "member", partitions=4)
things = entity(Thing, "thing")
employees = entity(Employee, "employee")
engineers = entity(Engineer, "engineer")
vehicles = entity(Vehicle, "vehicle")
books = entity(Book, "book")
orders = Entity(
    "order",
    types={"id": "int", "first": "int", "lines": "json", "tags": "json"},
    streams=[Stream("order-changes", payload="IMAGES")],
)

marks = Marks(Base.metadata)
marks.track(User, users)
marks.track(User, versioned)
marks.track(Invoice, invoices)
marks.track(Member, members)
marks.track(Thing, things, id=lambda *key: "/".join(map(str, (key[0], key[1], key[2].name))))
marks.track(Employee, employees)
marks.track(Engineer, engineers)
marks.track(Vehicle, vehicles)
marks.track(Book, books)
marks.track(Order, orders, snapshot=order_fields, parts={Line: "order_id", order_tags: "order_id"})


def marked(session: Session) -> set[tuple[str, Any]]:
    """The marks as pairs of the type's key and the primary key; those of `user-versioned` are as those of `user`."""
    table = marks.table.c
    rows = session.execute(select(table.entity, table.id)).all()
    found = {(entity, _key(id_)) for entity, id_ in rows}
    assert {key for entity, key in found if entity == "user"} == {
        key for entity, key in found if entity == "user-versioned"
    }
    return {(entity, key) for entity, key in found if entity != "user-versioned"}


def _key(text: str) -> Any:
    values = json.loads(text)
    return values[0] if len(values) == 1 else tuple(values)
