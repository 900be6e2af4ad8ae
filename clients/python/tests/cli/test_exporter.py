"""`dirty exporter`: what Prometheus gets of live servers."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import Cluster, Server, free_port

from .conftest import Tool
from .test_operate import orders
from .test_watch import flush

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Scraped:
    """What a scrape has found."""

    samples: Samples
    types: dict[str, str]

    def of(self, name: str, **labels: str) -> float | None:
        """The sample with exactly these labels."""
        return self.samples.get((name, frozenset(labels.items())))

    def labels(self, name: str, label: str) -> list[str]:
        return sorted(dict(labels)[label] for found, labels in self.samples if found == name)


@dataclass
class Exporter:
    """A running `dirty exporter`."""

    process: subprocess.Popen[bytes]
    port: int

    def scrape(self) -> Scraped:
        for _ in range(600):
            assert self.process.poll() is None, self.process.communicate()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as reply:
                    families = list(text_string_to_metric_families(reply.read().decode()))
                break
            except OSError:
                time.sleep(0.05)
        samples: Samples = {}
        for family in families:
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in samples, key
                samples[key] = sample.value
        return Scraped(samples, {family.name: family.type for family in families})

    def until(self, name: str, value: float | None, **labels: str) -> Scraped:
        """The first scrape with this sample: streams are searched for beside the scrapes."""
        for _ in range(400):
            scraped = self.scrape()
            if scraped.of(name, **labels) == value:
                return scraped
            time.sleep(0.05)
        raise AssertionError(f"{name}{labels} is {scraped.of(name, **labels)}, not {value}")


def start(tool: Tool, *words: str | bytes) -> Exporter:
    port = free_port()
    return Exporter(tool.start("exporter", "--listen", f"127.0.0.1:{port}", *words), port)


ORDERS = {"db": "db0", "stream": "orders"}


def test_streams_and_readers_have_metrics(tool: Tool, raw: Any, server: Server) -> None:
    orders(raw)
    raw.xgroup_create("orders", "legacy", "0")
    # A native group may have the name of another one.
    raw.xgroup_create("orders", "billing", "0")
    raw.execute_command("DIRTY.FLUSH", "order", "DEFER", "tx-1", "INSERT", 9, 0)
    scraped = start(tool).until("redis_stream_length", 6, **ORDERS)
    node = {"node": f"127.0.0.1:{server.port}"}
    billing = {**ORDERS, "reader": "billing", "kind": "group"}
    search = {**ORDERS, "reader": "search", "kind": "cursor"}
    group = {**ORDERS, "group": "billing"}
    expected: list[tuple[str, float | None, dict[str, str]]] = [
        ("dirty_up", 1, node),
        ("dirty_ops_total", 4, {**node, "effect": "insert"}),
        ("dirty_readers_cursors", 1, node),
        ("dirty_stream_dead_events", 2, ORDERS),
        ("redis_stream_groups", 3, ORDERS),
        ("dirty_reader_lag", 0, billing),
        ("dirty_reader_pending", 4, billing),
        ("dirty_reader_parked_keys", 2, billing),
        ("dirty_reader_stalled", 0, billing),
        ("dirty_reader_delivered_total", 4, billing),
        ("dirty_reader_failed_total", 3, billing),
        ("dirty_reader_died_total", 2, billing),
        ("dirty_reader_claim_seconds", 60, billing),
        ("dirty_reader_consumers", 2, billing),
        ("dirty_reader_lag", 6, search),
        ("dirty_reader_delivered_total", None, search),
        ("dirty_reader_lag", 6, {**ORDERS, "reader": "legacy", "kind": "native"}),
        ("dirty_reader_lag", 6, {**ORDERS, "reader": "billing", "kind": "native"}),
        ("redis_stream_group_lag", 0, group),
        ("redis_stream_group_messages_pending", 4, group),
        ("redis_stream_group_consumers", 2, group),
        ("redis_stream_group_consumer_messages_pending", 1, {**group, "consumer": "b1"}),
        ("redis_stream_group_lag", 6, {**ORDERS, "group": "legacy"}),
        ("dirty_scrape_errors", 0, {}),
    ]
    for name, value, labels in expected:
        if name.startswith("dirty_ops") or name == "dirty_readers_cursors":
            assert scraped.of(name, **labels) is not None, name
        else:
            assert scraped.of(name, **labels) == value, (name, labels)
    assert scraped.labels("redis_stream_group_lag", "group") == ["billing", "legacy"]
    oldest = scraped.of("dirty_reader_oldest_unread_seconds", **search)
    assert oldest is not None
    assert 0 < oldest < 60
    deferred = scraped.of("dirty_deferred_oldest_seconds", key="order")
    assert deferred is not None
    assert 0 < deferred < 60
    assert scraped.types["dirty_flushes"] == "counter"
    assert scraped.types["dirty_readers_died"] == "gauge"
    assert scraped.types["dirty_reader_died"] == "counter"


def test_only_so_many_consumers_of_a_group_are_told(tool: Tool, raw: Any) -> None:
    orders(raw)
    for number in range(5):
        raw.execute_command("DIRTY.CONSUME", "orders", "GROUP", "billing", f"idle{number}")
    exporter = start(tool, "--consumers", "2", "orders")
    scraped = exporter.until("redis_stream_length", 6, **ORDERS)
    told = scraped.labels("redis_stream_group_consumer_idle_seconds", "consumer")
    assert "b1" in told
    assert len(told) == 2
    name = "redis_stream_group_consumers"
    assert scraped.of(name, **ORDERS, group="billing") == 7


def test_names_that_are_not_utf_8_are_spelled_out(tool: Tool, raw: Any) -> None:
    for number, stream in enumerate((b"a\xff\\b", 'quote"\\\n', "żółw")):
        raw.execute_command("DIRTY.DECLARE", f"type{number}", "STREAM", stream)
        flush(raw, f"type{number} INSERT 1 0")
    exporter = start(tool)
    exporter.until("redis_stream_length", 1, db="db0", stream="żółw")
    streams = exporter.scrape().labels("redis_stream_length", "stream")
    assert streams == sorted(["a\\xff\\\\b", 'quote"\\\n', "żółw"])


def test_named_streams_and_keys_are_not_searched_for(tool: Tool, raw: Any) -> None:
    orders(raw)
    raw.execute_command("DIRTY.DECLARE", "audit", "STREAM", "log", "DB", 3, "STREAM", "more")
    flush(raw, "audit INSERT 1 0")
    raw.config_resetstat()
    scraped = start(tool, "orders", "--key", "audit").until("redis_stream_length", 6, **ORDERS)
    assert sorted(
        (dict(labels)["db"], dict(labels)["stream"])
        for name, labels in scraped.samples
        if name == "redis_stream_length"
    ) == [("db0", "more"), ("db0", "orders"), ("db3", "log")]
    assert scraped.labels("dirty_deferred_oldest_seconds", "key") == ["audit"]
    assert "cmdstat_scan" not in raw.info("commandstats")


def test_a_stream_that_is_declared_later_is_found(tool: Tool, raw: Any) -> None:
    exporter = start(tool, "--interval", "0.1")
    assert exporter.scrape().labels("redis_stream_length", "stream") == []
    orders(raw)
    exporter.until("redis_stream_length", 6, **ORDERS)


def test_the_exporter_outlives_the_server(tool: Tool, own_server: Server) -> None:
    tool.url = own_server.url
    client: Any = own_server.client()
    orders(client)
    client.close()
    own_server.kill()
    node = {"node": f"127.0.0.1:{own_server.port}"}
    exporter = start(tool)
    scraped = exporter.scrape()
    assert scraped.of("dirty_up", **node) == 0
    assert scraped.labels("dirty_reader_lag", "reader") == []
    own_server.start()
    exporter.until("redis_stream_length", 6, **ORDERS)
    own_server.kill()
    assert exporter.scrape().of("dirty_up", **node) == 0
    own_server.start()
    scraped = exporter.scrape()
    assert (scraped.of("dirty_up", **node), scraped.of("dirty_scrape_errors")) == (1, 0)
    own_server.kill()
    own_server.start()
    scraped = exporter.scrape()
    assert (scraped.of("dirty_up", **node), scraped.of("dirty_scrape_errors")) == (1, 0)
    exporter.process.send_signal(signal.SIGINT)
    ended = tool.end(exporter.process)
    assert ended.code == 0
    lines = [line.partition(" is ")[2].partition(":")[0] for line in ended.err.splitlines()]
    assert [line for line in lines if line] == ["away", "back", "away", "back"], ended.err


def test_a_server_that_hangs_does_not_hold_up_the_scrape(tool: Tool, own_server: Server) -> None:
    tool.url = own_server.url
    exporter = start(tool, "--timeout", "0.3")
    node = {"node": f"127.0.0.1:{own_server.port}"}
    exporter.until("dirty_up", 1, **node)
    assert own_server.process is not None
    own_server.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert exporter.scrape().of("dirty_up", **node) == 0
    assert time.monotonic() - begun < 3
    own_server.process.send_signal(signal.SIGCONT)
    exporter.until("dirty_up", 1, **node)


def test_what_is_refused_is_counted_and_the_rest_is_told(tool: Tool, raw: Any) -> None:
    orders(raw)
    raw.execute_command("DIRTY.DECLARE", "audit", "STREAM", "log")
    raw.set("log", "no stream")
    scraped = start(tool).until("redis_stream_length", 6, **ORDERS)
    assert scraped.of("dirty_scrape_errors") == 1


@pytest.fixture
def no_module(own_server: Server) -> Iterator[Server]:
    """A server without the module."""
    words = ["redis-server", "--port", str(own_server.port), "--bind", "127.0.0.1", "--save", ""]
    own_server.kill()
    process = subprocess.Popen(words, cwd=own_server.folder, stdout=subprocess.DEVNULL)
    yield own_server
    process.kill()
    process.wait()


def test_a_server_without_the_module_is_not_up(tool: Tool, no_module: Server) -> None:
    tool.url = no_module.url
    exporter = start(tool)
    exporter.until("dirty_up", 0, node=f"127.0.0.1:{no_module.port}")
    time.sleep(0.5)
    exporter.process.kill()
    assert "has not loaded the module" in tool.end(exporter.process).err


def test_each_primary_of_a_cluster_is_told(cluster_tool: Tool, cluster: Cluster) -> None:
    client: Any = cluster.client()
    for number in range(4):
        client.execute_command("DIRTY.DECLARE", f"user{{{number}}}", "STREAM", f"log{{{number}}}")
        client.execute_command("DIRTY.FLUSH", f"user{{{number}}}", "INSERT", 1, 0)
    client.close()
    exporter = start(cluster_tool)
    scraped = exporter.until("redis_stream_length", 1, db="db0", stream="log{3}")
    nodes = sorted(f"127.0.0.1:{server.port}" for server in cluster.servers)
    assert scraped.labels("dirty_up", "node") == nodes
    assert len(scraped.labels("redis_stream_length", "stream")) == 4
    assert len(scraped.labels("dirty_deferred_oldest_seconds", "key")) == 4


def test_a_primary_that_is_away_is_told_and_the_others_are_asked(
    cluster_tool: Tool, own_cluster: Cluster
) -> None:
    cluster_tool.url = own_cluster.servers[1].url
    exporter = start(cluster_tool)
    node = {"node": f"127.0.0.1:{own_cluster.servers[0].port}"}
    exporter.until("dirty_up", 1, **node)
    own_cluster.lose_the_first()
    scraped = exporter.scrape()
    assert scraped.of("dirty_up", **node) == 0
    assert scraped.of("dirty_up", node=f"127.0.0.1:{own_cluster.servers[1].port}") == 1
    replica = f"127.0.0.1:{own_cluster.servers[3].port}"
    scraped = exporter.until("dirty_up", 1, node=replica)
    assert scraped.of("dirty_up", **node) is None


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--listen", "9121"), "expected HOST:PORT, not '9121'"),
        (("--listen", "127.0.0.1:70000"), "expected HOST:PORT, not '127.0.0.1:70000'"),
        (("--consumers", "-1"), "expected a number, not '-1'"),
        (("--redis", "rubbish://"), "--redis takes a URL"),
    ],
)
def test_bad_options_are_refused(tool: Tool, words: tuple[str, ...], error: str) -> None:
    ended = tool.run("exporter", *words)
    assert ended.code == 2
    assert error in ended.err


def test_a_port_that_is_taken_is_an_error(tool: Tool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = tool.run("exporter", "--listen", f"127.0.0.1:{port}")
    assert ended.code == 2
    assert ended.err == f"dirty: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("library", "extra", "words"),
    [
        ("prometheus_client", "exporter", "exporter"),
        ("sqlalchemy", "cli", "sync --db sqlite:// --table users"),
    ],
)
def test_a_library_that_is_missing_is_named(library: str, extra: str, words: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None;"
        f" from dirty_streams.cli import main; main({words.split()})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 2
    error = f"dirty: {library} is missing: pip install 'dirty-streams[{extra}]'\n"
    assert done.stderr.decode() == error
