"""`dirty sync`: a table of SQL, and the entities that it ought to be in Redis."""

from __future__ import annotations

import os
import re
import socket
import time
import zoneinfo
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .._words import text
from ..errors import ExistsError, LimitError, NoDeclarationError, NoRunError
from ._convert import UnfitError, Words
from ._declare import commands_of, entity_of, type_of, typed
from ._output import Cell, Failure, Output
from ._progress import Steps, steps
from ._rows import PAGE, Selection, Source, engine_of
from ._target import Operation, Outcome, Refused, Seen, Target, not_declared
from ._text import Shortener, escaped, json_line, plain, plural

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.engine import Connection, Row

    from .._words import Name
    from ._server import Server

SAME, DIFFERS = 0, 1

SHOWN = 10
"""How many differences are shown one by one."""

KEPT = 10_000
"""How many are looked at a second time."""

EFFECTS = {
    "insert": "missing in Redis",
    "only": "only in Redis",
    "update": "with other values",
    "stale": "older than in Redis",
    "conflict": "with other values under one version",
    "refused": "refused",
}


class Sync:
    """What all ways to synchronise have in common."""

    def __init__(self, options: argparse.Namespace, server: Server, output: Output) -> None:
        self.options = options
        self.server = server
        self.output = output
        self.short = Shortener(full=options.full)
        self.target = Target(server, options.key or options.table, options.partitions)
        self.zone = zone_of(options.zone)
        self.engine = engine_of(options.db)
        self.force = ("FORCE",) if options.force else ()

    # ---- What is compared ----

    def types(self) -> dict[str, str]:
        """The declared types."""
        try:
            return self.target.types()
        except NoDeclarationError as error:
            raise not_declared(error) from None

    def source(self, types: dict[str, str] | None) -> Source:
        """The rows. `types` are the declared ones, if there is a declaration."""

        def has_field(column: sa.Column[Any]) -> bool:
            """Entities tell; where there are none, the declaration, unless a text needs no type."""
            if types is None:
                return True
            stored = self.target.fields_of_some_entity()
            if stored is not None:
                return column.name in stored
            return column.name in types or type_of(column) is None

        options = self.options
        selection = Selection(
            table=options.table,
            id=options.id,
            columns=options.columns,
            exclude=options.exclude,
            where=options.where,
            separator=options.separator,
            id_field=options.id_field,
        )
        return Source(self.engine, selection, has_field)

    # ---- Rows and operations ----

    def operations(self, source: Source, words: Words, rows: Sequence[Row[Any]]) -> list[Operation]:
        """The words of rows."""
        return [self.operation(source, words, row) for row in rows]

    def operation(self, source: Source, words: Words, row: Row[Any]) -> Operation:
        """The words of a row; a value that fits nowhere is told with the row."""
        try:
            return Operation(source.id(row), words.of(source.values(row)))
        except UnfitError as error:
            return Operation(source.id(row), (), str(error))

    def words(self, source: Source, types: dict[str, str]) -> Words:
        """Converts the columns to the types of their fields."""
        fields = {name: types.get(name) for name in source.fields}
        # SQLite does not check what is in such a column.
        is_json = [
            isinstance(column.type, sa.JSON) and not source.raw for column in source.fields.values()
        ]
        return Words(fields, is_json, self.zone)

    def send_all(
        self,
        source: Source,
        words: Words,
        connection: Connection,
        progress: Steps,
        verb: str,
        *options: str,
    ) -> Iterator[tuple[Sequence[Row[Any]], list[Operation], list[Outcome]]]:
        """Sends all rows, a page at a time."""
        bars = self.output.errors.is_terminal
        advance = progress.step("rows", source.count(connection) if bars else None)
        for rows in source.pages(connection, PAGE):
            operations = self.operations(source, words, rows)
            yield rows, operations, self.target.send(verb, operations, *options)
            advance(len(rows))

    # ---- Output ----

    def rate(self, rows: int, seconds: float) -> str:
        """How many rows in which time."""
        return f"{plural(rows, 'row')} in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f}/s)"

    def entity(self, entity_id: bytes) -> Cell:
        """An entity, as events show it."""
        return Cell(self.short.entity(self.target.key, entity_id), "bold")

    def show_refused(self, refused: Sequence[tuple[bytes, str]]) -> None:
        """Rows that Redis did not take."""
        for entity_id, message in refused:
            self.output.line("  ", self.entity(entity_id), f"  {plain(message)}")


