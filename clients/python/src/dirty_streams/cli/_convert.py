"""Values of SQL as the words of an operation, by the types that DIRTY.INFO shows.

A field that is declared takes whatever the driver gives for it. A field that is not gets the text that the client would
send for the same value, since that is what the application has sent.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from .._values import digits_of

Fragment = str
"""A value as JSON."""

Converter = Callable[[Any], "Fragment | None"]


class NotJsonError(Exception):
    """Bytes that are no UTF-8, which JSON cannot carry."""


class UnfitError(ValueError):
    """A value that no text can be made of; the message names the field."""


def converter(kind: str | None, zone: dt.tzinfo, is_json_column: bool = False) -> Converter:
    """Makes JSON of a value; None is null."""
    name = (kind or "").partition(":")[0]
    if name == "json" or (name == "" and is_json_column):
        return json_column if is_json_column else json_text
    if name in ("time", "datetime"):
        moment = Moments(zone)
        return moment.instant if name == "time" else moment.wall_clock
    return BY_TYPE.get(name, natural)


# Drivers give few types, so the exact one is looked up before anything else.


def quoted(value: str) -> Fragment:
    return encode_basestring(value)


def from_bytes(value: Any) -> Fragment:
    try:
        return encode_basestring(bytes(value).decode())
    except UnicodeDecodeError:
        raise NotJsonError from None


def real(value: float) -> Fragment:
    if not math.isfinite(value):
        return encode_basestring(repr(value))  # the module's error names the field
    return digits_of(value)


def utc(value: dt.datetime) -> Fragment:
    return f'"{value.astimezone(dt.timezone.utc).isoformat()}"'


def iso(value: dt.date | dt.time) -> Fragment:
    return f'"{value.isoformat()}"'


NATURAL: Mapping[type, Converter] = {
    type(None): lambda _: None,
    str: quoted,
    int: str,
    bool: lambda value: "true" if value else "false",
    float: real,
    Decimal: lambda value: f'"{value}"',
    dt.datetime: lambda value: utc(value) if value.tzinfo is not None else iso(value),
    dt.date: iso,
    dt.time: iso,
    dt.timedelta: lambda value: real(value.total_seconds()),
    bytes: from_bytes,
    bytearray: from_bytes,
    memoryview: from_bytes,
    uuid.UUID: lambda value: f'"{value}"',
}


def natural(value: Any) -> Fragment | None:
    """The text that the client sends."""
    convert = NATURAL.get(type(value))
    if convert is not None:
        return convert(value)
    if isinstance(value, (list, dict, tuple)):
        return json_dump(value)
    return quoted(str(value))


def whole(value: Any) -> Fragment | None:
    """A number: true and false are 1 and 0, and a Decimal has no exponent."""
    if value is True or value is False:
        return "1" if value else "0"
    if type(value) is Decimal and value.is_finite():
        return f'"{value:f}"'
    return natural(value)


def boolean(value: Any) -> Fragment | None:
    if type(value) is bytes and len(value) == 1 and value in b"\x00\x01":  # MySQL's BIT(1)
        return str(value[0])
    return natural(value)


MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[T ]00:00(:00(\.0+)?)?")


def day(value: Any) -> Fragment | None:
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return iso(value.date())
    if isinstance(value, str):
        midnight = MIDNIGHT.fullmatch(value)
        return quoted(midnight[1] if midnight else value)
    return natural(value)


TEXT_OF_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(\.\d{1,9})?\s?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)


class Moments:
    """Times with and without a zone. What has none is taken to be in `zone`, and comes back in it."""

    def __init__(self, zone: dt.tzinfo) -> None:
        self.zone = zone

    def instant(self, value: Any) -> Fragment | None:
        if isinstance(value, str):
            return self._instant_of_text(value)
        if isinstance(value, dt.datetime):
            return utc(value if value.tzinfo is not None else value.replace(tzinfo=self.zone))
        return natural(value)

    def wall_clock(self, value: Any) -> Fragment | None:
        if isinstance(value, str):
            return self._wall_clock_of_text(value)
        if isinstance(value, dt.datetime):
            return iso(
                value if value.tzinfo is None else value.astimezone(self.zone).replace(tzinfo=None)
            )
        if isinstance(value, dt.date):
            return f'"{value.isoformat()}T00:00:00"'
        return natural(value)

    def _instant_of_text(self, value: str) -> Fragment:
        found = TEXT_OF_TIME.fullmatch(value)
        if found is None:
            return quoted(value)
        date, clock, seconds, fraction, zone = found.groups()
        local = f"{date}T{clock}{seconds or ':00'}"
        if zone is None and self.zone is not dt.timezone.utc:
            zone = offset_text(dt.datetime.fromisoformat(local).replace(tzinfo=self.zone))
        return quoted(f"{local}{fraction or ''}{offset(zone or 'Z')}")

    def _wall_clock_of_text(self, value: str) -> Fragment:
        found = TEXT_OF_TIME.fullmatch(value)
        if found is None:
            return quoted(f"{value}T00:00:00" if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else value)
        date, clock, seconds, fraction, zone = found.groups()
        local = f"{date}T{clock}{seconds or ':00'}"
        if zone is not None:
            aware = dt.datetime.fromisoformat(local + offset(zone).replace("Z", "+00:00"))
            local = aware.astimezone(self.zone).replace(tzinfo=None).isoformat()
        return quoted(local + (fraction or ""))


def offset(zone: str) -> str:
    """`+01`, which PostgreSQL writes, and `+0100` as the module takes them."""
    if zone in ("Z", "z"):
        return "Z"
    digits = zone[1:].replace(":", "")
    return f"{zone[0]}{digits[:2]}:{digits[2:] or '00'}"


def offset_text(value: dt.datetime) -> str:
    return value.strftime("%z")[:5]


def json_column(value: Any) -> Fragment | None:
    """A column of JSON has been checked by the database. Its null is Python's None, which the client sends as null."""
    if value is None or isinstance(value, str):
        return None if value in (None, "null") else value
    return json_text(value)


