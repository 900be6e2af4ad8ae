"""Entities in Redis whose changes are streams of events: the client of Dirty Streams for redis-py.

`dirty_streams.asyncio` has the same names for asyncio.
"""

from ._commands import SNAPSHOT, Command, NativeGroup, Where
from ._entity import Entity, Stream
from ._events import Batch, Change, Dead, Entities, Event, Op
from ._model import Type
from ._operations import (
    Ack,
    Delete,
    Effect,
    Flushed,
    Insert,
    Operation,
    Seed,
    Snapshot,
    StatelessUpdate,
    Touch,
    Update,
    change,
    delete,
    insert,
    seed,
    snapshot,
    touch,
    update,
)
from ._partitions import partition_of
from ._stats import ConsumerStats, Deferred, Pending, ReaderStats, ReconcileStatus, StreamStats
from .client import Client
from .errors import (
    BadValueError,
    DirtyError,
    ExistsError,
    FullError,
    LimitError,
    NoDeclarationError,
    NoEntityError,
    NoPositionError,
    NoReaderError,
    NoRunError,
    NotHeldError,
    WrongTypeError,
    is_outage,
)
from .follower import Follower, MissedError, read
from .worker import ACKNOWLEDGED, Worker

__all__ = [
    "ACKNOWLEDGED",
    "SNAPSHOT",
    "Ack",
    "BadValueError",
    "Batch",
    "Change",
    "Client",
    "Command",
    "ConsumerStats",
    "Dead",
    "Deferred",
    "Delete",
    "DirtyError",
    "Effect",
    "Entities",
    "Entity",
    "Event",
    "ExistsError",
    "Flushed",
    "Follower",
    "FullError",
    "Insert",
    "LimitError",
    "MissedError",
    "NativeGroup",
    "NoDeclarationError",
    "NoEntityError",
    "NoPositionError",
    "NoReaderError",
    "NoRunError",
    "NotHeldError",
    "Op",
    "Operation",
    "Pending",
    "ReaderStats",
    "ReconcileStatus",
    "Seed",
    "Snapshot",
    "StatelessUpdate",
    "Stream",
    "StreamStats",
    "Touch",
    "Type",
    "Update",
    "Where",
    "Worker",
    "WrongTypeError",
    "change",
    "delete",
    "insert",
    "is_outage",
    "partition_of",
    "read",
    "seed",
    "snapshot",
    "touch",
    "update",
]
