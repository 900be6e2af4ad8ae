"""Primary keys as texts: a JSON array of the values of a key's columns, which triggers can write, too."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import types
from sqlalchemy.engine.default import DefaultDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DIALECT = DefaultDialect()
_FRACTION = re.compile(r"\.(\d+)")


@dataclass(frozen=True)
class Codec:
    """How the value of a column goes into JSON and comes back."""

    kind: type
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


def _moment(text: str) -> dt.datetime:
    """A datetime as PostgreSQL writes it: the fraction has any number of digits."""
    return dt.datetime.fromisoformat(_FRACTION.sub(lambda m: f".{m[1][:6]:0<6}", text, count=1))


def _time(text: str) -> dt.time:
    return dt.time.fromisoformat(_FRACTION.sub(lambda m: f".{m[1][:6]:0<6}", text, count=1))


_CODECS: dict[type, Codec] = {
    bool: Codec(bool, bool, bool),
    int: Codec(int, int, int),
    str: Codec(str, str, str),
    uuid.UUID: Codec(uuid.UUID, str, uuid.UUID),
    decimal.Decimal: Codec(decimal.Decimal, str, lambda value: decimal.Decimal(str(value))),
    dt.date: Codec(dt.date, dt.date.isoformat, dt.date.fromisoformat),
    dt.datetime: Codec(dt.datetime, dt.datetime.isoformat, _moment),
    dt.time: Codec(dt.time, dt.time.isoformat, _time),
    bytes: Codec(bytes, lambda value: rf"\x{value.hex()}", lambda text: bytes.fromhex(text[2:])),
}


def codec_of(kind: types.TypeEngine[Any]) -> Codec:
    """The codec of a column's type.

    Raises:
        TypeError: Its values have no text that reads back as the same.
    """
    if isinstance(kind, types.TypeDecorator):
        inner = codec_of(kind.impl_instance)
        return Codec(
            inner.kind,
            lambda value: inner.dump(kind.process_bind_param(value, _DIALECT)),
            lambda value: kind.process_result_value(inner.load(value), _DIALECT),
        )
    if isinstance(kind, types.Enum) and kind.enum_class is not None:
        names = dict(zip(kind.enum_class.__members__.values(), kind.enums, strict=True))
        members: dict[str, enum.Enum] = {name: member for member, name in names.items()}
        return Codec(enum.Enum, names.__getitem__, members.__getitem__)
    if isinstance(kind, types.Numeric) and kind.asdecimal and kind.scale is not None:
        # The database has as many digits behind the point as it says, whatever the application gives.
        unit = decimal.Decimal(1).scaleb(-kind.scale)
        return Codec(
            decimal.Decimal,
            lambda value: str(decimal.Decimal(value).quantize(unit)),
            lambda value: decimal.Decimal(str(value)).quantize(unit),
        )
    try:
        return _CODECS[kind.python_type]
    except (KeyError, NotImplementedError):
        raise TypeError(f"a primary key of type {kind!r} has no text") from None


def dumped(codecs: Sequence[Codec], key: Sequence[Any]) -> str:
    """The text of a primary key."""
    values = [codec.dump(value) for codec, value in zip(codecs, key, strict=True)]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def loaded(codecs: Sequence[Codec], text: str) -> tuple[Any, ...]:
    """The primary key of a text."""
    values = json.loads(text, parse_float=decimal.Decimal)
    return tuple(codec.load(value) for codec, value in zip(codecs, values, strict=True))