CHECKED = json.JSONDecoder(parse_int=str, parse_float=str).decode


def json_text(value: Any) -> Fragment | None:
    """A text that holds JSON. It is checked, since a bad one would break the object that it becomes part of."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        return None if value is None else json_dump(value)
    try:
        parsed = CHECKED(value)
        value.encode()
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"is no JSON: {error}") from None
    return None if parsed is None else value


def json_dump(value: Any) -> Fragment:
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str
        )
    except (ValueError, TypeError) as error:
        raise UnfitError(f"cannot be JSON: {error}") from None


BY_TYPE: Mapping[str, Converter] = {
    "int": whole,
    "uint": whole,
    "float": whole,
    "decimal": whole,
    "bool": boolean,
    "date": day,
}


class Words:
    """Makes the words of a row's operation."""

    def __init__(
        self, fields: Mapping[str, str | None], json_columns: Sequence[bool], zone: dt.tzinfo
    ) -> None:
        """`fields` are the declared types of the fields, in the order of the values."""
        self.fields = fields
        self._parts = [
            (name, kind, encode_basestring(name) + ":", converter(kind, zone, is_json))
            for (name, kind), is_json in zip(fields.items(), json_columns, strict=True)
        ]

    def of(self, values: Sequence[Any]) -> tuple[bytes, ...]:
        """`JSON` and an object; a list of fields if a value is bytes. Null fields are left out."""
        parts = []
        try:
            for (_, _, prefix, convert), value in zip(self._parts, values, strict=True):
                if value is not None:
                    fragment = convert(value)
                    if fragment is not None:
                        parts.append(prefix + fragment)
            return b"JSON", ("{" + ",".join(parts) + "}").encode()
        except NotJsonError:
            return self._list(values)
        except UnicodeEncodeError:
            return self._list(values)
        except UnfitError:
            raise self._named(values) from None

    def _named(self, values: Sequence[Any]) -> UnfitError:
        for (name, _, _, convert), value in zip(self._parts, values, strict=True):
            try:
                convert(value)
            except UnfitError as error:
                return UnfitError(f'field "{name}" {error}')
            except NotJsonError:
                pass
        return UnfitError("a value does not fit")

    def shown(self, values: Sequence[Any]) -> dict[bytes, bytes]:
        """The fields' texts, as one compares them with what is stored."""
        texts: dict[bytes, bytes] = {}
        for (name, kind, _, convert), value in zip(self._parts, values, strict=True):
            try:
                fragment = convert(value)
            except NotJsonError:
                texts[name.encode()] = bytes(value)
                continue
            if fragment is not None:
                text = text_of(fragment, kind)
                texts[name.encode()] = text.encode("utf-8", "surrogateescape")
        return texts

    def _list(self, values: Sequence[Any]) -> tuple[bytes, ...]:
        words: list[bytes] = []
        for (name, kind, _, convert), value in zip(self._parts, values, strict=True):
            try:
                fragment = convert(value)
            except NotJsonError:
                words += [name.encode(), bytes(value)]
                continue
            if fragment is not None:
                text = text_of(fragment, kind) if kind else untyped(fragment)
                words += [name.encode(), text.encode("utf-8", "surrogateescape")]
        return (b"%d" % (len(words) // 2), *words)


def text_of(fragment: Fragment, kind: str | None) -> str:
    """The text of a value."""
    if kind == "json":
        return fragment
    if fragment[:1] == '"':
        return str(json.loads(fragment))
    return {"true": "1", "false": "0"}.get(fragment, fragment)


def untyped(fragment: Fragment) -> str:
    """The text that is stored for a field without a type."""
    if fragment[:1] not in ("[", "{"):
        return text_of(fragment, None)
    plain = without_points(json.loads(fragment))
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def without_points(value: Any) -> Any:
    """Floats that are integers become integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, list):
        return [without_points(item) for item in value]
    if isinstance(value, dict):
        return {name: without_points(item) for name, item in value.items()}
    return value
