"""`dirty sync --check`: what differs, and nothing is changed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._words import text
from ._output import Cell, Failure
from ._progress import Steps, steps
from ._table import DIFFERS, SAME, SHOWN, Sync
from ._target import Operation, Outcome, Refused, Seen
from ._text import Shortener, escaped, json_line, plain, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, Row


KEPT = 10_000
"""How many are looked at again."""

FIRST_PAUSE = 0.25

EFFECTS = {
    "insert": "missing in Redis",
    "only": "only in Redis",
    "update": "with other values",
    "stale": "older than in Redis",
    "conflict": "with other values under one version",
    "refused": "refused",
}


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
    differs is looked at again, until it is the same or `--wait` is over.
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
            self._wait(connection)
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

    def _wait(self, connection: Connection) -> None:
        """Forgets what is the same by now, with longer and longer pauses."""
        deadline = time.monotonic() + self.options.wait
        pause = FIRST_PAUSE
        while (self.again or self.lonely) and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause *= 2
            if time.monotonic() < deadline:
                self.again = [self.source.key(row) for row, *_ in self._still_other(connection)]
                self.lonely = dict.fromkeys(self._still_alone(connection))

    def _still_other(self, connection: Connection) -> Iterator[tuple[Row[Any], Operation, Outcome]]:
        for row in self.source.again(connection, self.again):
            operation = self.common.operation(self.source, self.words, row)
            (outcome,) = self.target.send("SNAPSHOT", [operation], "DRYRUN")
            if outcome != b"none":
                yield row, operation, outcome

    def _still_alone(self, connection: Connection) -> Iterator[bytes]:
        lonely = list(self.lonely)
        have_rows = self.source.ids_of(connection, lonely)
        for one in lonely:
            if one not in have_rows and self.target.stored(one) is not None:
                yield one

    def _rows_again(self, connection: Connection) -> None:
        for row, operation, outcome in self._still_other(connection):
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
        for one in self._still_alone(connection):
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
