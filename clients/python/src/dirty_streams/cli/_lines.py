"""An event as a line: what happened to whom, and old → new of each field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._events import Dead, Event, Op
from ._output import Cell
from ._text import Shortener, decoded, moment_of, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._words import Name

STYLES = {
    "insert": "green",
    "update": "yellow",
    "delete": "red",
    "touch": "cyan",
    "read": "blue",
    "entry": "magenta",
}


def when_and_what(event: Event, short: Shortener, stream: Name | None = None) -> list[Cell]:
    """The time, the stream if there are several, and the operation."""
    op = str(event.op) if event.op is not None else "entry"
    cells = [Cell(moment_of(event.event_id or ""), "dim"), Cell(f"{op:<6}", STYLES[op])]
    if stream is not None:
        cells.insert(1, Cell(short.name(stream), "magenta"))
    return cells


def who_and_how(event: Event, short: Shortener) -> list[Cell]:
    """The entity, its fields and META; the fields of an entry that is no event of the module."""
    if event.op is None:
        return [
            Cell(text)
            for text in short.some(
                f"{short.name(field)}: {short.quoted(data)}" for field, data in event.fields
            )
        ]
    cells = [Cell(short.entity(event.entity or "", str_or_bytes(event.id)), "bold")]
    if event.version is not None:
        cells.append(Cell(f"v{event.version}", "dim"))
    cells += [
        Cell(text)
        for text in short.some(
            f"{short.name(name)}: {told}" for name, told in fields_of(event, short)
        )
    ]
    if event.meta:
        told = short.some(
            f"{short.name(name)}={short.quoted(value)}" for name, value in event.meta.items()
        )
        cells.append(Cell(f"({', '.join(told)})", "dim"))
    return cells


def str_or_bytes(value: Any) -> str | bytes:
    return value if isinstance(value, (str, bytes)) else str(value)


def fields_of(event: Event, short: Shortener) -> Iterator[tuple[Name, str]]:
    """What is known of each field. A stream may carry changes, one image or both, or neither."""
    value = short.value
    if event.changes:
        for name, (old, new) in event.changes.items():
            yield name, f"{value(old)} → {value(new)}"
    elif event.op is Op.UPDATE and event.before:
        for name in changed(event.before, event.after):
            yield name, f"{value(event.before.get(name))} → {value(event.after.get(name))}"
    elif event.op is Op.DELETE:
        for name, old in event.before.items():
            yield name, f"{value(old)} → null"
    elif event.op is Op.INSERT:
        for name, new in event.after.items():
            yield name, f"null → {value(new)}"
    elif event.op is not Op.TOUCH:
        for name, new in event.after.items():
            yield name, value(new)


def changed(before: Mapping[Name, Any], after: Mapping[Name, Any]) -> list[Name]:
    names = sorted({*before, *after}, key=decoded)
    return [name for name in names if before.get(name) != after.get(name)]


def died(dead: Dead, short: Shortener) -> str:
    """Who gave up, and why."""
    by = short.name(dead.reader) + (f" ({short.name(dead.consumer)})" if dead.consumer else "")
    error = short.quoted(dead.error)
    return f"(dead in {by} after {plural(dead.deliveries, 'delivery', 'deliveries')}: {error})"


def event_line(event: Event, short: Shortener, stream: Name | None = None) -> list[Cell]:
    cells = when_and_what(event, short, stream) + who_and_how(event, short)
    if event.dead is not None:
        cells.append(Cell(died(event.dead, short), "red"))
    return cells


def event_json(event: Event, stream: Name | None = None) -> dict[str, Any]:
    """As DIRTY.READ … JSON tells it, and the stream."""
    told: dict[str, Any] = {} if stream is None else {"stream": stream}
    told["id"] = event.event_id
    if event.op is None:
        told["fields"] = [word for pair in event.fields for word in pair]
    else:
        told |= {"entity": event.entity, "entity-id": event.id, "op": str(event.op)}
        if event.version is not None:
            told["version"] = event.version
        if event.changes:
            told["changes"] = {name: [old, new] for name, (old, new) in event.changes.items()}
        told |= {
            key: dict(part)
            for key, part in (
                ("before", event.before),
                ("after", event.after),
                ("meta", event.meta),
            )
            if part
        }
    if event.dead is not None:
        dead = event.dead
        told["dead"] = {
            "id": dead.id, "stream": dead.stream, "reader": dead.reader, "consumer": dead.consumer, "error": dead.error,
            "deliveries": dead.deliveries, "failures": dead.failures, "first": dead.first, "last": dead.last,
        }  # fmt: skip
    return told
