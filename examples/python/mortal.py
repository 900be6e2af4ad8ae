import os
import signal

import redis


class Mortal(redis.Redis):
    """For the story only: the process dies just before the command that DIE_BEFORE names, or just after."""

    def execute_command(self, *args, **options):
        if args[0] == os.environ.get("DIE_BEFORE"):
            os.kill(os.getpid(), signal.SIGKILL)
        reply = super().execute_command(*args, **options)
        if args[0] == os.environ.get("DIE_AFTER"):
            os.kill(os.getpid(), signal.SIGKILL)
        return reply
