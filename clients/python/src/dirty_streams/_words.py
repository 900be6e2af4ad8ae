"""Arguments of commands and texts of replies. All bytes are safe; text is UTF-8."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

Word = bytes
"""An argument as it is sent."""

Name = str | bytes
"""A key, a field, a token: text, or any bytes."""

Fields = Mapping[str, Any] | Mapping[bytes, Any] | Mapping[Name, Any]
"""Values by the names of fields."""

Meta = Mapping[str, Name] | Mapping[bytes, Name] | Mapping[Name, Name]
"""Pairs of META."""

Id = str | bytes | int | uuid.UUID
"""An entity's id."""

Span = float | int | dt.timedelta
"""A time span: seconds, or a timedelta."""


def name(value: Name) -> Word:
    """The bytes of a name."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"a name is str or bytes, not {type(value).__name__}")


def id_bytes(value: Id) -> Word:
    """The bytes of an entity's id: its digits, if it is an int."""
    if isinstance(value, (str, bytes)):
        return name(value)
    if (isinstance(value, int) and not isinstance(value, bool)) or isinstance(value, uuid.UUID):
        return str(value).encode()
    raise TypeError(f"an id is str, bytes, int or UUID, not {type(value).__name__}")


def listed(values: T, what: str) -> T:
    """The same values, unless they are one text, which would be taken for a list of its letters."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{what} are a list, not {values!r}")
    return values


def number(value: int) -> Word:
    """The digits of an integer."""
    return b"%d" % value


def seconds(value: Span) -> float:
    """A time span in seconds."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"a time span is seconds or a timedelta, not {value!r}")
    return value.total_seconds() if isinstance(value, dt.timedelta) else float(value)


def milliseconds(value: Span) -> Word:
    """A time span as whole milliseconds, rounded up: a short one is not 0, which often means for ever."""
    span = seconds(value)
    if span < 0:
        raise ValueError(f"a time span is not negative: {value!r}")
    return number(-int(-span * 1000 // 1))


def text(value: bytes | str) -> str | bytes:
    """The text of a reply; the bytes themselves if they are not UTF-8."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def string(value: bytes | str) -> str:
    """The text of a reply that is always UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
