"""Workers of a group, in tasks."""

from __future__ import annotations

from .._worker import ACKNOWLEDGED, BaseWorker, WorkerLoop
from ._tasks import Crew, Performer, Signals, Stop, Turns, drive
from .client import Client

__all__ = ["ACKNOWLEDGED", "Worker"]


class Worker(BaseWorker[Client]):
    """Handles the events of a group: `dirty_streams.Worker` for asyncio.

    The handler and the callbacks may be coroutine functions. A handler that blocks the event loop
    blocks its heartbeat, too. An event may come twice; handling it twice must be harmless.
    """

    def _prepare(self, concurrency: int) -> None:
        self._turns = Turns(concurrency)
        self._stop = Stop()

    def stop(self) -> None:
        """Ends `run` after the events in hand."""
        self._stop.set()

    async def run(self, *, until_idle: bool = False) -> None:
        """Handles events until SIGTERM, SIGINT or `stop`; then acknowledges, and leaves the group.

        When it is cancelled, the handler in hand is, too; its event goes to other consumers.

        Args:
            until_idle: Ends when there is nothing to handle now.

        Raises:
            NoReaderError: There is no such group.
        """
        loops = self._loops(until_idle=until_idle, stopping=self._stop, release=self._turns.release)
        async with Signals(self._stop, wanted=self._signals):
            crew = Crew(self._stop)
            for loop in loops:
                crew.start(self._run(loop), str(loop.consumer))
            await crew.join()

    async def _run(self, loop: WorkerLoop) -> None:
        perform = Performer(self._client, self._stop, turns=self._turns, handler=self._handler)
        heart = Crew(self._stop)
        heart.start(drive(loop.beat(), perform), f"{loop.consumer} heartbeat")
        try:
            await drive(loop.run(), perform)
        finally:
            perform.ended.set()
            await heart.join()
