"""Text that is safe to print: whoever writes to a stream decides what is in there, and must not drive the terminal."""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
BARE = frozenset("-_.@/{}:+")


def decoded(data: str | bytes) -> str:
    """Bytes that are no UTF-8 become lone surrogates, which `escaped` spells out."""
    return data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data


def escaped(data: str | bytes, named: Mapping[str, str] = NAMED) -> str:
    """Spells out what a terminal may take for a command, and bytes that are not UTF-8.

    That is controls, and changes of the writing direction.
    """

    def one(char: str) -> str:
        if char in named:
            return named[char]
        if char.isprintable():
            return char
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        return f"\\x{code:02x}" if code < 0x80 else f"\\u{{{code:x}}}"

    text = decoded(data)
    if text.isascii() and text.isprintable() and "\\" not in text and '"' not in text:
        return text
    return "".join(map(one, text))


UNQUOTED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def plain(data: str | bytes) -> str:
    """For messages, in which quotes are no marks."""
    return escaped(data, UNQUOTED)


def is_bare(text: str) -> bool:
    return text != "" and all(char.isalnum() or char in BARE for char in text)


class Shortener:
    """Texts for a line: long ones are cut unless everything is asked for."""

    LENGTH = 60
    PARTS = 20

    def __init__(self, full: bool = False) -> None:
        self.full = full

    def quoted(self, data: str | bytes) -> str:
        text = decoded(data)
        cut = len(text) - self.LENGTH
        if self.full or cut <= 0:
            return f'"{escaped(text)}"'
        return f'"{escaped(text[: self.LENGTH])}"… (+{cut})'

    def name(self, data: str | bytes) -> str:
        """A name or an id: bare if it is a word, else in quotes."""
        text = decoded(data)
        return (
            text if is_bare(text) and (self.full or len(text) <= self.LENGTH) else self.quoted(text)
        )

    def entity(self, name: str | bytes, entity_id: str | bytes) -> str:
        return f"{self.name(name)}:{self.name(entity_id)}"

    def value(self, value: object) -> str:
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, Decimal):
            return self._cut(format(value, "f"))
        if isinstance(value, datetime):
            return time_text(value)
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, (str, bytes)):
            return self.quoted(value)
        return self._cut(escaped(json.dumps(value, ensure_ascii=False, default=str), {}))

    def _cut(self, text: str) -> str:
        cut = len(text) - self.LENGTH
        return text if self.full or cut <= 0 else f"{text[: self.LENGTH]}… (+{cut})"

    def some(self, parts: Iterable[str]) -> list[str]:
        """Not more of them than one wants to read."""
        listed = list(parts)
        cut = 0 if self.full else len(listed) - self.PARTS
        return listed if cut <= 0 else [*listed[: self.PARTS], f"… (+{cut})"]


def time_text(value: datetime) -> str:
    """A `datetime` as it is, a `time` in UTC, as the canonical texts are."""
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int | None) -> str:
    """Bytes, in the unit that leaves one to three digits before the point."""
    if count is None:
        return "?"
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def span(ms: int | None) -> str:
    """A time span by its two largest units at most: `1 h 5 min`, `3.2 s`, `85 ms`."""
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    for index, (unit, name) in enumerate(UNITS):
        if ms >= unit:
            whole, rest = divmod(ms, unit)
            text = f"{whole} {name}"
            if index + 1 < len(UNITS) and whole < 10:
                smaller, small_name = UNITS[index + 1]
                if rest >= smaller:
                    text += f" {rest // smaller} {small_name}"
            return text
    return f"{ms} ms"


def moment(ms: int) -> str:
    """When it was, here. The id of an entry that somebody else appended need not be a time."""
    try:
        return (
            datetime.fromtimestamp(ms // 1000).strftime("%Y-%m-%d %H:%M:%S") + f".{ms % 1000:03d}"
        )
    except (ValueError, OverflowError, OSError):
        return str(ms)


def moment_of(event_id: str) -> str:
    ms = event_id.partition("-")[0]
    return moment(int(ms)) if ms.isascii() and ms.isdigit() else plain(event_id)


def jsonable(value: Any) -> Any:
    """For `--json`: bytes that are no UTF-8 become an object that says so."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {
            plain(key) if isinstance(key, bytes) else key: jsonable(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def json_line(value: Any) -> str:
    """One line of JSON. ASCII alone, so that nothing in it can drive a terminal either."""
    return json.dumps(jsonable(value), ensure_ascii=True, separators=(",", ":"))
