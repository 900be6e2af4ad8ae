"""Workers of a group, in tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._worker import ACKNOWLEDGED, BaseWorker, WorkerLoop
from ._tasks import Crew, Performer, Signals, Stop, Turns, drive
from .client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ACKNOWLEDGED", "Worker"]


class Worker(BaseWorker[Client]):
    """Handles the events of a group: `dirty_streams.Worker` for asyncio.

    The handler and the callbacks may be coroutine functions. A handler that blocks the event loop
    blocks its heartbeat, too. An event may come twice; handling it twice must be harmless.
    """

    def _prepare(self, functions: Sequence[Callable[..., Any]]) -> None:  # noqa: ARG002
        self._stop = Stop()

    @property
    def stopped(self) -> bool:
        """Whether a signal or `stop` has said that it is to end."""
        return self._stop()

    def stop(self) -> None:
        """Ends `run` after the events in hand."""
        self._stop.set()

    async def run(self, *, until_idle: bool = False) -> None:
        """Handles events until SIGTERM, SIGINT or `stop`; then acknowledges, and leaves the group.

        When it is cancelled, the handler in hand is, too; its event goes to other consumers.
        It may be called again, but not after a stop: `stopped` tells why it has returned.

        Args:
            until_idle: Ends when there is nothing to handle now.

        Raises:
            NoReaderError: There is no such group.
            RuntimeError: It was stopped already.
        """
        stop, turns = Stop(self._stop), Turns(self._concurrency)
        loops = self._loops(until_idle=until_idle, stopping=stop, release=turns.release)
        try:
            async with Signals(self._stop, wanted=self._signals):
                crew = Crew(stop)
                for loop in loops:
                    crew.start(self._run(loop, stop, turns), str(loop.consumer))
                await crew.join()
        finally:
            self._over = self._stop()

    async def _run(self, loop: WorkerLoop, stop: Stop, turns: Turns) -> None:
        perform = Performer(self._client, stop, turns=turns, handler=self._handler)
        heart = Crew(stop)
        heart.start(drive(loop.beat(), perform), f"{loop.consumer} heartbeat")
        try:
            await drive(loop.run(), perform)
        finally:
            perform.ended.set()
            await heart.join()
