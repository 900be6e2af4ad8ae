"""The client of Dirty Streams for asyncio."""

from .client import Client

__all__ = ["Client"]
