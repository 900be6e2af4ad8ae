"""The programs of README.md run one after the other and print what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

from conftest import Server

README = Path(__file__).resolve().parents[1] / "README.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_programs_of_the_readme_print_what_it_says(server: Server) -> None:
    text = README.read_text()
    blocks = [(text[: m.start()].count("\n") + 1, m[1], m[2]) for m in FENCE.finditer(text)]
    assert len(blocks) > 20
    space: dict[str, Any] = {"__name__": "readme"}
    for (line, language, code), (_, after, wanted) in zip(
        blocks, [*blocks[1:], (0, "", "")], strict=True
    ):
        if language != "python":
            continue
        here = code.replace("redis.Redis()", f"redis.Redis(port={server.port})")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * line + here, str(README), "exec", dont_inherit=True), space)
        if after == "text":
            assert printed.getvalue() == wanted, f"README.md, line {line}"
        else:
            assert printed.getvalue() == "", f"README.md, line {line}"
    space["client"].redis.close()
    space["sql"].close()
