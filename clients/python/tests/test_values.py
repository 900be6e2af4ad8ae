"""Values, ids and names through a flush, DIRTY.GET and events, as any client of redis-py gets them."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dirty_streams as ds
from conftest import Server

TYPES = {
    "i": "int",
    "u": "uint",
    "f": "float",
    "m": "decimal",
    "m2": "decimal:2",
    "b": "bool",
    "t": "time",
    "d": "date",
    "w": "datetime",
    "j": "json",
    "s": "string",
}
THINGS = ds.Entity("thing", types=TYPES, streams=[ds.Stream("things", payload="IMAGES", maxlen=10)])

texts = st.text(st.characters(codec="utf-8"), max_size=20)
hostile = st.binary(min_size=1, max_size=12).filter(
    lambda raw: raw.count(b":") + raw.count(b"@") < 16
)
finite = st.floats(allow_nan=False, allow_infinity=False)
# Of more digits there may be two texts that are equally near, of which Python and the module choose differently.
short = st.builds(
    lambda digits, power: float(f"{digits}e{power}"),
    st.integers(-(10**12), 10**12),
    st.integers(-30, 30),
)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)
jsons = st.recursive(
    st.booleans() | st.integers(-(10**20), 10**20) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "u": st.integers(0, 2**64 - 1),
    "f": finite,
    "m": decimals,
    "m2": st.integers(-(10**15), 10**15).map(lambda cents: Decimal(cents) / 100),
    "b": st.booleans(),
    "t": st.datetimes(
        timezones=st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(hours=5.5))])
    ),
    "d": st.dates(),
    "w": st.datetimes(),
    "j": jsons.filter(lambda value: value is not None),
    "s": texts,
}
states = st.fixed_dictionaries({}, optional=VALUES)
binary_states = st.fixed_dictionaries(
    {},
    optional={**VALUES, "s": st.binary(max_size=12), "j": st.sampled_from(["YQ==", "a", ["YQ=="]])},
)


@pytest.fixture(
    scope="module",
    params=[(2, False), (2, True), (3, False), (3, True)],
    ids=["resp2", "resp2-text", "resp3", "resp3-text"],
)
def any_client(request: pytest.FixtureRequest, shared_server: Server) -> Iterator[ds.Client]:
    protocol, text = request.param
    raw = shared_server.client(protocol=protocol, decode_responses=text)
    raw.flushall()
    client = ds.Client(raw)
    client.declare(THINGS)
    yield client
    raw.close()


def last(client: ds.Client) -> ds.Event:
    return client.read("things", 0, entities=[THINGS]).events[-1]


def same(found: dict[Any, Any], given: dict[Any, Any]) -> bool:
    """Equal, and of the same types; text in place of bytes that are UTF-8."""
    return {name: kind(value) for name, value in found.items()} == {
        name: kind(value) for name, value in given.items()
    }


def kind(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, float) and value == 0:
        return 0.0, float
    if isinstance(value, dt.datetime):
        return value, value.tzinfo is None
    return value, type(value)


quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(old=states, new=states)
def test_values_come_back_as_they_were_given(
    any_client: ds.Client, old: dict[str, Any], new: dict[str, Any]
) -> None:
    any_client.flush(THINGS, ds.delete(1))
    any_client.flush(THINGS, ds.snapshot(1, old))
    assert same(any_client.get(THINGS, 1) or {}, old)
    event = last(any_client)
    assert (event.op, event.id) == (ds.Op.INSERT, "1")
    assert same(dict(event.after), old)
    (effect,) = any_client.flush(THINGS, ds.snapshot(1, new))
    assert same(any_client.get(THINGS, 1) or {}, new)
    ((_, scanned),) = any_client.scan(THINGS)
    assert same(scanned, new)
    if effect == ds.Effect.UPDATE:
        event = last(any_client)
        assert same(dict(event.before), old)
        assert same(dict(event.after), new)
    assert any_client.flush(THINGS, ds.snapshot(1, new)) == [ds.Effect.NONE]


@quick
@given(
    entity_id=hostile,
    state=binary_states,
    meta=st.dictionaries(texts, st.binary(max_size=8), max_size=2),
)
def test_bytes_come_back_as_text_or_bytes(
    any_client: ds.Client, entity_id: bytes, state: dict[str, Any], meta: dict[str, bytes]
) -> None:
    any_client.flush(THINGS, ds.delete(1), ds.delete(entity_id))
    any_client.flush(THINGS, ds.snapshot(entity_id, state), meta=meta)
    assert same(any_client.get(THINGS, entity_id) or {}, state)
    two = any_client.get_many(THINGS, [entity_id, "no"])
    assert same(two[0] or {}, state)
    assert two[1] is None
    ((scanned, fields),) = any_client.scan(THINGS)
    assert kind(scanned) == kind(entity_id)
    assert same(fields, state)
    event = last(any_client)
    assert kind(event.id) == kind(entity_id)
    assert same(dict(event.after), state)
    assert same(dict(event.meta), meta)
    any_client.flush(THINGS, ds.delete(entity_id))


@quick
@example(value=86490.0)
@example(value=-0.0)
@example(value=1e16)
@example(value=1e21)
@example(value=0.00001)
@example(value=1.5e-7)
@given(value=short | st.lists(short.filter(lambda value: abs(value) < 1e15) | texts))
def test_a_value_without_a_type_is_the_same_beside_bytes(any_client: ds.Client, value: Any) -> None:
    any_client.flush(THINGS, ds.snapshot(1, {"plain": value, "raw": "x"}))
    effects = any_client.flush(THINGS, ds.snapshot(1, {"plain": value, "raw": b"x"}))
    assert effects == [ds.Effect.NONE]


@quick
@given(name=st.binary(min_size=1, max_size=8).filter(lambda raw: raw != b"@"))
def test_names_of_fields_may_be_any_bytes(any_client: ds.Client, name: bytes) -> None:
    any_client.flush(THINGS, ds.delete(1))
    shown = kind(name)[0] if isinstance(kind(name), tuple) else name
    wanted = {shown: "x"} if shown not in TYPES else {}
    if wanted:
        any_client.flush(THINGS, ds.snapshot(1, {name: b"x"}))
        assert any_client.get(THINGS, 1) == wanted
        assert dict(any_client.scan(THINGS)) == {"1": wanted}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"f": math.nan}, "f"),
        ({"f": -math.inf}, "f"),
        ({"m": Decimal("NaN")}, "m"),
        ({"s": "\ud800"}, "s"),
        ({"i": 1.5}, "i"),
        ({"i": "x"}, "i"),
        ({"m2": Decimal("1.005")}, "m2"),
        ({"w": dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)}, "w"),
        ({"t": dt.datetime(2026, 1, 1)}, "t"),
        ({"j": [math.inf]}, "j"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    any_client: ds.Client, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(ds.BadValueError) as refused:
        any_client.flush(THINGS, ds.snapshot(1, fields))
    assert named in str(refused.value)


def test_a_value_without_a_text_is_a_type_error(any_client: ds.Client) -> None:
    with pytest.raises(TypeError, match="object"):
        any_client.flush(THINGS, ds.snapshot(1, {"s": object()}))


def test_ids_may_be_numbers_and_uuids(any_client: ds.Client) -> None:
    some = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
    any_client.flush(THINGS, ds.snapshot(some, {"s": "x"}), ds.snapshot(-7, {"s": "y"}))
    assert any_client.get_many(THINGS, [str(some), "-7"]) == [{"s": "x"}, {"s": "y"}]
    any_client.flush(THINGS, ds.delete(some), ds.delete(-7))
    for wrong in (True, 1.5, None):
        with pytest.raises(TypeError, match="an id is"):
            any_client.get(THINGS, wrong)  # type: ignore[arg-type]


def test_a_type_with_a_field_base64_is_read_as_it_is(any_client: ds.Client) -> None:
    odd = ds.Entity("odd", types={"base64": "json"}, streams=["odd-changes"])
    any_client.declare(odd)
    any_client.flush(odd, ds.snapshot(1, {"id": "x", "base64": {"a": "YQ=="}}), ds.snapshot(2, {}))
    wanted = {"id": "x", "base64": {"a": "YQ=="}}
    assert any_client.get(odd, 1) == wanted
    assert any_client.get_many(odd, [1, 2]) == [wanted, {}]
    assert dict(any_client.scan(odd)) == {"1": wanted, "2": {}}


def test_a_text_that_no_longer_fits_its_type_stays_a_text(any_client: ds.Client) -> None:
    old = ds.Entity("aged", streams=["aged-changes"])
    new = ds.Entity(
        "aged", types={"age": "int", "at": "time", "j": "json"}, streams=["aged-changes"]
    )
    any_client.declare(old)
    any_client.flush(old, ds.snapshot(1, {"age": "old", "at": "noon", "j": "{"}))
    any_client.declare(new)
    wanted = {"age": "old", "at": "noon", "j": "{"}
    assert any_client.get(new, 1) == wanted
    any_client.flush(old, ds.update(1, {"x": b"\xff"}))
    assert any_client.get(new, 1) == {**wanted, "x": b"\xff"}


def test_events_have_a_name_that_is_not_utf8_as_base64(any_client: ds.Client) -> None:
    any_client.flush(THINGS, ds.delete(1))
    fields: dict[str | bytes, str | bytes] = {b"\xff": b"\xfe", "name": "x"}
    any_client.flush(THINGS, ds.snapshot(1, fields))
    assert dict(last(any_client).after) == {"/w==": b"\xfe", "name": "x"}
    assert any_client.get(THINGS, 1) == fields
