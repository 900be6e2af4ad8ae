"""`dirty exporter`: what `dirty stats` shows, and more, for Prometheus."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from .._replies import mapping
from .._words import text
from ..errors import NoDeclarationError, is_outage
from . import _metrics as metrics
from ._output import Failure
from ._server import Server
from ._streams import Place, as_given, chosen, stats_of
from ._text import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from .._words import Name
    from ._output import Output

ERRORS = (RedisError, RedisClusterException, OSError, Failure)

SHARE = 20
"""Between two searches passes so many times what the last one took."""


def exporter(options: argparse.Namespace, output: Output) -> int:
    """Runs the command, until a signal."""
    link = Link(options.redis, options.cluster, options.timeout)
    found = Found(options.streams, [as_given(key) for key in options.key])
    registry = CollectorRegistry()
    registry.register(Scrapes(link, found, options, output))
    host, port = options.listen
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Failure(f"cannot listen on {host}:{port}: {reason}") from None
    output.note(f"metrics on http://{host}:{port}/metrics")
    searcher = Link(options.redis, options.cluster, options.timeout)
    told = ""
    try:
        while True:
            begun = time.monotonic()
            try:
                found.search(searcher.server())
                told = ""
            except ERRORS as error:
                if (words := " ".join(str(error).split())) != told:
                    output.note(f"streams cannot be looked up: {words}", "yellow")
                told = words
            taken = time.monotonic() - begun
            time.sleep(1 if not found.searched else max(options.interval, SHARE * taken))
    except KeyboardInterrupt:
        return 0


class Link:
    """The way to the server, which need not be there yet."""

    def __init__(self, url: str, cluster: bool, timeout: float) -> None:
        self._url = url
        self._cluster = cluster
        # A server that does not answer is asked once; a pool sees that a connection was closed meanwhile.
        self._options = {
            "socket_connect_timeout": timeout / 2,
            "socket_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
        }
        self._server: Server | None = None
        if not cluster:
            self.server()  # whether the URL is one

    def server(self) -> Server:
        """A client, which is connected if it is one of a cluster."""
        if self._server is None:
            self._server = Server(self._url, cluster=self._cluster, options=self._options)
        return self._server

    def nodes(self) -> list[tuple[str, Any]]:
        """Each primary, with a client of its own."""
        server = self.server()
        if not self._cluster:
            return [(self.address(), server.redis)]
        nodes = sorted(server.redis.get_primaries(), key=lambda node: str(node.name))
        return [(node.name, server.redis.get_redis_connection(node)) for node in nodes]

    def address(self) -> str:
        """Where the URL leads, without its password."""
        if self._cluster:
            return plain(self._url.rpartition("@")[2].partition("://")[2] or self._url)
        options = self.server().redis.connection_pool.connection_kwargs
        if "path" in options:
            return str(options["path"])
        return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"

    def db(self, place: Place) -> str:
        """The label of a stream's logical database."""
        if self._cluster:
            return "db0"
        options = self.server().redis.connection_pool.connection_kwargs
        return f"db{options.get('db', 0) if place.db is None else place.db}"

    def renew(self) -> None:
        """Asks who is in the cluster now, as a node is away."""
        if self._cluster and self._server is not None:
            self._server.redis.nodes_manager.initialize()


class Found:
    """Which streams and declarations there are. Where any are named, nothing is searched for."""

    def __init__(self, streams: list[str], keys: list[Name]) -> None:
        self._streams = streams
        self._keys = keys
        self.places: list[Place] = []
        self.keys: list[Name] = keys
        self.searched = False

    def search(self, server: Server) -> None:
        """SCAN looks at each key of the server, so this is not done for each scrape."""
        places = dict.fromkeys(self._of_keys(server))
        if self._streams or not self._keys:
            places.update(dict.fromkeys(chosen(server, self._streams)))
        if not self._keys and not self._streams:
            self.keys = list(server.keys_of_type("dirtydecl"))
        self.places = list(places)
        self.searched = True

    def _of_keys(self, server: Server) -> Iterator[Place]:
        for key in self._keys:
            try:
                declared = server.info(key)["streams"]
            except NoDeclarationError:
                continue
            for stream in declared:
                told = mapping(stream)
                yield Place(text(told["stream"]), told["db"])


class Scrapes(Collector):
    """Asks the server whenever Prometheus asks."""

    def __init__(
        self, link: Link, found: Found, options: argparse.Namespace, output: Output
    ) -> None:
        self._link = link
        self._found = found
        self._consumers: int = options.consumers
        self._timeout: float = options.timeout
        self._output = output
        self._lock = threading.Lock()
        self._away: dict[str, str] = {}
        self._left_out: set[str] = set()

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering asks no server."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One scrape at a time: two need not hold the server at once."""
        with self._lock:
            begun = time.monotonic()
            samples = metrics.Samples()
            if self._ask_nodes(samples):
                self._ask_streams(samples, begun + self._timeout)
            samples.add(metrics.ERRORS, (), samples.errors)
            samples.add(metrics.DURATION, (), time.monotonic() - begun)
        return iter(samples)

    def _ask_nodes(self, samples: metrics.Samples) -> bool:
        """Whether any is there."""
        try:
            nodes = self._link.nodes()
        except ERRORS as error:
            self._tell(samples, self._link.address(), str(error))
            return False
        up = 0
        for name, client in nodes:
            try:
                told = client.info("dirty")
                why = "" if told else "the server has not loaded the module of Dirty Streams"
            except ERRORS as error:
                told, why = {}, str(error) or type(error).__name__
            samples.add_info(name, told)
            self._tell(samples, name, why)
            up += not why
        if up < len(nodes):
            self._renew()
        return up > 0

    def _tell(self, samples: metrics.Samples, node: str, why: str) -> None:
        samples.add(metrics.UP, (node,), float(not why))
        why = " ".join(why.split())
        if self._away.get(node, "") != why:
            note = f"{node} is away: {why}" if why else f"{node} is back"
            self._output.note(note, "yellow" if why else "dim")
        self._away[node] = why

    def _renew(self) -> None:
        try:
            self._link.renew()
        except ERRORS:
            return  # dirty_up tells it

    def _ask_streams(self, samples: metrics.Samples, until: float) -> None:
        server = self._link.server()
        for place in self._found.places:
            if self._is_late(samples, until):
                continue
            try:
                stats = stats_of(server, place)
            except ERRORS as error:
                self._count(samples, error)
                continue
            samples.add_stream(self._link.db(place), stats, self._consumers)
        for key in self._found.keys:
            if self._is_late(samples, until):
                continue
            try:
                waiting = server.call("DIRTY.DEFERRED", key, "MINAGE", 0, "COUNT", 1)
            except NoDeclarationError:
                continue
            except ERRORS as error:
                self._count(samples, error)
                continue
            age = waiting[0][1] / 1000 if waiting else 0
            samples.add(metrics.DEFERRED, (metrics.label(key),), age)

    def _is_late(self, samples: metrics.Samples, until: float) -> bool:
        """A node that is silent must not make Prometheus give up on the others."""
        late = time.monotonic() > until
        samples.errors += late
        return late

    def _count(self, samples: metrics.Samples, error: Exception) -> None:
        samples.errors += 1
        words = " ".join(str(error).split())
        if not is_outage(error) and words not in self._left_out:
            self._left_out.add(words)
            self._output.note(f"left out: {words}", "yellow")
