"""How far it is, on a terminal alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._output import Output

Advance = "Callable[[int], None]"


class Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate of the last seconds."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


class Steps:
    """The steps of a command, each with a bar of its own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, title: str, total: int | None) -> Callable[[int], None]:
        """Begins a step; the function that it returns says how many were done."""
        task = self._progress.add_task(title, total=total)

        def advance(count: int) -> None:
            self._progress.advance(task, count)

        return advance


@contextmanager
def steps(output: Output, *, quiet: bool = False) -> Iterator[Steps]:
    """Shows bars on stderr, which go when the command is through."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        console=output.errors,
        transient=True,
        disable=quiet or not output.errors.is_terminal,
    )
    with progress:
        yield Steps(progress)
