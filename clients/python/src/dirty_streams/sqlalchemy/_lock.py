"""The lock that one relay has and others wait for."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Lock:
    """Held for as long as its connection is open: an advisory lock of PostgreSQL, or a file beside that of SQLite.

    Other databases have none. There, only types with a version may have several relays.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._connection: Connection | None = None
        self._file: int | None = None

    def held(self, connection: Connection) -> bool:
        """Whether the lock is held, or could be taken now."""
        if self._connection is connection:
            return True
        self.release()
        take = {"postgresql": self._advisory, "sqlite": self._beside}.get(connection.dialect.name)
        if take is not None and not take(connection):
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        """Gives the lock to others, at once. Its connection is not closed."""
        connection, self._connection = self._connection, None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if connection is None or connection.dialect.name != "postgresql":
            return
        if not (connection.closed or connection.invalidated):
            try:
                with connection.begin():
                    connection.execute(select(func.pg_advisory_unlock(self._key)))
            except DBAPIError:
                connection.invalidate()  # in the pool it would keep the lock

    @property
    def _key(self) -> int:
        return zlib.crc32(f"dirty streams {self._table.fullname}".encode())

    def _advisory(self, connection: Connection) -> bool:
        with connection.begin():
            return bool(connection.scalar(select(func.pg_try_advisory_lock(self._key))))

    def _beside(self, connection: Connection) -> bool:
        with connection.begin():
            databases = connection.exec_driver_sql("PRAGMA database_list").all()
        path = next((path for _, name, path in databases if name == "main"), "")
        if not path or fcntl is None:
            return True
        descriptor = os.open(f"{path}-relay", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._file = descriptor
        return True
