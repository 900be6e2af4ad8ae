"""Writes src/dirty_streams/asyncio/client.py from ../client.py; with --check, tells whether it is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src/dirty_streams/client.py"
TARGET = SOURCE.parent / "asyncio/client.py"
NOTE = "# Written from ../client.py by scripts/asyncio_client.py: change that file.\n"

REPLACEMENTS = [
    (r'^"""The client for redis-py\."""', '"""The client for redis-py with asyncio."""'),
    (r"^import redis$", "from redis import asyncio as redis"),
    (r"^(\s*)from \.(?!_transport)(\w)", r"\1from ..\2"),
    (r"^(\s*)from \. import", r"\1from .. import"),
    (r"^    def (?!__init__)", "    async def "),
    (r"(self\._run|self\.execute|self\.execute_all|replies)\((?!self\.)", r"await \1("),
    (r"\bawait replies\(self\.redis", "await replies(self.redis"),
    (r" replies\(self\.redis", " await replies(self.redis"),
    (r"for chunk in _plans\.chunks", "async for chunk in _plans.async_chunks"),
    (r"rows: Iterable\[Row\]", "rows: Iterable[Row] | AsyncIterable[Row]"),
    (r"-> Iterator\[", "-> AsyncIterator["),
    (r"import Iterable, Iterator,", "import AsyncIterable, AsyncIterator, Iterable,"),
    (
        r"A client may be used by several threads, as that of redis-py\.",
        "A client may be used by several tasks, as that of redis-py.",
    ),
    (
        r"A `redis\.Redis`, or a `redis\.RedisCluster`",
        "A `redis.asyncio.Redis`, or a `redis.asyncio.RedisCluster`",
    ),
]


def written(source: str) -> str:
    """The asynchronous client."""
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(
        ruff, input=NOTE + source, capture_output=True, text=True, check=True
    ).stdout


def main() -> int:
    """Writes the file, or checks it."""
    text = written(SOURCE.read_text())
    if "--check" not in sys.argv:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() == text:
        return 0
    print(f"{TARGET} is not what scripts/asyncio_client.py writes", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
