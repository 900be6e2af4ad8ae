"""`dirty stats`: all streams and their readers, as a table that refreshes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.live import Live

from ..errors import is_outage
from ._output import Cell, Column, Output, Row
from ._streams import Place, Stats, chosen, stats_of
from ._text import Shortener, json_line, number, plural, size, span

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from ._server import Server

COLUMNS = (
    Column("stream / reader"),
    Column("kind", dropped=1),
    Column("lag", right=True),
    Column("oldest", right=True, dropped=3),
    Column("pending", right=True),
    Column("due", right=True, dropped=2),
    Column("dead", right=True),
    Column("missed", right=True, dropped=4),
    Column("state", flexible=True),
)


def stats(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Runs the command; the result is its exit code."""
    if options.json:
        while True:
            for one in all_stats(server, options.streams):
                output.line(json_line(as_json(one)))
            output.flush()
            if options.once:
                return 0
            time.sleep(options.interval)
    if options.once or not output.is_terminal:
        output.show(picture(output, all_stats(server, options.streams)))
        return 0
    watch(options, server, output)
    return 0


def watch(options: argparse.Namespace, server: Server, output: Output) -> None:
    """Refreshes in place, until Ctrl-C."""
    first = picture(output, all_stats(server, options.streams))
    with Live(first, console=output.console, auto_refresh=False) as live:
        while True:
            time.sleep(options.interval)
            try:
                live.update(picture(output, all_stats(server, options.streams)), refresh=True)
            except Exception as error:
                if not is_outage(error):
                    raise
                live.console.print(f"waiting for Redis: {type(error).__name__}", style="yellow")


def all_stats(server: Server, names: list[str]) -> list[Stats]:
    """Of all streams that are asked for."""
    return [stats_of(server, place) for place in chosen(server, names)]


def as_json(one: Stats) -> dict[str, Any]:
    """The words of DIRTY.STATS, and the stream."""
    told: dict[str, Any] = {"stream": one.place.name}
    if one.place.db is not None:
        told["db"] = one.place.db
    return {**told, **one.told, "readers": one.readers}


def picture(output: Output, streams: list[Stats]) -> RenderableType:
    """The table."""
    if not streams:
        return output.table((Column("no streams: nothing is declared"),), ())
    rows: list[Row] = []
    for one in streams:
        rows.append(stream_row(one))
        rows += [reader_row(reader) for reader in one.readers]
    return output.table(COLUMNS, rows)


def name_of(place: Place) -> str:
    """The stream's name, with its database if it is another one."""
    name = Shortener().name(place.name)
    return name if place.db is None else f"{name} (db {place.db})"


def stream_row(one: Stats) -> Row:
    """A stream: how many entries, how old, how large."""
    told = one.told
    state = f"{plural(told['length'], 'entry', 'entries')}, {size(told['bytes'])}"
    dead = told["dead"]
    return (
        Cell(name_of(one.place), "bold"),
        Cell("stream", "dim"),
        Cell(""),
        Cell(span(told["oldest-event-ms"]), "dim"),
        Cell(""),
        Cell(""),
        Cell(number(dead), "red" if dead else "dim"),
        Cell(""),
        Cell(state, "dim"),
    )


def reader_row(reader: dict[str, Any]) -> Row:
    """A reader: how far it is, and what holds it up."""
    lag, died = reader["lag"], reader.get("died")
    missed = missed_of(reader)
    troubles = troubles_of(reader)
    return (
        Cell(f"  {Shortener().name(reader['name'])}"),
        Cell(kind_of(reader), "dim"),
        Cell(number(lag), "yellow" if lag else "green"),
        Cell(span(reader["oldest-unread-ms"]) if lag else ""),
        Cell(number(reader["pending"]) if "pending" in reader else ""),
        Cell(number(reader["due"]) if "due" in reader else ""),
        Cell("" if died is None else number(died), "red" if died else ""),
        Cell(number(missed), "red" if missed != 0 else ""),
        Cell(", ".join(troubles) or consumers_of(reader), "red" if troubles else "dim"),
    )


def missed_of(reader: dict[str, Any]) -> int | None:
    """What it will be told of, and what it was told of."""
    if reader["missed"] is None:
        return None
    return int(reader["missed"]) + int(reader.get("missed-total") or 0)


def kind_of(reader: dict[str, Any]) -> str:
    """A group with its order; a cursor with its part of the stream."""
    kind = str(reader["kind"])
    if kind == "group" and reader["order"] != "NONE":
        return (
            f"group {Shortener().name(reader['order'])}"
            if reader["order"] in ORDERS
            else "group META"
        )
    if reader.get("shard"):
        index, count = reader["shard"]
        return f"cursor {index}/{count}"
    return kind


ORDERS = ("ENTITY", "STREAM")


def troubles_of(reader: dict[str, Any]) -> list[str]:
    """What an operator ought to see."""
    troubles = [word for word in ("paused", "stalled") if reader.get(word)]
    if parked := reader.get("parked-keys"):
        troubles.append(f"{plural(parked, 'key')} parked")
    if len(str(reader["position"]).split("/")) == 3:
        troubles.append("in its snapshot")
    return troubles


def consumers_of(reader: dict[str, Any]) -> str:
    """How many work, and how many of them wait."""
    consumers = reader["consumers"]
    if not consumers:
        return "no consumers" if reader["kind"] != "cursor" else ""
    waiting = sum(bool(one.get("waiting")) for one in consumers)
    told = plural(len(consumers), "consumer")
    return f"{told}, {waiting} waiting" if waiting else told