def zone_of(name: str) -> Any:
    """The zone of times without one."""
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Failure(f"--zone: there is no time zone {plain(name)!r}") from None


def sync(options: argparse.Namespace, server: Server, output: Output) -> int:
    """Runs the command; the result is its exit code."""
    common = Sync(options, server, output)
    try:
        if options.declare and not (options.seed or options.repair):
            return show_declaration(common)
        if options.declare:
            declare(common)
        if options.seed:
            return seed(common)
        return repair(common) if options.repair else Check(common).run()
    finally:
        common.engine.dispose()


# ---- --declare ----


def declaration(common: Sync) -> list[list[bytes | str]]:
    """The commands."""
    options = common.options
    source = common.source(None)
    entity = entity_of(
        source, options.key or options.table, tuple(options.stream), options.partitions, "FULL"
    )
    return commands_of(entity)


def show_declaration(common: Sync) -> int:
    """Prints the commands; redis-cli takes them."""
    for words in declaration(common):
        common.output.line(typed(words))
    return SAME


def declare(common: Sync) -> None:
    """Declares what is not declared: an existing declaration stays as it is."""
    for words in declaration(common):
        try:
            common.server.info(words[1])
        except NoDeclarationError:
            common.server.call(*words)
            common.output.note(f"declared: {typed(words)}")


# ---- --seed ----


def seed(common: Sync) -> int:
    """Stores all rows, and publishes nothing."""
    output = common.output
    types = common.types()
    source = common.source(types)
    words = common.words(source, types)
    began, rows = time.monotonic(), 0
    refusals: list[tuple[bytes, str]] = []
    refused = 0
    with steps(output) as progress, source.connect() as connection:
        for _, operations, outcomes in common.send_all(
            source, words, connection, progress, "SEED", *common.force
        ):
            rows += len(operations)
            for operation, outcome in zip(operations, outcomes, strict=True):
                if isinstance(outcome, Refused):
                    refused += 1
                    if len(refusals) < SHOWN:
                        refusals.append((operation.id, outcome.message))
    seconds = time.monotonic() - began
    if common.options.json:
        shown = [{"id": text(one), "error": message} for one, message in refusals]
        output.line(json_line({"rows": rows, "refused": refused, "first": shown}))
        return DIFFERS if refused else SAME
    output.line(f"seeded {plain(common.target.key)}: {common.rate(rows, seconds)}")
    if refused:
        output.line(Cell(f"{plural(refused, 'row')} refused:", "red"))
        common.show_refused(refusals)
    return DIFFERS if refused else SAME


# ---- --check ----


@dataclass
class Difference:
    """An entity that is not as its row."""

    id: bytes
    effect: str
    told: list[Cell] = field(default_factory=list)
    json: dict[str, Any] = field(default_factory=dict)


