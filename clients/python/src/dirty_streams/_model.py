"""Classes of the application, dataclasses and Pydantic models, as entities."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import types as python_types
import typing
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ._values import Value
    from ._words import Fields, Id, Name

from ._values import decoded_fields

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Type:
    """The declared type of a field, where its annotation does not say enough.

    Example:
        ```python
        balance: Annotated[Decimal, Type("decimal:2")]
        created: Annotated[datetime, Type("time")]
        ```
    """

    name: str


@dataclasses.dataclass(frozen=True)
class _Field:
    name: str
    annotation: Any
    metadata: tuple[Any, ...]
    optional: bool
    """Whether the class can be made without it."""
    alias: str
    """The name under which the class takes it."""

    @property
    def nullable(self) -> bool:
        """Whether it may be None."""
        annotation = self.annotation
        while typing.get_origin(annotation) is Annotated:
            annotation = typing.get_args(annotation)[0]
        return annotation is Any or type(None) in typing.get_args(annotation)


class Model(Generic[T]):
    """How instances of a class become entities, and entities instances."""

    def __init__(self, cls: type[T], id: str | tuple[str, ...]) -> None:  # noqa: A002
        self.cls = cls
        self.id = id
        self._ids = (id,) if isinstance(id, str) else tuple(id)
        self._fields = {field.name: field for field in _fields_of(cls)}
        for name in self._ids:
            if name not in self._fields:
                raise TypeError(f"{cls.__name__} has no field {name!r} for the id")
        self._types: dict[str, str] = {}
        self._restore: dict[str, Callable[[Any], Any]] = {}
        if not _is_pydantic(cls):
            self._types = {
                name: found
                for name, field in self._fields.items()
                if (found := _type_of(field)) is not None
            }
            self._restore = {
                name: restore
                for name, field in self._fields.items()
                if (restore := _restorer(field.annotation)) is not None
            }

    def types(self, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The declared types of the fields that are stored, all but the id, and that are not known already."""
        for field in self._fields.values():
            if field.name != self.id and field.name not in known:
                found = _type_of(field)
                if found is None:
                    raise TypeError(
                        f"{self.cls.__name__}.{field.name} is a {field.annotation!r}: give its type in types="
                    )
                yield field.name, found

    def dump(self, instance: T) -> tuple[Id, dict[Name, Value]]:
        """An instance's id and fields."""
        fields: dict[Name, Value] = {name: getattr(instance, name) for name in self._fields}
        if isinstance(self.id, str):
            return fields.pop(self.id), fields
        return "-".join(str(fields[name]) for name in self._ids), fields

    def load(self, entity_id: Id, fields: Fields) -> T:
        """The instance of an entity. A null field is None, or has its default if None is no value of its type."""
        values = {
            key: value for key, value in fields.items() if key in self._fields and value is not None
        }
        if isinstance(self.id, str):
            values[self.id] = entity_id
        for name, field in self._fields.items():
            if name not in values and (field.nullable or not field.optional):
                values[name] = None
        if _is_pydantic(self.cls):
            named = {self._fields[name].alias: value for name, value in values.items()}
            return self.cls.model_validate(named)  # type: ignore[attr-defined,no-any-return]
        values = decoded_fields(values, self._types)
        for name, restore in self._restore.items():
            if values.get(name) is not None:
                values[name] = restore(values[name])
        return self.cls(**values)


def _is_pydantic(cls: type) -> bool:
    return hasattr(cls, "model_fields") and hasattr(cls, "model_validate")


def _fields_of(cls: type) -> Iterator[_Field]:
    if _is_pydantic(cls):
        for name, info in cls.model_fields.items():  # type: ignore[attr-defined]
            alias = info.validation_alias if isinstance(info.validation_alias, str) else name
            optional = not info.is_required()
            yield _Field(name, info.annotation, tuple(info.metadata), optional, alias)
    elif dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            if field.init:
                made = (
                    field.default is not dataclasses.MISSING
                    or field.default_factory is not dataclasses.MISSING
                )
                yield _Field(field.name, hints[field.name], (), made, field.name)
    else:
        raise TypeError(f"{cls!r} is neither a dataclass nor a Pydantic model")


_SCALARS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (decimal.Decimal, "decimal"),
    (dt.datetime, "datetime"),
    (dt.date, "date"),
    (str, "string"),
    (bytes, "string"),
    (uuid.UUID, "string"),
    (dict, "json"),
    (list, "json"),
    (tuple, "json"),
    (set, "json"),
    (frozenset, "json"),
)
_PYDANTIC = {"AwareDatetime": "time", "NaiveDatetime": "datetime"}


def _stripped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without Annotated, NewType and None, and what Annotated says besides."""
    metadata: tuple[Any, ...] = ()
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation, *extra = typing.get_args(annotation)
            metadata += tuple(extra)
        elif origin in (Union, python_types.UnionType):
            others = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
            if len(others) != 1:
                return annotation, metadata
            annotation = others[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation, metadata


def _type_of(field: _Field) -> str | None:
    """The declared type of a field, None if its annotation is of no known type."""
    annotation, extra = _stripped(field.annotation)
    metadata = (*field.metadata, *extra)
    for item in metadata:
        if isinstance(item, Type):
            return item.name
    found = _type_of_annotation(annotation)
    if found == "decimal":
        for item in metadata:
            places = getattr(item, "decimal_places", None)
            if places is not None:
                return f"decimal:{places}"
    return found


def _type_of_annotation(annotation: Any) -> str | None:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        kinds = {type(value) for value in typing.get_args(annotation)}
        return _type_of_annotation(kinds.pop()) if len(kinds) == 1 else "json"
    if annotation is Any or origin in (Union, python_types.UnionType):
        return "json"
    if origin is not None:
        annotation = origin
    if not isinstance(annotation, type):
        return None
    if annotation.__module__.startswith("pydantic") and annotation.__name__ in _PYDANTIC:
        return _PYDANTIC[annotation.__name__]
    if issubclass(annotation, enum.Enum):
        kinds = {type(member.value) for member in annotation}
        return _type_of_annotation(kinds.pop()) if len(kinds) == 1 else "json"
    if dataclasses.is_dataclass(annotation) or _is_pydantic(annotation):
        return "json"
    return next((name for known, name in _SCALARS if issubclass(annotation, known)), None)


def _restorer(annotation: Any) -> Callable[[Any], Any] | None:
    """How the value of a dataclass's field is made from the declared type's value."""
    annotation, _ = _stripped(annotation)
    origin = typing.get_origin(annotation)
    target = annotation if origin is None else origin
    if not isinstance(target, type):
        return None
    if issubclass(target, (enum.Enum, uuid.UUID)):
        return lambda value: value if isinstance(value, target) else target(value)
    if issubclass(target, (tuple, set, frozenset)):
        return target
    if target is bytes:
        return lambda value: value.encode() if isinstance(value, str) else value
    return None


def id_type_of(model: Model[Any]) -> Callable[[str], Any] | None:
    """How the text of an id becomes the id of the class."""
    if not isinstance(model.id, str):
        return None
    annotation, _ = _stripped(model._fields[model.id].annotation)
    return annotation if annotation in (int, uuid.UUID) else None
