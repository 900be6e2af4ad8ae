"""Declarations: entity types and the streams that get their changes."""

from __future__ import annotations

import functools
import re
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ._model import Model, id_type_of
from ._operations import Snapshot
from ._partitions import partition_of
from ._words import id_bytes, listed, milliseconds, number, text
from ._words import name as _bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ._values import Value
    from ._words import Id, Name, Span, Word

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

    def __post_init__(self) -> None:
        listed(self.fields, "fields")

    @property
    def keys(self) -> tuple[Name, ...]:
        """The keys of the stream: one, or one for each partition."""
        return tagged(self.name, self.partitions)

    def words(self, partition: int | None = None) -> Iterator[Word]:
        """The words that declare the stream."""
        key = self.name if partition is None else self.keys[partition]
        yield from (b"STREAM", _bytes(key))
        if self.ops is not None:
            yield from (b"OPS", _bytes(self.ops))
        if self.fields:
            yield from (b"FIELDS", number(len(self.fields)), *map(_bytes, self.fields))
        if self.maxlen is not None:
            yield from (b"MAXLEN", b"~" if self.approximate else b"=", number(self.maxlen))
        if self.on_full is not None:
            yield from (b"ONFULL", _bytes(self.on_full))
        if self.max_age is not None:
            yield from (b"MAXAGE", milliseconds(self.max_age))
        if self.payload is not None:
            yield from (b"PAYLOAD", _bytes(self.payload))
        if self.format is not None:
            yield from (b"FORMAT", _bytes(self.format))
        if self.id_field is not None:
            yield from (b"IDFIELD", _bytes(self.id_field))
        if self.safe_numbers:
            yield b"SAFENUMBERS"
        if self.db is not None:
            yield from (b"DB", number(self.db))


@dataclass(frozen=True, eq=False, init=False)
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
    types: Mapping[str, str]
    streams: tuple[Stream, ...]
    version: Name | None
    tombstone: Span | None
    soft_delete: Name | None
    stateless: bool
    name: Name
    prefix: Name | None
    revision: int | None
    tags: Mapping[str, Name]
    pools: Mapping[str, int]
    partitions: int | None
    id_type: Callable[[str], Any] | None
    model: Model[Any] | None

    def __init__(
        self,
        key: Name,
        *,
        types: Mapping[str, str] | None = None,
        streams: Sequence[Stream | Name] = (),
        version: Name | None = None,
        tombstone: Span | None = None,
        soft_delete: Name | None = None,
        stateless: bool = False,
        name: Name | None = None,
        prefix: Name | None = None,
        revision: int | None = None,
        tags: Mapping[str, Name] | None = None,
        pools: Mapping[str, int] | None = None,
        partitions: int | None = None,
        id_type: Callable[[str], Any] | None = None,
        model: Model[Any] | None = None,
    ) -> None:
        if isinstance(streams, (str, bytes, Stream)):
            raise TypeError(f"streams are a list, not {streams!r}")
        for field_name, kind in (types or {}).items():
            if not isinstance(kind, (str, bytes)):
                raise TypeError(
                    f"the type of the field {field_name!r} is a text such as 'int', not {kind!r}"
                )
        if partitions is not None and partitions < 1:
            raise ValueError(f"partitions must be at least 1, not {partitions}")
        if partitions is not None and prefix is not None and b"{}" not in _bytes(prefix):
            raise ValueError(
                f"the prefix {prefix!r} of a type with partitions needs {{}} for their numbers"
            )
        made = {
            "key": key,
            "types": dict(types or {}),
            "streams": tuple(
                replace(s if isinstance(s, Stream) else Stream(s), partitions=partitions)
                for s in streams
            ),
            "version": version,
            "tombstone": tombstone,
            "soft_delete": soft_delete,
            "stateless": stateless,
            "name": untagged(key) if name is None else name,
            "prefix": prefix,
            "revision": revision,
            "tags": dict(tags or {}),
            "pools": dict(pools or {}),
            "partitions": partitions,
            "id_type": id_type,
            "model": model,
        }
        for attribute, value in made.items():
            object.__setattr__(self, attribute, value)

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

    @functools.cached_property
    def all_types(self) -> Mapping[str, str]:
        """The types of fields with that of the version, which is an `int` unless `types` say otherwise."""
        if not isinstance(self.version, str) or self.version in self.types:
            return self.types
        return {self.version: "int", **self.types}

    @property
    def declarable(self) -> bool:
        """Whether there is a stream to declare. Without one the entity only says how events and entities are read."""
        return bool(self.streams or self.tags)

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
            yield from (b"NAME", _bytes(self.name))
        if self.prefix is not None:
            tag = b"" if partition is None else b"{%d}" % partition
            prefix = _bytes(self.prefix)
            yield from (b"PREFIX", prefix if partition is None else prefix.replace(b"{}", tag))
        if self.revision is not None:
            yield from (b"REVISION", number(self.revision))
        if self.stateless:
            yield b"STATELESS"
        if self.version is not None:
            yield from (b"VERSION", _bytes(self.version))
            if self.tombstone is not None:
                yield from (b"TOMBSTONE", milliseconds(self.tombstone))
        if self.soft_delete is not None:
            yield from (b"SOFTDELETE", _bytes(self.soft_delete))
        if self.types:
            yield from (b"TYPES", number(len(self.types)))
            for field_name, kind in self.types.items():
                yield from (_bytes(field_name), _bytes(kind))
        for stream in self.streams:
            yield from stream.words(partition)
        if self.tags:
            yield from (b"TAGS", number(len(self.tags)))
            for tagged_field, tag_text in self.tags.items():
                yield from (_bytes(tagged_field), _bytes(tag_text))
        for code, db in self.pools.items():
            yield from (b"POOL", _bytes(code), number(db))


def entity_type(value: Any) -> Entity:
    """The same value, if it is an entity type."""
    if not isinstance(value, Entity):
        raise TypeError(f"this takes an Entity, not {value!r}")
    return value


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
