"""Values of fields, to the module and back, by the types that an entity declares."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import _msgpack
from .errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._words import Fields, Name, Word

Value = Any
"""A field's value: None, bool, int, float, str, bytes, Decimal, date, datetime, or what JSON can say."""


def encoded(fields: Fields, form: Word | None = None) -> tuple[Word, Word]:
    """The words of a list of fields: `JSON` and an object; `MSGPACK` and a map if there are bytes in it.

    A field without a type has the same text in both, so that a row does not change because another field gets bytes.

    Args:
        fields: Values by the names of their fields.
        form: `MSGPACK`, if it must be that form.

    Raises:
        BadValueError: A float is NaN or infinite, or a text has no UTF-8.
        TypeError: They are no mapping, or a value's type is unknown.
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f"fields are a mapping, not a {type(fields).__name__}")
    for field, value in fields.items():
        _check(field, value)
    try:
        if form is None and not any(isinstance(field, bytes) for field in fields):
            return b"JSON", _json(fields).encode()
    except _NotJsonError:
        pass
    except UnicodeEncodeError as error:
        raise BadValueError(f"a text of {fields!r} cannot be written as UTF-8: {error}") from None
    except ValueError as error:
        raise BadValueError(f"{error}: {fields!r}") from None
    return b"MSGPACK", _msgpack.packed(fields, _text)


class _NotJsonError(Exception):
    """There are bytes, which JSON cannot carry."""


def digits_of(value: float) -> str:
    """The digits that the module gives a float of MessagePack: an exponent from 1e21 on, and below 1e-5."""
    if value.is_integer():
        if abs(value) < 1e21:
            return str(int(value))
        whole = str(int(abs(value)))
        fraction = whole[1:].rstrip("0")
        sign, point = "-" if value < 0 else "", "." if fraction else ""
        return f"{sign}{whole[0]}{point}{fraction}e{len(whole) - 1}"
    digits, _, exponent = float.__repr__(value).partition("e")
    if not exponent:
        return digits
    if -5 <= int(exponent) < 0:
        return f"{decimal.Decimal(float.__repr__(value)):f}"
    return f"{digits}e{int(exponent)}"


def _json(fields: Fields) -> str:
    """An object, in which floats have these digits."""
    floats = {
        field: digits_of(value) for field, value in fields.items() if isinstance(value, float)
    }
    if not floats:
        return _DUMP(fields)
    others = {field: value for field, value in fields.items() if field not in floats}
    parts = [f"{_DUMP(field)}:{digits}" for field, digits in floats.items()]
    return "{" + ",".join([_DUMP(others)[1:-1], *parts] if others else parts) + "}"


def _check(field: Name, value: Value) -> None:
    """Refuses what the module would refuse less clearly: on the first level the error can name the field."""
    if not isinstance(field, (str, bytes)):
        raise TypeError(f"a field's name is str or bytes, not {field!r}")
    finite = (
        value.is_finite()
        if isinstance(value, decimal.Decimal)
        else not isinstance(value, float) or math.isfinite(value)
    )
    if not finite:
        raise BadValueError(f"field {_shown(field)} takes a finite number, not {value}")


def _shown(field: Name) -> str:
    return json.dumps(field) if isinstance(field, str) else repr(field)


def _text_or_raise(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise _NotJsonError
    return _text(value)


def _text(value: Any) -> Any:
    """The text, number, list or map for a value that JSON and MessagePack do not know."""
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.timezone.utc).isoformat()
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    raise TypeError(f"a value of type {type(value).__name__} has no text: {value!r}")


_DUMP = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_text_or_raise
).encode

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z?)")


def _instant(value: Any) -> dt.datetime:
    found = _INSTANT.fullmatch(value)
    if found is None:
        raise ValueError(value)
    day, clock, fraction, zone = found.groups()
    moment = dt.datetime.fromisoformat(f"{day}T{clock}.{(fraction or '')[:6]:0<6}")
    return moment.replace(tzinfo=dt.timezone.utc) if zone else moment


def _bool(value: Any) -> bool:
    return {"1": True, "0": False}[value] if isinstance(value, str) else bool(value)


def _same(value: Any) -> Any:
    return value


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "uint": int,
    "float": float,
    "decimal": decimal.Decimal,
    "bool": _bool,
    "time": _instant,
    "datetime": _instant,
    "date": dt.date.fromisoformat,
    "json": _same,
    "string": _same,
}


def decoded(value: Value, field_type: str | None) -> Value:
    """A value from a reply, as the Python type of its field.

    A text that does not fit, because it is older than the declaration of the type, stays a text.
    """
    if value is None or field_type is None:
        return value
    decoder = _DECODERS.get(field_type.partition(":")[0], _same)
    try:
        return decoder(value)
    except (ValueError, TypeError, KeyError, ArithmeticError):
        return value


def decoded_fields(
    fields: Fields, types: Mapping[str, str], *, stored: bool = False
) -> dict[Any, Value]:
    """A snapshot, or an image of an event, by the types of its entity; `stored` if its values are the stored texts."""
    decoder = decoded_text if stored else decoded
    return {
        field: decoder(value, types.get(field) if isinstance(field, str) else None)
        for field, value in fields.items()
    }


def decoded_text(value: Name, field_type: str | None) -> Value:
    """The same of a stored text, in which json is not yet parsed."""
    if field_type != "json":
        return decoded(value, field_type)
    try:
        return json.loads(value)
    except ValueError:
        return value


def unwrapped(value: Any) -> Any:
    """A string that stands in the `base64` of a text: it becomes text if it is UTF-8, else bytes."""
    if not isinstance(value, str):
        return value
    raw = base64.b64decode(value)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def unwrapped_fields(fields: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """The same of an entity's fields. Values of type json stand there unchanged, and so do names of fields."""
    return {
        field: value if types.get(field) == "json" else unwrapped(value)
        for field, value in fields.items()
    }
