"""The programs of docs/sqlalchemy.md run one after the other and print what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from conftest import Server

from .conftest import Postgres, new_database

PAGE = Path(__file__).resolve().parents[2] / "docs/sqlalchemy.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return new_database(postgres)


def test_the_programs_of_the_page_print_what_it_says(server: Server, database: str) -> None:
    text = PAGE.read_text()
    blocks = [(text[: m.start()].count("\n") + 1, m[1], m[2]) for m in FENCE.finditer(text)]
    assert len(blocks) > 8
    space: dict[str, Any] = {"__name__": "page"}
    for (line, language, code), (_, after, wanted) in zip(
        blocks, [*blocks[1:], (0, "", "")], strict=True
    ):
        if language != "python":
            continue
        here = code.replace("redis.Redis()", f"redis.Redis(port={server.port})")
        here = here.replace("postgresql+psycopg:///shop", database)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + here, str(PAGE), "exec", dont_inherit=True), space)
        assert printed.getvalue() == (wanted if after == "text" else ""), f"line {line}"
    space["client"].redis.close()
    space["engine"].dispose()
