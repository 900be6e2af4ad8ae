"""The tool `dirty`: looks at streams, and keeps Redis in sync with a table.

`dirty --help` tells its commands; `docs/tool.md` of the project has a page on them.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED, INTERRUPTED, TERMINATED = 2, 130, 143


class Terminated(BaseException):
    """SIGTERM: what was begun is ended in order, as with Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command."""
    try:
        from ._run import run  # noqa: PLC0415 - it may be missing what the extra brings
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("rich", "sqlalchemy"):
            sys.stderr.write(f"dirty: {error.name} is missing: pip install 'dirty-streams[cli]'\n")
            sys.exit(FAILED)
        raise

    def terminated(*_: object) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, terminated)
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    sys.exit(code)
