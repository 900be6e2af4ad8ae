"""Rows of SQLAlchemy's classes as entities: marked in the transaction that changes them, and sent by a relay."""

from ._marks import Marks
from ._session import UnmarkedError
from ._types import entity_of

__all__ = ["Marks", "UnmarkedError", "entity_of"]