class Check:
    """Compares, and changes nothing.

    Writers go on meanwhile: a row may be read after its transaction, and compared before its flush. So whatever
    differs is looked at a second time, after a while.
    """

    def __init__(self, common: Sync) -> None:
        self.common = common
        self.options = common.options
        self.target = common.target
        self.short = common.short
        self.types = common.types()
        self.source = common.source(self.types)
        self.words = common.words(self.source, self.types)
        self.seen = Seen()
        self.rows = 0
        self.colons = False
        self.counts: Counter[str] = Counter()
        self.first: list[Difference] = []
        self.again: list[tuple[Any, ...]] = []
        self.lonely: dict[bytes, None] = {}
        self.foreign = 0

    def run(self) -> int:
        """The exit code."""
        began = time.monotonic()
        with steps(self.common.output) as progress, self.source.connect() as connection:
            self._rows(connection, progress)
            if repeated := self.seen.repeated():
                raise Failure(
                    f"--id is not unique: {plural(repeated, 'row')} of {plain(self.options.table)}"
                    " with the id of another one"
                )
            self._entities(progress)
            if self.again or self.lonely:
                time.sleep(self.options.wait)
                self._rows_again(connection)
                self._entities_again(connection)
        self._report(time.monotonic() - began)
        return DIFFERS if self.counts else SAME

    def _rows(self, connection: Connection, progress: Steps) -> None:
        for rows, operations, outcomes in self.common.send_all(
            self.source, self.words, connection, progress, "SNAPSHOT", "DRYRUN"
        ):
            self.rows += len(rows)
            for row, operation, outcome in zip(rows, operations, outcomes, strict=True):
                self.seen.add(operation.id)
                self.colons = self.colons or b":" in operation.id
                if outcome != b"none":
                    self._suspect(row, outcome)

    def _suspect(self, row: Row[Any], outcome: Outcome) -> None:
        if len(self.again) < KEPT:
            self.again.append(self.source.key(row))
        else:
            self.counts[effect_of(outcome)] += 1

    def _entities(self, progress: Steps) -> None:
        advance = progress.step("entities", self.rows)
        for page in self.target.ids():
            advance(len(page))
            for one in page:
                if one in self.seen:
                    continue
                if b":" in one and not self.colons:
                    self.foreign += 1
                elif len(self.lonely) < KEPT:
                    self.lonely[one] = None
                elif one not in self.lonely:
                    self.counts["only"] += 1

    def _rows_again(self, connection: Connection) -> None:
        for row in self.source.again(connection, self.again):
            operation = self.common.operation(self.source, self.words, row)
            (outcome,) = self.target.send("SNAPSHOT", [operation], "DRYRUN")
            if outcome == b"none":
                continue
            effect = effect_of(outcome)
            self.counts[effect] += 1
            if len(self.first) < SHOWN:
                self.first.append(self._difference(row, operation, outcome, effect))

    def _difference(
        self, row: Row[Any], operation: Operation, outcome: Outcome, effect: str
    ) -> Difference:
        difference = Difference(operation.id, effect)
        if isinstance(outcome, Refused):
            difference.told.append(Cell(plain(outcome.message), "red"))
            difference.json["error"] = outcome.message
            return difference
        stored = self.target.stored(operation.id)
        if stored is None:
            return difference
        _, fields = self.target.changes(operation)
        told = self.words.shown(self.source.values(row))
        values = {name: (stored.get(name), told.get(name)) for name in fields}
        difference.told += [
            Cell(part)
            for part in self.short.some(
                f"{self.short.name(name)}: {self._value(name, old)} → {self._value(name, new)}"
                for name, (old, new) in values.items()
            )
        ]
        difference.json["fields"] = {text(name): list(pair) for name, pair in values.items()}
        return difference

    def _value(self, name: bytes, value: bytes | None) -> str:
        if value is None:
            return "null"
        kind = self.types.get(name.decode("utf-8", "replace"), "string").partition(":")[0]
        bare = kind in ("int", "uint", "float", "decimal", "bool")
        return (
            escaped(value) if bare and len(value) <= Shortener.LENGTH else self.short.quoted(value)
        )

    def _entities_again(self, connection: Connection) -> None:
        lonely = list(self.lonely)
        have_rows = self.source.ids_of(connection, lonely)
        for one in lonely:
            if one in have_rows or self.target.stored(one) is None:
                continue
            self.counts["only"] += 1
            if len(self.first) < 2 * SHOWN:
                self.first.append(Difference(one, "only"))

    def _report(self, seconds: float) -> None:
        output = self.common.output
        told = {name: self.counts[name] for name in EFFECTS if self.counts[name]}
        count = sum(told.values())
        if self.options.json:
            first = [{"id": text(one.id), "effect": one.effect, **one.json} for one in self.first]
            output.line(json_line({"rows": self.rows, "differ": count, **told, "first": first}))
            return
        subject = f"{plain(self.options.table)} and {plain(self.target.key)}"
        rate = self.common.rate(self.rows, seconds)
        if not count:
            output.line(Cell(f"{subject} are the same: ", "green"), rate)
        else:
            parts = ", ".join(f"{number:,} {EFFECTS[name]}" for name, number in told.items())
            output.line(Cell(f"{subject} differ: ", "red"), f"{parts}; {rate}")
            self._show(count)
        if self.foreign:
            output.line(f"{plural(self.foreign, 'key')} with a colon in the id left out")

    def _show(self, count: int) -> None:
        output = self.common.output
        for one in self.first:
            label = Cell(f"  {EFFECTS.get(one.effect, EFFECTS['update'])}", "yellow")
            output.line(label, self.common.entity(one.id), *one.told, gap="  ")
        if count > len(self.first):
            output.line(f"  … and {count - len(self.first):,} more")
        id_name = self.source.id_columns[0].name.encode()
        alone = [list(one.json.get("fields", ())) for one in self.first if one.effect == "update"]
        if alone and all(fields == [text(id_name)] for fields in alone):
            output.line("  Only the id differs as a field: see --id-field and --no-id-field.")


