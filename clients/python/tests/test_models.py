"""Dataclasses and Pydantic models as entities."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, Field

import dirty_streams as ds


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class User:
    id: int
    name: str
    age: int | None
    balance: Annotated[Decimal, ds.Type("decimal:2")]
    rate: Decimal = Decimal(1)
    score: float = 0.5
    vip: bool = False
    color: Color = Color.RED
    level: Level = Level.LOW
    born: dt.date | None = None
    created: dt.datetime | None = None
    seen: Annotated[dt.datetime | None, ds.Type("time")] = None
    tags: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict)
    token: uuid.UUID | None = None
    blob: bytes | None = None
    state: Literal["on", "off"] = "on"
    nickname: str | None = "none"


class Address(BaseModel):
    street: str
    city: str | None = None


class Customer(BaseModel):
    id: uuid.UUID
    name: str = Field(alias="fullName")
    limit: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    seen: AwareDatetime | None = None
    address: Address | None = None
    addresses: list[Address] = []


@dataclass
class Line:
    order: int
    line: int
    sku: str
    count: int = 1


WHOLE = User(
    id=42,
    name="Alice",
    age=None,
    balance=Decimal("10.50"),
    rate=Decimal("0.1"),
    score=1.5,
    vip=True,
    color=Color.BLUE,
    level=Level.HIGH,
    born=dt.date(2000, 2, 29),
    created=dt.datetime(2026, 1, 2, 3, 4, 5, 600_000),
    seen=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc),
    tags=("a", "b"),
    groups=frozenset({"x"}),
    settings={"theme": "dark", "sizes": [1, 2.5]},
    token=uuid.UUID("550e8400-e29b-41d4-a716-446655440000"),
    blob=b"\x00\xff",
    state="off",
    nickname=None,
)


def test_types_come_from_annotations() -> None:
    users = ds.Entity.of(User, key="user", types={"score": "decimal"})
    assert users.types == {
        "name": "string",
        "age": "int",
        "balance": "decimal:2",
        "rate": "decimal",
        "score": "decimal",
        "vip": "bool",
        "color": "string",
        "level": "int",
        "born": "date",
        "created": "datetime",
        "seen": "time",
        "tags": "json",
        "groups": "json",
        "settings": "json",
        "token": "string",
        "blob": "string",
        "state": "string",
        "nickname": "string",
    }
    customers = ds.Entity.of(Customer)
    assert customers.key == "customer"
    assert customers.types == {
        "name": "string",
        "limit": "decimal:2",
        "seen": "time",
        "address": "json",
        "addresses": "json",
    }


@pytest.mark.parametrize("payload", ["FULL", "IMAGES", "CHANGES"])
def test_an_instance_comes_back_from_an_event(client: ds.Client, payload: str) -> None:
    users = ds.Entity.of(User, key="user", streams=[ds.Stream("users", payload=payload)])
    client.declare(users)
    first = User(7, "Bob", 1, Decimal(0))
    assert client.flush(users, WHOLE, first) == ["insert", "insert"]
    assert client.flush(users, WHOLE) == ["none"]
    client.flush(users, User(7, "Bob", 2, Decimal(0)), ds.delete(42))
    events = list(client.read("users", 0, entities=[users]))
    ids = [(event.op, event.id) for event in events]
    assert ids == [("insert", 42), ("insert", 7), ("update", 7), ("delete", 42)]
    if payload != "CHANGES":
        assert [event.as_(User) for event in events[:2]] == [WHOLE, first]
        assert events[3].as_(User) == WHOLE
    if payload == "IMAGES":
        assert events[2].as_(User) == User(7, "Bob", 2, Decimal(0))
    assert events[2].changes["age"] == (1, 2)


def test_a_class_can_be_made_of_events_whose_type_is_not_known(client: ds.Client) -> None:
    users = ds.Entity.of(User, key="user", streams=[ds.Stream("users", payload="IMAGES")])
    client.declare(users)
    client.flush(users, WHOLE)
    (event,) = client.read("users", 0)
    assert event.id == "42"
    assert event.as_(User) == WHOLE


def test_a_pydantic_model_comes_back(client: ds.Client) -> None:
    customers = ds.Entity.of(Customer, streams=[ds.Stream("customers", payload="IMAGES")])
    one = Customer(
        id=uuid.uuid4(),
        fullName="Alice",
        limit=Decimal("1.50"),
        seen=dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc),
        address=Address(street="Main"),
        addresses=[Address(street="Side", city="Town")],
    )
    assert client.flush(customers, one) == ["insert"]
    (event,) = client.read("customers", 0, entities=[customers])
    assert event.id == one.id
    assert event.as_(Customer) == one
    (stored,) = client.get_many(customers, [one.id])
    assert stored is not None
    assert stored["limit"] == Decimal("1.50")


def test_several_fields_may_be_the_id(client: ds.Client) -> None:
    lines = ds.Entity.of(Line, id=("order", "line"), streams=[ds.Stream("lines", payload="FULL")])
    client.flush(lines, Line(1, 2, "sku"))
    assert client.get(lines, "1-2") == {"order": 1, "line": 2, "sku": "sku", "count": 1}
    (event,) = client.read("lines", 0, entities=[lines])
    assert event.as_(Line) == Line(1, 2, "sku")


def test_rows_may_be_instances(client: ds.Client) -> None:
    lines = ds.Entity.of(Line, id=("order", "line"), streams=["lines"])
    assert client.seed(lines, [Line(1, n, "sku") for n in range(3)]) == 3
    status = client.reconcile(lines, [Line(1, n, "other") for n in range(3)])
    assert (status.repaired, status.deleted, status.differs) == (3, 0, 3)


def test_what_is_not_understood_is_refused_by_name(client: ds.Client) -> None:
    @dataclass
    class Odd:
        id: int
        thing: object

    with pytest.raises(TypeError, match=r"Odd.thing"):
        ds.Entity.of(Odd)
    assert ds.Entity.of(Odd, types={"thing": "json"}).types == {"thing": "json"}
    with pytest.raises(TypeError, match="no field 'key'"):
        ds.Entity.of(Line, id="key")
    with pytest.raises(TypeError, match="neither"):
        ds.Entity.of(int)
    with pytest.raises(TypeError, match="takes operations"):
        client.flush(ds.Entity.of(Line, id="sku", streams=["s"]), WHOLE)
    with pytest.raises(TypeError, match="streams"):
        ds.Entity("user", streams="user-changes")
