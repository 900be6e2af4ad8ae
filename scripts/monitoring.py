#!/usr/bin/env python3
"""Makes each fault of examples/monitoring/alerts.yaml on a live server, and sees its alert fire and no other one.

monitoring.py FOLDER PROMETHEUS: the folder with `prometheus` and `promtool`. Needs redis-py, prometheus_client and the
client for Python, as scripts/test-monitoring.sh installs them; $DIRTY_MODULE and $REDIS_SERVER as elsewhere.

The rules are those of the file with shorter spans. The faults are made at once, each on a stream of its own, so that the
alerts must name the stream: a stream with another alert than its own fails the test.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import redis

ROOT = Path(__file__).resolve().parents[1]
MONITORING = ROOT / "examples/monitoring"
MODULE = os.environ.get("DIRTY_MODULE", str(ROOT / "target/release/libdirty_streams.so"))
SERVER = os.environ.get("REDIS_SERVER", "redis-server")
PATIENCE = 30
"""Seconds after which an alert will not fire any more; mostly it takes two to seven."""

WINDOW = 4
"""Seconds in which `increase` looks."""


def shortened(rules: str) -> str:
    """The same rules with seconds for minutes."""
    rules, windows = re.subn(r"\[\d+m\]", f"[{WINDOW}s]", rules)
    rules, spans = re.subn(r"for: \d+[mh]\n", "for: 500ms\n", rules)
    rules, limits = re.subn(r"> (300|60)\b", "> 2", rules)
    assert (windows, spans, limits) == (7, 11, 3), f"alerts.yaml has other spans: {windows, spans, limits}"
    return rules


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Programs:
    """The server, the exporter and Prometheus, each of which is killed at the end."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder = folder
        self.tools = tools
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.redis_port, self.exporter_port, self.prometheus_port = free_port(), free_port(), free_port()

    def start(self, name: str, *words: object) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([*map(str, words)], stdout=log, stderr=log, cwd=self.folder)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def start_redis(self) -> redis.Redis:
        options = ["--bind", "127.0.0.1", "--save", "", "--loadmodule", MODULE]
        self.start("redis", shutil.which(SERVER) or SERVER, "--port", self.redis_port, *options)
        client = redis.Redis(port=self.redis_port)
        process = self.running["redis"]
        until(lambda: answers(client) or process.poll() is not None, "Redis does not answer")
        assert process.poll() is None, "Redis does not start"
        return client

    def start_exporter(self) -> None:
        words = ["exporter", "--redis", f"redis://127.0.0.1:{self.redis_port}", "--interval", "0.3"]
        listen = f"127.0.0.1:{self.exporter_port}"
        self.start("exporter", sys.executable, "-m", "dirty_streams.cli", *words, "--listen", listen)

    def start_prometheus(self) -> None:
        (self.folder / "alerts.yaml").write_text(shortened((MONITORING / "alerts.yaml").read_text()))
        config = (MONITORING / "prometheus.yml").read_text()
        config = config.replace("exporter:10121", f"127.0.0.1:{self.exporter_port}").replace("15s", "300ms")
        (self.folder / "prometheus.yml").write_text(config)
        data = self.folder / "data"
        options = ["--config.file=prometheus.yml", f"--storage.tsdb.path={data}"]
        listen = f"--web.listen-address=127.0.0.1:{self.prometheus_port}"
        self.start("prometheus", self.tools / "prometheus", *options, listen)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.exporter_port}/metrics", timeout=10) as reply:
            return str(reply.read().decode())

    def query(self, expression: str, **at: float) -> list[dict[str, object]]:
        words = urllib.parse.urlencode({"query": expression, **at})
        url = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?{words}"
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                found: list[dict[str, object]] = json.load(reply)["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None

    def firing(self, span: float | None = None) -> set[tuple[str, str]]:
        """The alerts that fire, or that have fired in the last seconds, each with what it is about."""
        series = 'ALERTS{alertstate="firing"}'
        found = self.query(series if span is None else f"last_over_time({series}[{span * 1000:.0f}ms])")
        return {(told["alertname"], subject(told)) for told in (one["metric"] for one in found)}


def subject(told: dict[str, str]) -> str:
    """What an alert is about: a stream, a declaration, or a program."""
    return told.get("stream") or told.get("key") or ("server" if "node" in told else "exporter")


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def until(done: Callable[[], bool], failure: Callable[[], str] | str) -> None:
    """Waits, but not for ever."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise AssertionError(failure if isinstance(failure, str) else failure())
        time.sleep(0.1)


class Healthy(threading.Thread):
    """Writers and workers of the stream `healthy`; the group of `stalled` has a worker, too, which HOLDs."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.client = redis.Redis(port=port)
        self.ended = threading.Event()
        self.failure: Exception | None = None
        self.holds: list[bytes] = []

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self.failure = error

    def work(self) -> None:
        send = self.client.execute_command
        number = 0
        while not self.ended.wait(0.1):
            number += 1
            send("DIRTY.FLUSH", "healthy-rows", "SNAPSHOT", number % 10, 1, "n", number)
            ids = ids_of(send("DIRTY.CONSUME", "healthy", "GROUP", "mailer", "m1"))
            if ids and number % 5 == 0:  # a failure that is repeated is none
                send("DIRTY.FAIL", "healthy", "GROUP", "mailer", "m1", "try again", "DELAY", 1, ids[0])
            elif ids:
                send("DIRTY.ACK", "healthy", "GROUP", "mailer", "m1", *ids)
            told = fields(send("DIRTY.CONSUME", "healthy", "CURSOR", "search"))
            send("DIRTY.ACK", "healthy", "CURSOR", "search", told[b"position"])
            if self.holds:
                send("DIRTY.HOLD", "stalled", "GROUP", "g", "w", *self.holds)

    def end(self) -> None:
        self.ended.set()
        self.join()
        assert self.failure is None, self.failure


def fields(reply: object) -> dict[bytes, object]:
    if isinstance(reply, dict):
        return reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def ids_of(reply: object) -> list[bytes]:
    return [fields(event)[b"id"] for event in fields(reply)[b"events"]]


class Faults:
    """The faults. Each is made on a stream of its own, by the name of the method."""

    def __init__(self, client: redis.Redis, healthy: Healthy) -> None:
        self.send = client.execute_command
        self.healthy = healthy

    def stream(self, name: str, *options: object, entity: tuple[object, ...] = ()) -> None:
        self.send("DIRTY.DECLARE", f"{name}-rows", *entity, "STREAM", name, *options)

    def group(self, name: str, *options: object) -> None:
        self.send("DIRTY.READER", name, "GROUP", "g", "FROM", "0", *options)

    def insert(self, name: str, *ids: int) -> None:
        words = [word for number in ids for word in ("INSERT", number, 0)]
        self.send("DIRTY.FLUSH", f"{name}-rows", *words)

    def consume(self, name: str, consumer: str = "w", count: int = 100) -> list[bytes]:
        return ids_of(self.send("DIRTY.CONSUME", name, "GROUP", "g", consumer, "COUNT", count))

    def ack(self, name: str, consumer: str, ids: list[bytes]) -> None:
        self.send("DIRTY.ACK", name, "GROUP", "g", consumer, *ids)

    # First what there is before the fault, then the fault: counters of a reader that is seen first with its fault tell
    # nothing of an increase.

    def prepare(self) -> None:
        self.send("DIRTY.DECLARE", "healthy-rows", "STREAM", "healthy", "PAYLOAD", "FULL", "MAXLEN", "~", 1000)
        self.send("DIRTY.READER", "healthy", "GROUP", "mailer", "FROM", "0", "ORDER", "ENTITY")
        self.send("DIRTY.READER", "healthy", "CURSOR", "search", "FROM", "0")
        for name in ("away", "paused", "died"):
            self.stream(name)
            self.group(name)
        self.stream("native")
        self.send("XGROUP", "CREATE", "native", "old", "0", "MKSTREAM")
        for name, claim in (("due", 100), ("silent", 3_600_000), ("taken", 500)):
            self.stream(name)
            self.group(name, "CLAIM", claim)
        for name in ("missed", "lost"):
            self.stream(name, "MAXLEN", 2)
        self.group("missed")
        self.send("DIRTY.READER", "lost", "CURSOR", "c", "FROM", "0")
        self.stream("parked")
        self.group("parked", "ORDER", "ENTITY", "ONDEAD", "PARK")
        self.stream("stalled")
        self.group("stalled", "ORDER", "ENTITY")
        self.stream("full", "MAXLEN", 1, "ONFULL", "REFUSE")
        self.group("full")
        self.stream("conflict", entity=("VERSION", "v"))
        self.stream("deferred")
        self.stream("broken")

    def away(self) -> None:
        self.insert("away", 1)

    def native(self) -> None:
        self.insert("native", 1)

    def due(self) -> None:
        self.insert("due", 1)
        self.consume("due")

    def silent(self) -> None:
        self.insert("silent", 1)
        self.consume("silent")

    def taken(self) -> None:
        self.insert("taken", *range(12))
        self.consume("taken", "crashed")
        time.sleep(0.6)
        ids = self.consume("taken", "heir")
        assert len(ids) == 12, ids
        self.ack("taken", "heir", ids)

    def died(self) -> None:
        self.insert("died", 1)
        ids = self.consume("died")
        self.send("DIRTY.FAIL", "died", "GROUP", "g", "w", "no such customer", "FATAL", *ids)

    def parked(self) -> None:
        self.insert("parked", 1)
        self.send("DIRTY.FLUSH", "parked-rows", "UPDATE", 1, 1, "n", 2)
        ids = self.consume("parked", count=1)
        self.send("DIRTY.FAIL", "parked", "GROUP", "g", "w", "no such customer", "FATAL", *ids)
        self.consume("parked")

    def missed(self) -> None:
        self.insert("missed", *range(5))
        self.ack("missed", "w", self.consume("missed"))

    def lost(self) -> None:
        self.insert("lost", *range(5))

    def stalled(self) -> None:
        self.send("CONFIG", "SET", "dirty.max-queued", 1)
        self.insert("stalled", 1)
        self.healthy.holds = self.consume("stalled")
        for number in range(3):
            self.send("DIRTY.FLUSH", "stalled-rows", "UPDATE", 1, 1, "n", number)
        self.consume("stalled", "other")

    def paused(self) -> None:
        self.send("DIRTY.PAUSE", "paused", "GROUP", "g", "ON")
        self.insert("paused", 1)

    def full(self) -> None:
        self.insert("full", 1)
        try:
            self.insert("full", 2, 3)
        except redis.ResponseError as error:
            assert str(error).startswith("FULL"), error
        self.ack("full", "w", self.consume("full"))

    def conflict(self) -> None:
        for name in ("Alice", "Bob"):
            self.send("DIRTY.FLUSH", "conflict-rows", "SNAPSHOT", 1, 2, "v", 1, "name", name)

    def deferred(self) -> None:
        self.send("DIRTY.FLUSH", "deferred-rows", "DEFER", "tx-1", "INSERT", 1, 0)

    def evicted(self) -> None:
        self.send("CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru")

    def broken(self) -> None:
        self.send("SET", "broken", "a string")

    def mend(self) -> None:
        self.healthy.holds = []
        self.send("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
        for name in FAULTS:
            self.send("DEL", name, f"{name}:readers", f"{name}:dead", f"{name}-rows@deferred")


FAULTS: dict[str, set[tuple[str, str]]] = {
    "away": {("DirtyReaderBehind", "away")},
    "native": {("DirtyReaderBehind", "native")},
    "due": {("DirtyRetriesWaiting", "due")},
    "silent": {("DirtyConsumerSilent", "silent")},
    "taken": {("DirtyEventsTakenOver", "taken")},
    "died": {("DirtyEventDied", "died")},
    "parked": {("DirtyKeyParked", "parked"), ("DirtyEventDied", "parked")},
    "missed": {("DirtyEventsMissed", "missed")},
    "lost": {("DirtyEventsMissed", "lost"), ("DirtyReaderBehind", "lost")},
    "stalled": {("DirtyReaderStalled", "stalled")},
    "paused": {("DirtyReaderPaused", "paused")},
    "full": {("DirtyFlushesRefused", "server")},
    "conflict": {("DirtyVersionConflict", "server")},
    "deferred": {("DirtyDeferredLeftOver", "deferred-rows")},
    "evicted": {("DirtyEvictionMayLoseData", "server")},
    "broken": {("DirtyScrapeIncomplete", "exporter")},
}
"""The alerts of each fault, with what they are about."""

AWAY = {"redis": ("DirtyServerAway", "server"), "exporter": ("DirtyExporterAway", "exporter")}


def check_alerts(programs: Programs, expected: set[tuple[str, str]], what: str) -> None:
    """Waits until they have all fired at some time since; none but these may have fired by then, nor a while later."""
    begun = time.monotonic()
    fired: set[tuple[str, str]] = set()

    def all_fired() -> bool:
        fired.update(programs.firing(time.monotonic() - begun + 0.1))
        assert fired <= expected, f"{what}: fires without its fault: {sorted(fired - expected)}"
        return fired == expected

    until(all_fired, lambda: f"{what}: does not fire: {sorted(expected - fired)}")
    time.sleep(1)
    all_fired()
    print(f"test-monitoring: {what}: {len(expected)} alerts in {time.monotonic() - begun:.1f} s")


def check_silence(programs: Programs, what: str) -> None:
    """All is silent, after what was mended, and stays so."""
    until(lambda: not programs.firing(), lambda: f"{what}: fires: {sorted(programs.firing())}")
    begun = time.monotonic()
    time.sleep(2)
    fired = programs.firing(time.monotonic() - begun)
    assert not fired, f"{what}: fires: {sorted(fired)}"


def check_dashboard(programs: Programs) -> None:
    """Each query of the dashboard, and of its variables, has data."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = 0
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = re.sub(r"\$(instance|stream|reader)", ".*", target["expr"])
            expression = expression.replace("$__rate_interval", f"{WINDOW}s")
            assert "$" not in expression, expression
            found = programs.query(expression)
            assert found, f"nothing is found for {panel['title']}: {expression}"
            labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert labels <= set(found[0]["metric"]), f"{panel['title']} has no {labels}"
            queries += 1
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            told = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert told, variable
            expression = re.sub(r"\$\w+", ".*", told[1])
            assert all(told[2] in one["metric"] for one in programs.query(expression)) and programs.query(expression)
    print(f"test-monitoring: {queries} queries of the dashboard have data")


def check_metrics(programs: Programs) -> None:
    """promtool has nothing to say, and the page tells each metric and its type."""
    text = programs.metrics()
    done = subprocess.run(
        [programs.tools / "promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    page = (ROOT / "docs/monitoring.md").read_text()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        assert re.search(rf"^\| `{name}` \| {kind} \|", page, re.MULTILINE), f"docs/monitoring.md lacks the {kind} {name}"
    rules = set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yaml").read_text()))
    tested = {alert for expected in FAULTS.values() for alert, _ in expected} | {alert for alert, _ in AWAY.values()}
    assert rules == tested, f"alerts without a fault: {rules ^ tested}"
    untold = {rule for rule in rules if f"| `{rule}` |" not in page}
    assert not untold, f"docs/monitoring.md lacks {untold}"


def play(programs: Programs) -> None:
    """The whole story."""
    client = programs.start_redis()
    healthy = Healthy(programs.redis_port)
    faults = Faults(client, healthy)
    faults.prepare()
    healthy.start()
    programs.start_exporter()
    programs.start_prometheus()
    until(lambda: reachable(programs), "Prometheus finds no reader of the healthy stream")
    time.sleep(WINDOW)  # of each counter there is a sample from before its fault
    check_silence(programs, "a healthy server")

    for name in FAULTS:
        getattr(faults, name)()
    check_alerts(programs, set().union(*FAULTS.values()), "the faults")
    check_dashboard(programs)
    check_metrics(programs)
    faults.mend()
    check_silence(programs, "the faults are mended")
    healthy.end()

    programs.kill("redis")
    check_alerts(programs, {AWAY["redis"]}, "no server")
    programs.start_redis()
    check_silence(programs, "the server is back")
    programs.kill("exporter")
    check_alerts(programs, {AWAY["exporter"]}, "no exporter")


def reachable(programs: Programs) -> bool:
    try:
        return bool(programs.query('dirty_reader_lag{stream="healthy"}'))
    except (OSError, AssertionError):
        return False


def main() -> None:
    folder, tools = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    programs = Programs(folder, tools)
    try:
        play(programs)
    except AssertionError as error:
        sys.exit(f"test-monitoring: {error}; logs are in {folder}")
    finally:
        programs.kill_all()


if __name__ == "__main__":
    main()
