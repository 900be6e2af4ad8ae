"""Errors of the module's commands, one class for each code.

All are `redis.exceptions.ResponseError`. Redis's own errors (`READONLY`, `NOPERM`, …) stay the classes of redis-py.
"""

from __future__ import annotations

from typing import Any, ClassVar

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

__all__ = [
    "BadValueError",
    "DirtyError",
    "ExistsError",
    "FullError",
    "LimitError",
    "NoDeclarationError",
    "NoEntityError",
    "NoPositionError",
    "NoReaderError",
    "NoRunError",
    "NotHeldError",
    "WrongTypeError",
    "is_outage",
]


class DirtyError(ResponseError):
    """A command was refused, and nothing has changed. Syntax errors (`ERR`) are of this class itself.

    Attributes:
        code: The first word of the server's error, `ERR` if it has none of its own.
        message: The error's text without the code.
    """

    code: str = "ERR"
    by_code: ClassVar[dict[str, type[DirtyError]]] = {}

    def __init__(self, message: str, *, code: str | None = None) -> None:
        if code is not None:
            self.code = code
        self.message = message
        super().__init__(message if self.code == "ERR" else f"{self.code} {message}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            DirtyError.by_code[cls.code] = cls

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.message, self.code)


def _restored(cls: type[DirtyError], message: str, code: str) -> DirtyError:
    return cls(message, code=code)


class NoDeclarationError(DirtyError):
    """No entity type is declared at this key."""

    code = "NODECL"


class ExistsError(DirtyError):
    """INSERT of an entity that has other values, a token of another flush, or another run that has not ended."""

    code = "EXISTS"


class NoEntityError(DirtyError):
    """UPDATE of an entity that does not exist."""

    code = "NOENTITY"


class BadValueError(DirtyError, ValueError):
    """A value does not fit its field's type. The client raises it, too, for values that have no text, such as NaN."""

    code = "BADVALUE"


class WrongTypeError(DirtyError):
    """A key holds another type than it must, or belongs to something else."""

    code = "WRONGTYPE"


class NoRunError(DirtyError):
    """There is no such run of a reconciliation, or it has ended: begin one, and send all rows again."""

    code = "NORUN"


class NoReaderError(DirtyError):
    """The stream has no such group or cursor."""

    code = "NOREADER"


class NoPositionError(DirtyError):
    """The stream never issued this position: load the entities from their source."""

    code = "NOPOSITION"


class NotHeldError(DirtyError):
    """The flush acknowledges an event that its consumer does not hold: drop the work."""

    code = "NOTHELD"


class FullError(DirtyError):
    """A stream with ONFULL REFUSE is full of entries that a reader has not acknowledged."""

    code = "FULL"


class LimitError(DirtyError):
    """More than a setting allows, or a SWEEP that would delete more than MAXDELETE allows."""

    code = "LIMIT"


_OF_THE_SERVER = frozenset({"BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED"})
"""Codes of the server for which redis-py has no class. The text of an `ERR` may begin with a keyword in capitals."""


def typed(error: ResponseError) -> ResponseError:
    """The same error as the class of its code; an error that redis-py has classified itself stays as it is."""
    if type(error) is not ResponseError:
        return error
    text = str(error)
    code, _, message = text.partition(" ")
    if code in DirtyError.by_code:
        return DirtyError.by_code[code](message)
    if code in _OF_THE_SERVER:
        return DirtyError(message, code=code)
    return DirtyError(text)


def is_outage(error: BaseException) -> bool:
    """Whether an error says that the server cannot do its work now, and may do it later."""
    if isinstance(error, (AuthenticationError, AuthorizationError)):
        return False
    return isinstance(error, _OUTAGES) or (
        isinstance(error, DirtyError) and error.code in _OF_THE_SERVER
    )


_OUTAGES = (
    ConnectionError,
    TimeoutError,
    ReadOnlyError,
    ClusterDownError,
    ClusterError,
    RedisClusterException,
    MasterDownError,
    TryAgainError,
    OutOfMemoryError,
    AskError,
)