def effect_of(outcome: Outcome) -> str:
    """The name of a difference."""
    if isinstance(outcome, Refused):
        return "refused"
    effect = outcome.decode()
    return effect if effect in EFFECTS else "update"


# ---- --repair ----

COUNTED = ("same", "repaired", "deleted", "newer", "stale", "foreign")


def repair(common: Sync) -> int:
    """Makes Redis equal to the table, by a run of DIRTY.RECONCILE; without its end nothing is deleted."""
    limit = max_delete(common.options.max_delete)
    types = common.types()
    source = common.source(types)
    words = common.words(source, types)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    run = f"dirty-sync {now} {socket.gethostname()} {os.getpid()}"
    began = time.monotonic()
    begun: list[Name] = []
    try:
        with steps(common.output) as progress, source.connect() as connection:
            for key in common.target.keys:
                begun.append(key)  # before the reply, which may be lost
                begin(common, key, run)
            rows = repair_rows(common, source, words, connection, progress, run)
            statuses = sweep_all(common, run, rows, limit, progress)
    except BaseException as error:
        abort(common, begun, run)
        if isinstance(error, NoRunError):
            raise Failure(
                "Redis was restarted or failed over in the middle, or the declaration was changed:"
                " nothing was deleted; begin again"
            ) from None
        raise
    report_repair(common, statuses, rows, time.monotonic() - began)
    return SAME


def begin(common: Sync, key: Name, run: str) -> None:
    """Begins the run of a key."""
    try:
        common.server.call("DIRTY.RECONCILE", key, "BEGIN", run)
    except ExistsError as error:
        raise Failure(
            f"{plain(error.message)}: if nobody is at work in it, DIRTY.RECONCILE"
            f" {plain(key)} ABORT ends it"
        ) from None


def repair_rows(  # noqa: PLR0917
    common: Sync,
    source: Source,
    words: Words,
    connection: Connection,
    progress: Steps,
    run: str,
) -> int:
    """Sends all rows."""
    rows = 0
    for _, operations, outcomes in common.send_all(
        source, words, connection, progress, "SNAPSHOT", *common.force, "RUN", run
    ):
        rows += len(operations)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, Refused):
                name = common.short.entity(common.target.key, operation.id)
                raise Failure(
                    f"{name}: {outcome.message}; nothing was deleted. --check lists such rows"
                )
    return rows


def abort(common: Sync, keys: Sequence[Name], run: str) -> None:
    """Ends the run, by another connection: that of the run may be within a reply."""
    if not keys:
        return
    try:
        server = common.server.again()
        for key in keys:
            server.call("DIRTY.RECONCILE", key, "ABORT", run)
        server.close()
    except Exception as error:
        common.output.note(f"the run {run!r} was not ended, and ends in an hour: {error}")


