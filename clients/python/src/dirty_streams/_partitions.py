"""The partition of an entity, the same in all clients: see `clients/partitions.json`."""

from __future__ import annotations

import binascii


def crc16(value: bytes) -> int:
    """The CRC16 of Redis Cluster: XMODEM, polynomial 0x1021, from 0."""
    return binascii.crc_hqx(value, 0)


def partition_of(entity_id: bytes, partitions: int) -> int:
    """The index of an entity's partition, from the bytes of its id."""
    return crc16(entity_id) % partitions
