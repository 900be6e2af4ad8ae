"""The client of Dirty Streams for asyncio."""

from .client import Client
from .follower import Follower, MissedError, read
from .worker import ACKNOWLEDGED, Worker

__all__ = ["ACKNOWLEDGED", "Client", "Follower", "MissedError", "Worker", "read"]
