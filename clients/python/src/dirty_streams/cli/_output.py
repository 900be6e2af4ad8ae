"""Where the tool writes: coloured on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ._text import plain


class Failure(Exception):  # noqa: N818 - it is one line for the user, not a bug
    """An error that the user can understand: one line on stderr, exit code 2."""


@dataclass(frozen=True)
class Column:
    title: str
    right: bool = False
    flexible: bool = False  # is wrapped if the terminal is too narrow
    dropped: int = 0  # is left out if the terminal is too narrow, that with the lowest number first


@dataclass(frozen=True)
class Cell:
    text: str
    style: str = ""


Row = Sequence[Cell]


class QuietConsole(Console):
    """Says nothing of a broken pipe, nor that it is an error."""

    def on_broken_pipe(self) -> NoReturn:
        """Whoever read the output has seen enough."""
        leave_quietly()


class Output:
    def __init__(self, color: bool | None = None) -> None:
        self.console = QuietConsole(
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            force_terminal=True if color else None,
            no_color=None if color is None else not color,
        )
        self.errors = Console(
            stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self.is_terminal = self.console.is_terminal and not self.console.is_dumb_terminal
        self.is_colored = self.console.color_system is not None and not self.console.no_color

    def line(self, *parts: Cell | str, gap: str = "") -> None:
        """One line that is never wrapped by us. Without colours it goes around rich, which takes ten times as long."""
        cells = [Cell(part) if isinstance(part, str) else part for part in parts]
        if not self.is_colored:
            sys.stdout.write(gap.join(cell.text for cell in cells) + "\n")
            return
        text = Text(gap).join(Text(cell.text, cell.style) for cell in cells)
        self.console.print(text, crop=False, no_wrap=True, overflow="ignore")

    def flush(self) -> None:
        sys.stdout.flush()

    def is_unread(self) -> bool:
        """Whether stdout is a pipe that nobody reads any longer; writing would tell, too."""
        if not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))

    def note(self, message: str, style: str = "dim") -> None:
        """For people who wait: on stderr, so that it never mixes with what a program reads."""
        self.flush()
        self.errors.print(Text(plain(message), style))

    def error(self, message: str) -> None:
        self.flush()
        self.errors.print(Text.assemble(("dirty: ", "bold red"), plain(message)))

    def table(self, columns: Sequence[Column], rows: Sequence[Row]) -> RenderableType:
        """Fits into the terminal. Elsewhere nothing is cut and each row is one line."""
        if not self.is_terminal:
            return Text(aligned(columns, rows))
        return fitted(*narrowed(columns, rows, self.console.width))

    def show(self, *renderables: RenderableType) -> None:
        for renderable in renderables:
            if isinstance(renderable, Text) and not self.is_colored:
                self.line(renderable.plain)
            else:
                self.console.print(renderable, soft_wrap=isinstance(renderable, Text))

    def group(self, *renderables: RenderableType) -> RenderableType:
        return Group(*renderables)


GAP = 2
LEAST = 10
"""What a column that is wrapped needs."""


def narrowed(
    columns: Sequence[Column], rows: Sequence[Row], width: int
) -> tuple[list[Column], list[Row]]:
    """The columns that have room."""
    kept = list(range(len(columns)))
    needed = [
        LEAST
        if column.flexible
        else max(cell_len(text) for text in (column.title, *(row[index].text for row in rows)))
        for index, column in enumerate(columns)
    ]
    while sum(needed[index] + GAP for index in kept) > width:
        spare = [index for index in kept if columns[index].dropped]
        if not spare:
            break
        kept.remove(min(spare, key=lambda index: columns[index].dropped))
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]


def fitted(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.flexible,
            overflow="fold" if column.flexible else "ellipsis",
            min_width=LEAST if column.flexible else None,
        )
    for row in rows:
        table.add_row(*(Text(cell.text, cell.style) for cell in row))
    return table


def aligned(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    texts = [[column.title for column in columns], *([cell.text for cell in row] for row in rows)]
    widths = [max(cell_len(row[index]) for row in texts) for index in range(len(columns))]
    lines = []
    for row in texts:
        padded = []
        for column, width, text in zip(columns, widths, row, strict=True):
            blank = " " * (width - cell_len(text))
            padded.append(blank + text if column.right else text + blank)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def leave_quietly() -> NoReturn:
    """For a broken pipe: whoever read the output has seen enough (`dirty watch … | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
