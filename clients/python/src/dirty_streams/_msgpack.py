"""MessagePack, as far as a flush needs it: maps whose names or values JSON cannot carry."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def packed(value: Any, default: Callable[[Any], Any]) -> bytes:
    """The bytes of a value; `default` replaces a value of an unknown type by one that is known."""
    out = bytearray()
    _pack(value, default, out)
    return bytes(out)


def _pack(value: Any, default: Callable[[Any], Any], out: bytearray) -> None:
    if value is None:
        out.append(0xC0)
    elif isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _integer(value, out)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        _sized(value.encode(), (0xA0, 31), (0xD9, 0xDA, 0xDB), out)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _sized(bytes(value), None, (0xC4, 0xC5, 0xC6), out)
    elif isinstance(value, dict):
        _head(len(value), (0x80, 15), (None, 0xDE, 0xDF), out)
        for key, item in value.items():
            _pack(key, default, out)
            _pack(item, default, out)
    elif isinstance(value, (list, tuple)):
        _head(len(value), (0x90, 15), (None, 0xDC, 0xDD), out)
        for item in value:
            _pack(item, default, out)
    else:
        _pack(default(value), default, out)


def _integer(value: int, out: bytearray) -> None:
    if 0 <= value < 0x80:
        out.append(value)
    elif -(2**63) <= value < 2**63:
        out += struct.pack(">Bq", 0xD3, value)
    elif 0 < value < 2**64:
        out += struct.pack(">BQ", 0xCF, value)
    else:
        _pack(str(value), str, out)


def _sized(
    value: bytes, fix: tuple[int, int] | None, codes: tuple[int | None, int, int], out: bytearray
) -> None:
    _head(len(value), fix, codes, out)
    out += value


def _head(
    size: int, fix: tuple[int, int] | None, codes: tuple[int | None, int, int], out: bytearray
) -> None:
    if fix is not None and size <= fix[1]:
        out.append(fix[0] | size)
    elif codes[0] is not None and size < 2**8:
        out += struct.pack(">BB", codes[0], size)
    elif size < 2**16:
        out += struct.pack(">BH", codes[1], size)
    else:
        out += struct.pack(">BI", codes[2], size)
