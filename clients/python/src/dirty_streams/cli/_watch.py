"""`dirty watch`: events as they come, by DIRTY.READ, which leaves nothing behind."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from .._events import Batch, Entities
from ..errors import NoPositionError, is_outage
from ._lines import event_json, event_line
from ._output import Failure, Output
from ._streams import Place, as_given, chosen
from ._text import Shortener, json_line, plain, plural

if TYPE_CHECKING:
    import argparse

    from .._events import Event
    from .._words import Name
    from ._server import Server

BLOCK_MS = 5_000
COUNT = 500
PAUSE = 1.0


@dataclass(frozen=True)
class Note:
    """Something to tell besides events."""

    text: str


@dataclass(frozen=True)
class End:
    """A stream that is read to its end, or cannot be read any longer."""

    error: Exception | None = None


class Reader(threading.Thread):
    """Reads one stream, by a connection of its own."""

    def __init__(
        self, server: Server, place: Place, start: str, where: list[Any], told: queue.Queue[Any]
    ) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.place = place
        self.start_at = start
        self.where = where
        self.told = told
        self.follow = True
        self.entities = Entities()

    def run(self) -> None:
        """Reads until nobody wants more."""
        try:
            self._read()
        except Exception as error:
            self.told.put(End(error))
        else:
            self.told.put(End())

    def _read(self) -> None:
        position = self.start_at
        lost = False
        while True:
            try:
                batch = self._batch(position)
            except NoPositionError:
                self._note("was begun again, or lost its last events: from its beginning now")
                position = "0"
                continue
            except (RedisError, OSError) as error:
                if not (self.follow and is_outage(error)):
                    raise
                if not lost:
                    self._note(f"waits for Redis ({error})")
                lost = True
                time.sleep(PAUSE)
                continue
            if lost:
                self._note("goes on")
                lost = False
            if batch.missed != 0:
                lost_ones = "events" if batch.missed is None else plural(batch.missed, "event")
                self._note(f"is read too late: {lost_ones} missed")
            for event in batch.events:
                self.told.put((self.place.name, event))
            position = batch.position or position
            if not self.follow and not batch.more:
                return

    def _batch(self, position: str) -> Batch:
        block = ("BLOCK", BLOCK_MS) if self.follow else ()
        reply = self.server.call(
            "DIRTY.READ", self.place.name, "FROM", position, "COUNT", COUNT, *block, "JSON",
            *self.where, block=BLOCK_MS / 1000 if self.follow else None,
        )  # fmt: skip
        return self.entities.batch(reply)

    def _note(self, text: str) -> None:
        self.told.put(Note(f"{plain(self.place.name)} {text}"))


def where_of(options: argparse.Namespace) -> list[Any]:
    """The filters of the options."""
    where: list[Any] = []
    if options.entity:
        where += ["ENTITY", as_given(options.entity)]
    if options.id:
        where += ["ID", len(options.id), *map(as_given, options.id)]
    if options.ops:
        where += ["OPS", options.ops]
    if options.field:
        where += ["FIELDS", len(options.field), *map(as_given, options.field)]
    return ["WHERE", *where] if where else []


def watch(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Runs the command; the result is its exit code."""
    places = chosen(server, options.streams)
    if not places:
        raise Failure("there are no streams: nothing is declared")
    told: queue.Queue[Any] = queue.Queue(maxsize=2 * COUNT)
    readers = [
        Reader(server.at(place.db).again(), place, options.start, where_of(options), told)
        for place in places
    ]
    for reader in readers:
        reader.follow = not options.once
        reader.start()
    show(Printer(options, output, several=len(places) > 1), told, len(readers))
    return 0


def show(printer: Printer, told: queue.Queue[Any], reading: int) -> None:
    """Prints what the readers tell, until all of them or the count are at the end."""
    while reading:
        item: Any = None
        try:
            item = told.get_nowait()
        except queue.Empty:
            printer.output.flush()
            with contextlib.suppress(queue.Empty):
                item = told.get(timeout=PAUSE)
            if item is None and printer.output.is_unread():
                return
        if isinstance(item, Note):
            printer.output.note(item.text)
        elif isinstance(item, End):
            if item.error is not None:
                raise item.error
            reading -= 1
        elif item is not None and not printer.event(*item):
            return


class Printer:
    """Prints events as lines."""

    def __init__(self, options: argparse.Namespace, output: Output, *, several: bool) -> None:
        self.output = output
        self.json = options.json
        self.left = options.count
        self.several = several
        self.short = Shortener(full=options.full)

    def event(self, stream: Name, event: Event) -> bool:
        """Whether more are wanted."""
        if self.json:
            self.output.line(json_line(event_json(event, stream)))
        else:
            named = stream if self.several else None
            self.output.line(*event_line(event, self.short, named), gap="  ")
        if self.left is not None:
            self.left -= 1
            return bool(self.left > 0)
        return True
