"""`dirty dead`: events that a reader gave up on; `dirty pending`: those that it has not finished."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from .._events import Entities, Event
from .._words import text
from ._lines import event_json, who_and_how
from ._output import Cell, Column, Failure, Output, Row
from ._streams import Place, as_given, plain_map, stats_of
from ._text import Shortener, json_line, moment, number, plain, plural, span

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from .._words import Name
    from ._server import Server

PAGE = 200


def dead_list(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Lists them, the oldest first."""
    stream = as_given(options.stream)
    reader = None if options.reader is None else as_given(options.reader)
    if reader is not None:
        kind_of(server, stream, reader)
    short = Shortener(full=options.full)
    count = 0
    for event in dead_events(server, stream, reader):
        if options.count is not None and count == options.count:
            output.note("there are more")
            return 0
        count += 1
        if options.json:
            output.line(json_line(event_json(event)))
        else:
            show(event, short, output, named=reader is None)
    if not count and not options.json:
        whose = plain(stream) if reader is None else f"{plain(stream)} {plain(reader)}"
        output.note(f"no dead events of {whose}")
    return 0


def dead_events(server: Server, stream: Name, reader: Name | None) -> Iterator[Event]:
    """The entries of dead streams that belong to the stream and reader."""
    entities = Entities()
    for key in dead_keys(server, stream, reader):
        position: str = "0"
        while True:
            reply = server.call("DIRTY.READ", key, "FROM", position, "COUNT", PAGE, "JSON")
            batch = entities.batch(reply)
            for event in batch.events:
                dead = event.dead
                if dead is not None and dead.stream == stream and reader in (None, dead.reader):
                    yield event
            position = batch.position or position
            if not batch.more:
                break


def dead_keys(server: Server, stream: Name, reader: Name | None) -> list[Name]:
    """Where the dead events of the readers go."""
    usual: Name = f"{stream}:dead" if isinstance(stream, str) else stream + b":dead"
    keys: dict[Name, None] = {} if reader is not None else {usual: None}
    for one in stats_of(server, Place(stream)).readers:
        if reader in (None, one["name"]) and "died" in one:
            keys[one["dead"] or usual] = None
    return list(keys) or [usual]


def show(event: Event, short: Shortener, output: Output, *, named: bool) -> None:
    """Two lines: the event, and why it died."""
    dead = event.dead
    if dead is None:
        return
    op = Cell(f"{event.op or 'entry'!s:<6}")
    output.line(Cell(dead.id, "cyan"), op, *who_and_how(event, short), gap="  ")
    when = moment(int(dead.last.timestamp() * 1000))
    parts = [f"{when}"]
    if named:
        parts.append(f"given up by {short.name(dead.reader)}")
    if dead.deliveries:
        parts.append(f"after {plural(dead.deliveries, 'delivery', 'deliveries')}")
    if dead.consumer:
        parts.append(f"last of {short.name(dead.consumer)}")
    output.line("    ", Cell(", ".join(parts), "dim"), ": ", Cell(short.quoted(dead.error), "red"))


def kind_of(server: Server, stream: Name, reader: Name) -> str:
    """GROUP or CURSOR."""
    readers = stats_of(server, Place(stream)).readers
    for one in readers:
        if one["name"] == reader and one["kind"] != "native":
            return str(one["kind"]).upper()
    known = ", ".join(plain(one["name"]) for one in readers if one["kind"] != "native")
    raise Failure(
        f"{plain(stream)} has no reader {plain(reader)!r}" + (f", but {known}" if known else "")
    )


# ---- Redrive and discard ----


def selector(options: argparse.Namespace) -> list[Any]:
    """The words of the selection."""
    if options.all:
        return ["ALL"]
    if options.entity:
        return ["ENTITY", *map(as_given, options.entity)]
    if options.meta is not None:
        return ["KEY", as_given(options.meta)]
    return ["IDS", len(options.ids), *options.ids]


def redrive(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Gives dead events to the group again."""
    chosen = selector(options)
    stream, group = as_given(options.stream), as_given(options.reader)
    count = server.call("DIRTY.REDRIVE", stream, "GROUP", group, *chosen)
    output.line(f"{plural(count, 'event')} due again for {plain(group)} of {plain(stream)}")
    return 0


def discard(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Removes dead events for good. All of them only if somebody says so."""
    chosen = selector(options)
    stream, reader = as_given(options.stream), as_given(options.reader)
    kind = kind_of(server, stream, reader)
    if chosen == ["ALL"] and not options.yes:
        count = sum(1 for _ in dead_events(server, stream, reader))
        if count:
            confirm(f"Discard {plural(count, 'dead event')} of {plain(reader)} of {plain(stream)}?")
    count = server.call("DIRTY.DISCARD", stream, kind, reader, *chosen)
    output.line(f"{plural(count, 'event')} of {plain(reader)} of {plain(stream)} discarded")
    return 0


def confirm(question: str) -> None:
    """Asks; where nobody can answer, --yes must be given."""
    if not sys.stdin.isatty():
        raise Failure(f"{question} Say --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("nothing was discarded")


# ---- Pending ----

COLUMNS = (
    Column("event"),
    Column("state"),
    Column("key", flexible=True),
    Column("consumer", flexible=True),
    Column("for", right=True, dropped=2),
    Column("due in", right=True),
    Column("deliveries", right=True, dropped=3),
    Column("failures", right=True, dropped=1),
    Column("error", flexible=True),
)
STYLES = {"held": "green", "delayed": "yellow", "free": "cyan", "queued": "dim", "parked": "red"}


def pending(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Lists what a group has not finished."""
    stream, group = as_given(options.stream), as_given(options.group)
    consumer = () if options.consumer is None else ("CONSUMER", as_given(options.consumer))
    told: list[dict[str, Any]] = []
    for one in unfinished(server, stream, group, consumer):
        if options.count is not None and len(told) == options.count:
            output.note("there are more: see --count")
            break
        told.append(one)
    if options.json:
        for one in told:
            output.line(json_line(one))
    elif told:
        short = Shortener(full=options.full)
        now = int(time.time() * 1000)
        output.show(output.table(COLUMNS, [row(one, short, now) for one in told]))
    else:
        output.note(f"{plain(group)} of {plain(stream)} has nothing pending")
    return 0


def unfinished(
    server: Server, stream: Name, group: Name, consumer: tuple[Any, ...]
) -> Iterator[dict[str, Any]]:
    """All of them, page by page."""
    after: tuple[Any, ...] = ()
    while True:
        page = server.call(
            "DIRTY.PENDING", stream, "GROUP", group, *consumer, *after, "COUNT", PAGE
        )
        for item in page:
            yield plain_map(item)
        if len(page) < PAGE:
            return
        after = ("AFTER", plain_map(page[-1])["id"])


def row(one: dict[str, Any], short: Shortener, now: int) -> Row:
    """An event."""
    due = one["due-ms"]
    wait = "" if due is None else "now" if due <= now else span(due - now)
    error = one["error"]
    return (
        Cell(one["id"], "cyan"),
        Cell(one["state"], STYLES.get(one["state"], "")),
        Cell(key_of(one["key"], short)),
        Cell("" if one["consumer"] is None else short.name(one["consumer"])),
        Cell(span(one["idle-ms"])),
        Cell(wait),
        Cell(number(one["deliveries"])),
        Cell(number(one["failures"]), "red" if one["failures"] else ""),
        Cell("" if error is None else short.quoted(error), "red"),
    )


def key_of(key: Any, short: Shortener) -> str:
    """What events are ordered by."""
    if key is None:
        return ""
    return short.entity(*key) if isinstance(key, list) else short.name(text(key))
