"""A server with the module, a connection to it, and a run of redis-benchmark against it."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
MODULE = pathlib.Path(os.environ.get("DIRTY_MODULE") or TARGET / "release/libdirty_streams.so")

CPU_TIME = 2  # of the clocks that Linux has for each process
NONE, AOF = "none", "AOF everysec"
PERSISTENCE = {
    NONE: ["--save", "", "--appendonly", "no"],
    # A rewrite forks, after which the server pays for each page that it touches: not in the middle of a run.
    AOF: ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"],
}


@functools.cache
def floor():
    """The module of floor.c; the header that it needs comes with the crate redis-module."""
    metadata = ["cargo", "metadata", "--format-version", "1", "--locked"]
    done = subprocess.run(metadata, cwd=ROOT, capture_output=True, text=True, check=True)
    packages = json.loads(done.stdout)["packages"]
    (manifest,) = (package["manifest_path"] for package in packages if package["name"] == "redis-module")
    header = pathlib.Path(manifest).parent / "src/include"
    return compiled("floor.c", TARGET / "floor.so", "-shared", "-fPIC", "-I", header)


@functools.cache
def client():
    """The program of client.c."""
    return compiled("client.c", TARGET / "bench-client")


def compiled(source, built, *options):
    TARGET.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O3", *options, "-o", built, pathlib.Path(__file__).with_name(source)], check=True)
    return built


def encoded(*words):
    """A command in the Redis protocol."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def as_dict(reply):
    """What RESP2 gives as names and values in turn."""
    return dict(zip(reply[::2], reply[1::2]))


class Connection:
    """Calling it sends a command and gives the reply: bytes, a number, a list or None."""

    KEPT = 512  # bytes of replies that are not parsed

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.replies = self.socket.makefile("rb")
        self.buffer = bytearray(1 << 20)

    def __call__(self, *words):
        self.socket.sendall(encoded(*words))
        return self.reply()

    def reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise RuntimeError(rest.decode(errors="replace") or "the server has closed the connection")

    def pipe(self, commands):
        """Sends commands as fast as the server takes them and drops its replies, unread, as they come.
        Gives the seconds it took. Errors show in `Server.errors`."""
        marker = os.urandom(16).hex().encode()
        begin = time.perf_counter()
        sender = threading.Thread(target=self.socket.sendall, args=(commands + encoded("ECHO", marker),))
        sender.start()
        self.drop_until(marker)
        sender.join()
        return time.perf_counter() - begin

    def drop_until(self, marker):
        """Gives the first bytes that came, and the last."""
        buffer, head, tail = self.buffer, b"", b""
        while not tail.endswith(marker + b"\r\n"):
            length = self.socket.recv_into(buffer)
            if length == 0:
                raise RuntimeError("the server has closed the connection")
            if len(head) < self.KEPT:
                head += buffer[: min(length, self.KEPT)]
            tail = (tail + buffer[max(0, length - self.KEPT) : length])[-self.KEPT :]
        return head, tail

    def ends(self, *commands):
        """Sends a few commands and drops the replies, but for the first bytes and the last: for what reads so much that to
        parse it would take longer than to make it."""
        marker = os.urandom(16).hex().encode()
        self.socket.sendall(b"".join(commands) + encoded("ECHO", marker))
        return self.drop_until(marker)

    def pipelined(self, commands):
        """Seconds from sending encoded commands at once to the last one's reply."""
        begin = time.perf_counter()
        self.socket.sendall(b"".join(commands))
        for _ in commands:
            self.reply()
        return time.perf_counter() - begin

    def timed(self, commands):
        """Seconds from sending each encoded command to its reply, which must come in one piece."""
        seconds = []
        for command in commands:
            begin = time.perf_counter()
            self.socket.sendall(command)
            reply = self.socket.recv(4096)
            seconds.append(time.perf_counter() - begin)
            if not reply.endswith(b"\r\n"):
                raise RuntimeError(f"half a reply: {reply!r}")
        return seconds