def max_delete(given: str | None) -> str | None:
    """A number, or a part with %."""
    if given is not None and re.fullmatch(r"\d+%?", given, re.ASCII) is None:
        raise Failure(f"--max-delete takes a number or a part such as 1%, not {plain(given)!r}")
    return given


def sweep_all(
    common: Sync, run: str, rows: int, limit: str | None, progress: Steps
) -> list[dict[str, Any]]:
    """Deletes what only Redis has, unless it is too much."""
    keys = common.target.keys
    seen = sum(common.target.reconcile(key, "STATUS", run)["seen"] for key in keys)
    if seen < rows:
        raise Failure(f"--id is not unique: {rows:,} rows have {seen:,} ids; nothing was deleted")
    if len(keys) == 1:
        option = () if limit is None else ("MAXDELETE", limit)
        return [sweep(common, keys[0], run, option, progress)]
    # The limit is one of all partitions together.
    counts = [sweep(common, key, run, ("DRYRUN",), progress) for key in keys]
    missing, scanned = (sum(one[name] for one in counts) for name in ("missing", "scanned"))
    allowed = allowed_of(limit, scanned)
    if missing > allowed:
        raise too_many(missing, scanned, allowed)
    return [
        sweep(common, key, run, ("MAXDELETE", one["missing"]), progress)
        for key, one in zip(keys, counts, strict=True)
    ]


def allowed_of(limit: str | None, scanned: int) -> int:
    """How many may be deleted."""
    if limit is None:
        return max(10, scanned // 100)
    if limit.endswith("%"):
        return int(limit[:-1]) * scanned // 100
    return int(limit)


def too_many(missing: int, scanned: int, allowed: int) -> Failure:
    """The number is in the message."""
    return Failure(
        f"{missing:,} of {scanned:,} entities are only in Redis and would be deleted;"
        f" --max-delete allows {allowed:,}. Nothing was deleted"
    )


LIMIT = re.compile(r"(\d+) of (\d+) entities would be deleted; MAXDELETE allows (\d+)")


def sweep(
    common: Sync, key: Name, run: str, options: Sequence[str | int], progress: Steps
) -> dict[str, Any]:
    """Repeats SWEEP until it is through."""
    counting: Callable[[int], None] | None = None
    deleting: Callable[[int], None] | None = None
    scanned = deleted = 0
    while True:
        try:
            status = common.target.reconcile(key, "SWEEP", run, *options)
        except LimitError as error:
            found = LIMIT.search(error.message)
            raise too_many(*map(int, found.groups())) if found else error from None
        phase = bytes(status["phase"]).decode()
        if phase == "done":
            return status
        if phase == "counting":
            counting = counting or progress.step("counting", None)
            counting(status["scanned"] - scanned)
            scanned = status["scanned"]
        else:
            deleting = deleting or progress.step("deleting", status["missing"])
            deleting(status["deleted"] - deleted)
            deleted = status["deleted"]


def report_repair(
    common: Sync, statuses: Sequence[dict[str, Any]], rows: int, seconds: float
) -> None:
    """What was done."""
    totals = {name: sum(status[name] for status in statuses) for name in COUNTED}
    if common.options.json:
        common.output.line(json_line({"rows": rows, **totals}))
        return
    words = {
        "repaired": "repaired",
        "deleted": "deleted",
        "newer": "flushed by others meanwhile",
        "stale": "newer in Redis",
        "foreign": "with a colon in the id left alone",
    }
    parts = [f"{totals['same']:,} the same"]
    parts += [
        f"{totals[name]:,} {told}"
        for name, told in words.items()
        if totals[name] or name in ("repaired", "deleted")
    ]
    common.output.line(
        f"{plain(common.target.key)}: {', '.join(parts)}; {common.rate(rows, seconds)}"
    )
