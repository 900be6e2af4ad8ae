"""The entity type that a table is compared with, over all its partitions."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from .._entity import tagged
from .._partitions import partition_of
from .._replies import mapping, pairs
from .._words import string
from ..errors import BadValueError, DirtyError, LimitError, NoDeclarationError, WrongTypeError
from ._output import Failure
from ._text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._words import Name, Word
    from ._server import Server

BATCH = 200
"""Operations a command: from 100 on, an operation takes the server the same time."""


@dataclass(frozen=True)
class Operation:
    """A row on its way: the words of its fields, or why there are none."""

    id: bytes
    fields: tuple[Word, ...]
    unfit: str | None = None


@dataclass(frozen=True)
class Refused:
    """A row that the module does not take."""

    message: str


Outcome = bytes | Refused
"""The effect of an operation, or why there is none."""


class Target:
    """Operations go to the partition of their id."""

    def __init__(self, server: Server, key: Name, partitions: int | None) -> None:
        self.server = server
        self.key = key
        self.keys = tagged(key, partitions)
        self.scanned = 0

    def declaration(self) -> dict[str, Any]:
        """What DIRTY.INFO says of the first key.

        Raises:
            NoDeclarationError: One of the keys has no declaration.
        """
        told = [self.server.info(key) for key in self.keys]
        return told[0]

    def types(self) -> dict[str, str]:
        """The declared types of fields."""
        told = self.declaration()
        if told["stateless"]:
            raise Failure(f"{plain(self.key)} is STATELESS: Redis keeps nothing to compare with")
        declared = pairs(told["types"])
        return {string(field): string(kind) for field, kind in declared}

    def fields_of_some_entity(self) -> set[str] | None:
        """The fields of one that is stored; None if there is none."""
        for key in self.keys:
            cursor: Any = 0
            while True:
                cursor, page = self.server.call("DIRTY.SCAN", key, cursor, "COUNT", 10, "RAW")
                if page:
                    return {string(field) for _, values in page for field, _ in pairs(values)}
                if string(cursor) == "0":
                    break
        return None

    def key_of(self, entity_id: bytes) -> Name:
        """The declaration's key that an entity belongs to."""
        count = len(self.keys)
        return self.keys[0] if count == 1 else self.keys[partition_of(entity_id, count)]

    def send(self, verb: str, operations: Sequence[Operation], *options: str) -> list[Outcome]:
        """Sends all at once, and answers in their order.

        A refused command refuses all its operations, so those are sent again one by one.
        """
        outcomes: list[Outcome] = [
            Refused(operation.unfit) if operation.unfit is not None else b""
            for operation in operations
        ]
        shares = list(self._shares(operations))
        replies = self.server.pipelined(
            self._command(key, verb, [operations[n] for n in places], options)
            for key, places in shares
        )
        for (key, places), reply in zip(shares, replies, strict=True):
            effects = reply
            if isinstance(reply, ResponseError):
                if not is_of_a_row(reply):
                    raise reply
                effects = self._one_by_one(key, verb, [operations[n] for n in places], options)
            for place, effect in zip(places, effects, strict=True):
                outcomes[place] = effect
        return outcomes

    def _shares(self, operations: Sequence[Operation]) -> Iterator[tuple[Name, list[int]]]:
        by_key: dict[Name, list[int]] = {}
        for place, operation in enumerate(operations):
            if operation.unfit is None:
                by_key.setdefault(self.key_of(operation.id), []).append(place)
        for key, places in by_key.items():
            for start in range(0, len(places), BATCH):
                yield key, places[start : start + BATCH]

    def _command(
        self, key: Name, verb: str, operations: Sequence[Operation], options: Sequence[str]
    ) -> list[Any]:
        words: list[Any] = ["DIRTY.FLUSH", key, *options]
        for operation in operations:
            words.append(verb)
            words.append(operation.id)
            words += operation.fields
        return words

    def _one_by_one(
        self, key: Name, verb: str, operations: Sequence[Operation], options: Sequence[str]
    ) -> list[Outcome]:
        replies = self.server.pipelined(
            self._command(key, verb, [operation], options) for operation in operations
        )
        outcomes: list[Outcome] = []
        for reply in replies:
            if not isinstance(reply, ResponseError):
                outcomes += reply
            elif is_of_a_row(reply):
                outcomes.append(Refused(str(reply)))
            else:
                raise reply
        return outcomes

    def changes(self, operation: Operation) -> tuple[str, list[bytes]]:
        """What a SNAPSHOT would do, and to which fields."""
        words = self._command(
            self.key_of(operation.id), "SNAPSHOT", [operation], ("DRYRUN", "WITHEVENTS")
        )
        ((effect, fields, _),) = self.server.call(*words)
        return string(effect), list(fields)

    def stored(self, entity_id: bytes) -> dict[bytes, bytes] | None:
        """The texts of an entity's fields."""
        (reply,) = self.server.call("DIRTY.GET", self.key_of(entity_id), "RAW", entity_id)
        return None if reply is None else dict(pairs(reply))

    def ids(self) -> Iterator[list[bytes]]:
        """The ids of all entities, page by page; some may come twice."""
        for key in self.keys:
            cursor: Any = 0
            while True:
                cursor, page = self.server.call("DIRTY.SCAN", key, cursor, "COUNT", 1000, "JSON")
                yield [one for one, _ in page]
                if string(cursor) == "0":
                    break

    def reconcile(self, key: Name, step: str, run: str, *options: str | int) -> dict[str, Any]:
        """A step of a run, but BEGIN and ABORT, which have no status."""
        return mapping(self.server.call("DIRTY.RECONCILE", key, step, run, *options))


def is_of_a_row(error: ResponseError) -> bool:
    """Whether it is an operation that was refused, and not the flush."""
    return isinstance(error, (BadValueError, WrongTypeError, LimitError)) or (
        type(error) is DirtyError and error.code == "ERR"
    )


def not_declared(error: NoDeclarationError) -> Failure:
    """For a user who begins."""
    return Failure(f"{plain(error.message)}; dirty sync … --declare shows how")


class Seen:
    """Which ids were seen, in eight bytes each."""

    BUCKETS = 256

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(self.BUCKETS)]
        self._sorted = False

    def add(self, entity_id: bytes) -> None:
        """Remembers an id."""
        value = hash(entity_id)
        self._buckets[value % self.BUCKETS].append(value)
        self._sorted = False

    def repeated(self) -> int:
        """How many ids came a second time."""
        self._sort()
        return sum(one == other for bucket in self._buckets for one, other in pairwise(bucket))

    def __contains__(self, entity_id: bytes) -> bool:
        self._sort()
        value = hash(entity_id)
        bucket = self._buckets[value % self.BUCKETS]
        place = bisect_left(bucket, value)
        return place < len(bucket) and bucket[place] == value

    def _sort(self) -> None:
        if not self._sorted:
            for index, bucket in enumerate(self._buckets):
                self._buckets[index] = array("q", sorted(bucket))
            self._sorted = True
