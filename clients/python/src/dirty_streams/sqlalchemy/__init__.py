"""Rows of SQLAlchemy's classes as entities: marked in the transactions that change them, and sent by a relay."""

from ._marks import Marks
from ._relay import Relay, Sent
from ._session import UnmarkedError
from ._types import entity_of

__all__ = ["Marks", "Relay", "Sent", "UnmarkedError", "entity_of"]
