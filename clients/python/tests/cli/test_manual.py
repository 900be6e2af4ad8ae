"""The sessions of docs/tool.md are typed, and must print what the page shows."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Server
from dirty_streams.cli import _options

# In the repository, or where its tests of the package are unpacked.
FOLDERS = Path(__file__).resolve().parents
PAGE = next(
    page for folder in (FOLDERS[4], FOLDERS[3]) if (page := folder / "docs" / "tool.md").exists()
)

PROGRAMS = {
    "dirty": 'exec "{python}" -m dirty_streams.cli "$@"',
    "redis-cli": 'exec {redis_cli} -p {port} "$@"',
    "sqlite3": 'exec "{python}" -c "import sqlite3, sys;'
    ' sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])" "$@"',
}

# Times, spans, rates and what depends on the machine.
SOME = (
    (r"\d{13}-(\d+)", r"ID-\1"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"dirty-sync \S+ \S+ \d+", "RUN"),
    (r"in [\d.]+ s \([\d,]+/s\)", "in SECONDS"),
    (r"\b[\d.]+ (ms|s|kB|B)\b|\b1 min\b", "AMOUNT"),
    (r" +", " "),
)


def masked(text: str) -> str:
    for pattern, word in SOME:
        text = re.sub(pattern, word, text)
    return text


def blocks(text: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found[1], found[2]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a session, and what it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> dict[str, str]:
    """An environment in which the commands of the page mean this server and this package."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, program in PROGRAMS.items():
        text = program.format(
            python=sys.executable, port=server.port, redis_cli=shutil.which("redis-cli")
        )
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "app.db").touch()
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "REDIS_URL": server.url}


def test_the_sessions_of_the_page_print_what_it_shows(
    shell: dict[str, str], tmp_path: Path
) -> None:
    typed = 0
    for language, block in blocks(PAGE.read_text()):
        if language == "sh":
            if "redis-cli" in block:
                subprocess.run(["bash", "-ec", block], env=shell, cwd=tmp_path, check=True)
            continue
        for command, printed in commands(block):
            done = subprocess.run(
                ["bash", "-c", command],
                env=shell,
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert masked(done.stdout) == masked(printed), command
            typed += 1
    assert typed >= 15


def test_all_options_are_on_the_page() -> None:
    text = PAGE.read_text()
    for action in walked(_options.parser()):
        for option in action:
            assert f"`{option}" in text or f"{option}`" in text or f" {option}" in text, option


def walked(parser: object) -> Iterator[list[str]]:
    assert isinstance(parser, argparse.ArgumentParser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from walked(child)
        elif action.option_strings and "--help" not in action.option_strings:
            yield [word for word in action.option_strings if not word.startswith("--no-")]
