"""Declarations: entity types and the streams that get their changes."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ._model import Model, id_type_of
from ._operations import Snapshot
from ._partitions import partition_of
from ._words import Id, Name, Span, Word, id_bytes, milliseconds, name, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ._values import Value

T = TypeVar("T")


@dataclass(frozen=True)
class Stream:
    """A stream that gets the changes of an entity type.

    Attributes:
        name: The stream's key. Of an entity type with partitions, each partition's key adds its `{number}`.
        ops: The letters of `IUD` that it gets, or `NONE`; by default all.
        fields: The stream gets only those updates that change one of these fields.
        payload: `KEYS`, `CHANGES`, `FULL` or `IMAGES`.
        format: `MSGPACK`, `FLUXAORM2`, `FLUXAORM1`, `FLAT` or `DEBEZIUM`.
        maxlen: How many entries it keeps; `approximate` is cheaper.
        on_full: What happens to unacknowledged entries beyond `maxlen`: `TRIM`, `KEEP` or `REFUSE`.
        max_age: How long it keeps them: seconds, or a timedelta.
        id_field: The id's name in the images of the format DEBEZIUM.
        safe_numbers: Whether the format DEBEZIUM writes large integers as strings.
        db: The logical database of the stream, if it is not that of the declaration.
        partitions: The number of partitions, which the entity sets.
    """

    name: Name
    _: KW_ONLY
    ops: str | None = None
    fields: Sequence[Name] = ()
    payload: str | None = None
    format: str | None = None
    maxlen: int | None = None
    approximate: bool = False
    on_full: str | None = None
    max_age: Span | None = None
    id_field: Name | None = None
    safe_numbers: bool = False
    db: int | None = None
    partitions: int | None = None

    @property
    def keys(self) -> tuple[Name, ...]:
        """The keys of the stream: one, or one for each partition."""
        return tagged(self.name, self.partitions)

    def words(self, partition: int | None = None) -> Iterator[Word]:
        """The words that declare the stream."""
        key = self.name if partition is None else self.keys[partition]
        yield from (b"STREAM", name(key))
        if self.ops is not None:
            yield from (b"OPS", name(self.ops))
        if self.fields:
            yield from (b"FIELDS", number(len(self.fields)), *map(name, self.fields))
        if self.maxlen is not None:
            yield from (b"MAXLEN", b"~" if self.approximate else b"=", number(self.maxlen))
        if self.on_full is not None:
            yield from (b"ONFULL", name(self.on_full))
        if self.max_age is not None:
            yield from (b"MAXAGE", milliseconds(self.max_age))
        if self.payload is not None:
            yield from (b"PAYLOAD", name(self.payload))
        if self.format is not None:
            yield from (b"FORMAT", name(self.format))
        if self.id_field is not None:
            yield from (b"IDFIELD", name(self.id_field))
        if self.safe_numbers:
            yield b"SAFENUMBERS"
        if self.db is not None:
            yield from (b"DB", number(self.db))


@dataclass(frozen=True, eq=False)
class Entity:
    """An entity type, as `Client.declare` declares it.

    Attributes:
        key: The declaration's key.
        types: The types of fields: `int`, `decimal:2`, `datetime`, … ; others are strings.
        streams: The streams that get its changes, as `Stream` or as names.
        version: The field that holds the entity's own version.
        tombstone: How long the version of a deleted entity is remembered: seconds, or a timedelta.
        soft_delete: While this field is set, the entity does not exist for readers.
        stateless: Whether no snapshots are kept.
        name: The entity's name in events; by default the key.
        prefix: What the keys of snapshots begin with; by default `<key>:`. With partitions, `{}` stands for the number.
        revision: A declaration with a lower revision does not replace this one.
        tags: Struct tags by fields, and `pools` the databases of their pool codes.
        partitions: The number of partitions: the type is declared at `<key>{0}`, `<key>{1}`, …
        id_type: Makes the id of events and entities from its text: `int`, for instance. By default it stays a text.
        model: The dataclass or Pydantic model, which `of` sets.
    """

    key: Name
    _: KW_ONLY
    types: Mapping[str, str] = field(default_factory=dict)
    streams: Sequence[Stream | Name] = ()
    version: Name | None = None
    tombstone: Span | None = None
    soft_delete: Name | None = None
    stateless: bool = False
    name: Name | None = None
    prefix: Name | None = None
    revision: int | None = None
    tags: Mapping[Name, Name] = field(default_factory=dict)
    pools: Mapping[Name, int] = field(default_factory=dict)
    partitions: int | None = None
    id_type: Callable[[str], Any] | None = None
    model: Model[Any] | None = None

    def __post_init__(self) -> None:
        if self.partitions is not None and self.partitions < 1:
            raise ValueError(f"partitions must be at least 1, not {self.partitions}")
        if (
            self.partitions is not None
            and self.prefix is not None
            and name("{}") not in name(self.prefix)
        ):
            raise ValueError(
                f"the prefix {self.prefix!r} of a type with partitions needs {{}} for their numbers"
            )
        streams = tuple(
            replace(s if isinstance(s, Stream) else Stream(s), partitions=self.partitions)
            for s in self.streams
        )
        object.__setattr__(self, "streams", streams)
        if self.name is None:
            object.__setattr__(self, "name", untagged(self.key))

    @classmethod
    def of(
        cls,
        model: type[Any],
        *,
        key: Name | None = None,
        id: str | tuple[str, ...] = "id",  # noqa: A002
        types: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Entity:
        """The entity type of a dataclass or a Pydantic model: types come from annotations, and flushes take instances.

        Args:
            model: The class.
            key: The declaration's key; by default the class's name in lower case.
            id: The field that is the id. Several fields are joined by `-`, and are stored, too.
            types: Types that replace those of the annotations.
            options: All others of `Entity`.

        Raises:
            TypeError: The class has no such field, or the type of an annotation is unknown.
        """
        shape = Model(model, id)
        known = dict(types or {})
        return cls(
            key if key is not None else model.__name__.lower(),
            types={**dict(shape.types(known)), **known},
            id_type=options.pop("id_type", None) or id_type_of(shape),
            model=shape,
            **options,
        )

    @property
    def keys(self) -> tuple[Name, ...]:
        """The keys of the declaration: one, or one for each partition."""
        return tagged(self.key, self.partitions)

    def partition(self, id: Id) -> int:  # noqa: A002
        """The index of an entity's key in `keys`."""
        return 0 if self.partitions is None else partition_of(id_bytes(id), self.partitions)

    def key_of(self, id: Id) -> Name:  # noqa: A002
        """The key of the declaration that an entity belongs to."""
        return self.keys[self.partition(id)]

    def dump(self, instance: Any) -> tuple[Id, dict[Name, Value]]:
        """The id and the fields of an instance of the model."""
        if self.model is None or not isinstance(instance, self.model.cls):
            raise TypeError(f"{self.key!r} takes operations, not a {type(instance).__name__}")
        return self.model.dump(instance)

    def snapshot(self, instance: Any) -> Snapshot:
        """The operation that stores an instance of the model."""
        return Snapshot(*self.dump(instance))

    def id_of(self, value: bytes | str) -> Any:
        """An id from a reply."""
        shown = text(value)
        if self.id_type is None or not isinstance(shown, str):
            return shown
        try:
            return self.id_type(shown)
        except (ValueError, TypeError, ArithmeticError):
            return shown

    def words(self, partition: int | None = None) -> Iterator[Word]:
        """The words that declare the type at one of its keys."""
        if self.name != untagged(self.key):
            yield from (b"NAME", name(self.name or b""))
        if self.prefix is not None:
            tag = b"" if partition is None else b"{%d}" % partition
            prefix = name(self.prefix)
            yield from (b"PREFIX", prefix if partition is None else prefix.replace(b"{}", tag))
        if self.revision is not None:
            yield from (b"REVISION", number(self.revision))
        if self.stateless:
            yield b"STATELESS"
        if self.version is not None:
            yield from (b"VERSION", name(self.version))
            if self.tombstone is not None:
                yield from (b"TOMBSTONE", milliseconds(self.tombstone))
        if self.soft_delete is not None:
            yield from (b"SOFTDELETE", name(self.soft_delete))
        if self.types:
            yield from (b"TYPES", number(len(self.types)))
            for field_name, kind in self.types.items():
                yield from (name(field_name), name(kind))
        for stream in self.streams:
            if isinstance(stream, Stream):
                yield from stream.words(partition)
        if self.tags:
            yield from (b"TAGS", number(len(self.tags)))
            for tagged_field, tag_text in self.tags.items():
                yield from (name(tagged_field), name(tag_text))
        for code, db in self.pools.items():
            yield from (b"POOL", name(code), number(db))


def tagged(key: Name, partitions: int | None) -> tuple[Name, ...]:
    """A key, or the keys of its partitions."""
    return (key,) if partitions is None else tuple(at_partition(key, n) for n in range(partitions))


def at_partition(key: Name, partition: int | None) -> Name:
    """A key at a partition."""
    if partition is None:
        return key
    return b"%b{%d}" % (key, partition) if isinstance(key, bytes) else f"{key}{{{partition}}}"


_TAG = re.compile(rb"\{[^}]+\}")


def untagged(key: Name) -> Name:
    """A key without its cluster's tag, which is the default of an entity's name."""
    if isinstance(key, bytes):
        return _TAG.sub(b"", key, count=1)
    return _TAG.sub(b"", key.encode(), count=1).decode()
