#!/usr/bin/env python3
"""Checks that rustfmt reaches every line of core/src and src. It gives up on a whole item without a word, a long
string in a chain of calls suffices, and `cargo fmt --check` then finds nothing wrong there. So this script takes a
copy of the files, indents every line wrongly, lets rustfmt put that right, and names the lines that stay wrong.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# What begins a string, a character, a comment, and how each of them ends. A lifetime is no character.
TOKEN = re.compile(
    r"""//[^\n]*|/\*|b?r(?P<hashes>\#*)"|b?c?"|b?'(?:\\.[^']*|[^\\'])'""", re.VERBOSE
)
# rustfmt leaves the bodies of these macros alone, and so does this script.
MACRO = re.compile(r"(?:macro_rules! \w+|\w+!) \{$")


def lines_in_tokens(text):
    """The numbers of the lines that begin within a string or a comment, which rustfmt must not touch."""
    inside, position = set(), 0
    while match := TOKEN.search(text, position):
        token, end = match.group(), match.end()
        if token == "/*":
            end = text.index("*/", end) + 2
        elif match["hashes"] is not None:
            end = text.index('"' + match["hashes"], end) + 1 + len(match["hashes"])
        elif token.endswith('"'):
            end = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL).match(text, end).end()
        first, last = (text.count("\n", 0, at) for at in (match.start(), end))
        inside.update(range(first + 1, last + 1))
        position = end
    return inside


def garbled(text):
    """The text with an odd indentation in every line that rustfmt should indent."""
    lines, keep, until = text.splitlines(keepends=True), lines_in_tokens(text), None
    for number, line in enumerate(lines):
        bare = line.rstrip("\n")
        if until is not None:
            if bare == until:
                until = None
        elif bare == "#[cfg(test)]":
            break  # tests may use macros that rustfmt does not know
        elif MACRO.search(bare) and number not in keep:
            until = bare[: len(bare) - len(bare.lstrip())] + "}"
        elif number not in keep and bare:
            lines[number] = "   " + line
    return "".join(lines)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    unreached = []
    with tempfile.TemporaryDirectory() as folder:
        for crate in "core/src", "src":
            copy = pathlib.Path(folder, crate)
            shutil.copytree(root / crate, copy)
            files = sorted(copy.rglob("*.rs"))
            for file in files:
                file.write_text(garbled(file.read_text()))
            subprocess.run(["rustfmt", "--edition", edition(root), copy / "lib.rs"], check=True)
            for file in files:
                original = set((root / file.relative_to(folder)).read_text().splitlines())
                lines = [line.strip() for line in file.read_text().splitlines() if line not in original]
                unreached += [f"{file.relative_to(folder)}: {line}" for line in lines]
    if unreached:
        print("check-format: rustfmt does not reach these lines:", *unreached[:40], sep="\n  ", file=sys.stderr)
        sys.exit(1)


def edition(root):
    return re.search(r'^edition = "(\d+)"', (root / "Cargo.toml").read_text(), re.MULTILINE)[1]


main()
