"""Replies in RESP2 and RESP3, which are never decoded by the connection."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ._words import Name, string, text


def mapping(reply: Any) -> dict[str, Any]:
    """A map of the module, which is a flat array in RESP2, by the texts of its keys."""
    return {string(key): value for key, value in pairs(reply)}


def pairs(reply: Any) -> list[tuple[Any, Any]]:
    """The pairs of a map or a flat array."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))


def ok(reply: Any) -> bool:
    """Whether a declaration was applied: `OK`, and not `KEPT`."""
    return bool(string(reply) == "OK")


def done(reply: Any) -> None:
    """A reply that says nothing but OK."""


def count(reply: Any) -> int:
    """An integer."""
    return int(reply)


def ids(reply: Any) -> list[str]:
    """The ids of events."""
    return [string(event_id) for event_id in reply]


def words(reply: Any) -> list[str]:
    """Words of the module."""
    return [string(word) for word in reply]


def maybe(reply: Any) -> Name | None:
    """A text, or null."""
    return None if reply is None else text(reply)


def maybe_string(reply: Any) -> str | None:
    """A text that is always UTF-8, or null."""
    return None if reply is None else string(reply)


def moment(milliseconds: int) -> dt.datetime:
    """A time in ms since 1970."""
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.timezone.utc)