@dataclass
class Run:
    """What redis-benchmark found in one run."""

    rate: float  # requests a second
    cpu: float  # the server's CPU time for a request, µs


class Server:
    """A Redis with the module on a free port, in a temporary folder; both go when the block ends."""

    def __init__(self, persistence):
        self.persistence = persistence
        self.seeds = set()

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="dirty-bench-")
        for _ in range(20):
            if self.start():
                return self
        shutil.rmtree(self.folder)
        raise RuntimeError("the server did not start")

    def start(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = os.environ.get("REDIS_SERVER") or "redis-server"
        log = pathlib.Path(self.folder, "log")
        options = ["--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder, "--logfile", log]
        options += ["--loadmodule", MODULE, "--loadmodule", floor()]
        self.process = subprocess.Popen([program, *map(str, options), *PERSISTENCE[self.persistence]])
        while self.process.poll() is None:
            try:
                # Somebody else's server may answer here while ours has not got the port.
                self.call = Connection(self.port)
                if int(self.info("server", "process_id")) == self.process.pid:
                    return True
            except (OSError, RuntimeError):
                pass
            time.sleep(0.05)
        text = log.read_text() if log.exists() else ""
        if "Address already in use" not in text:
            raise RuntimeError(f"the server did not start:\n{text}")
        return False

    def __exit__(self, *_):
        self.process.kill()  # its data are thrown away
        self.process.wait()
        shutil.rmtree(self.folder)

    def info(self, section, field):
        for line in self.call("INFO", section).decode().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return value
        raise KeyError(field)

    def cpu(self):
        """Seconds of CPU that the thread which carries out commands has used."""
        return sum(float(self.info("cpu", f"used_cpu_{kind}_main_thread")) for kind in ("user", "sys"))

    def process_cpu(self):
        """The same, of all threads, without asking the server, whose answer would take its part of it."""
        return time.clock_gettime(~self.process.pid << 3 | CPU_TIME)

    @contextlib.contextmanager
    def on_one_core(self):
        """Client and server share a core: left to themselves they change between that, 15 µs for a round trip, and one
        that has to be woken, 60 µs."""
        cores = os.sched_getaffinity(0)
        for process in (0, self.process.pid):
            os.sched_setaffinity(process, {max(cores)})
        try:
            yield
        finally:
            for process in (0, self.process.pid):
                os.sched_setaffinity(process, cores)

    def errors(self):
        return int(self.info("stats", "total_error_replies"))

    def entries_added(self, stream):
        if not self.call("EXISTS", stream):
            return 0
        return as_dict(self.call("XINFO", "STREAM", stream))[b"entries-added"]

    def wait_for_new_numbers(self):
        """redis-benchmark makes its numbers from the time in seconds xor its process id. On a machine that has nothing
        else to do both count on together, and one run after the other would get the same."""
        while True:
            with subprocess.Popen(["true"]) as last:
                seed = int(time.time()) ^ (last.pid + 1)
            if seed not in self.seeds:
                self.seeds.add(seed)
                return

    def benchmark(self, command, requests, keys):
        """One run of redis-benchmark, which puts numbers below `keys` into the command."""
        options = ["-p", self.port, "-c", 50, "-P", 32, "-n", requests, "-r", keys, "--csv"]
        self.wait_for_new_numbers()
        before = self.cpu()
        done = subprocess.run(["redis-benchmark", *map(str, options), *command], capture_output=True, check=False)
        if done.returncode != 0 or b"rror" in done.stderr:
            raise RuntimeError(f"redis-benchmark: {done.stdout[-500:]!r} {done.stderr[-500:]!r}")
        cpu = self.cpu() - before
        # The name comes first and may hold commas and quotes.
        cells = done.stdout.splitlines()[-1].rsplit(b'","', 7)
        return Run(rate=float(cells[1]), cpu=cpu * 1e6 / requests)
