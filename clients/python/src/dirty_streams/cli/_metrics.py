"""The metrics of `dirty exporter`: which there are, and how a reply becomes samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from ._text import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._words import Name
    from ._streams import Stats


class Family(NamedTuple):
    """A metric: `element` is what the module calls it."""

    element: str
    name: str
    help: str


NODE = ("node",)
STREAM = ("db", "stream")
GROUP = ("db", "stream", "group")
CONSUMER = ("db", "stream", "group", "consumer")
READER = ("db", "stream", "reader", "kind")
KEY = ("key",)

ADDED = "since the module was loaded"
OF_ALL = "Of all readers that there are, what was counted since each was made: "

SERVER_COUNTERS = (
    Family("dirty_flushes", "dirty_flushes_total", f"Flushes that were carried out {ADDED}"),
    Family(
        "dirty_events_published",
        "dirty_events_published_total",
        f"Events appended to streams {ADDED}",
    ),
    Family(
        "dirty_events_delivered",
        "dirty_events_delivered_total",
        f"Entries that DIRTY.CONSUME and DIRTY.READ gave {ADDED}, repeated ones included",
    ),
    Family("dirty_errors", "dirty_errors_total", f"Commands of the module that failed {ADDED}"),
    Family(
        "dirty_refused_full",
        "dirty_refused_full_total",
        f"Commands that were refused with FULL {ADDED}",
    ),
    Family(
        "dirty_refused_limit",
        "dirty_refused_limit_total",
        f"Commands that were refused with LIMIT {ADDED}",
    ),
)
SERVER_GAUGES = (
    Family(
        "dirty_consumers_blocked",
        "dirty_consumers_blocked",
        "Clients that wait in DIRTY.CONSUME and DIRTY.READ",
    ),
    Family(
        "dirty_eviction_may_lose_data",
        "dirty_eviction_may_lose_data",
        "1 if maxmemory and its policy let the server evict declarations, snapshots and streams",
    ),
    Family("dirty_readers_groups", "dirty_readers_groups", "Groups of all streams"),
    Family("dirty_readers_cursors", "dirty_readers_cursors", "Cursors of all streams"),
    Family("dirty_readers_paused", "dirty_readers_paused", "Groups that are paused"),
    Family("dirty_readers_stalled", "dirty_readers_stalled", "Groups that are stalled"),
    Family(
        "dirty_readers_pending",
        "dirty_readers_pending",
        "Events that groups have read and not finished",
    ),
    Family("dirty_readers_due", "dirty_readers_due", "Events of groups that are due again"),
    Family(
        "dirty_readers_queued", "dirty_readers_queued", "Pending events of groups that nobody holds"
    ),
    Family("dirty_readers_held_keys", "dirty_readers_held_keys", "Keys with held events"),
    Family("dirty_readers_parked_keys", "dirty_readers_parked_keys", "Keys that are parked"),
    # Gauges, as they fall when a reader is forgotten.
    Family("dirty_readers_delivered", "dirty_readers_delivered", f"{OF_ALL}deliveries"),
    Family(
        "dirty_readers_redelivered", "dirty_readers_redelivered", f"{OF_ALL}repeated deliveries"
    ),
    Family("dirty_readers_acknowledged", "dirty_readers_acknowledged", f"{OF_ALL}acknowledgements"),
    Family("dirty_readers_failed", "dirty_readers_failed", f"{OF_ALL}failures"),
    Family("dirty_readers_died", "dirty_readers_died", f"{OF_ALL}dead events"),
    Family(
        "dirty_readers_rejected", "dirty_readers_rejected", f"{OF_ALL}events that WHERE rejected"
    ),
    Family("dirty_readers_missed", "dirty_readers_missed", f"{OF_ALL}missed events"),
)
OPS = Family("dirty_ops_", "dirty_ops_total", f"Operations of flushes by their effect {ADDED}")

STREAM_GAUGES = (
    Family("length", "redis_stream_length", "Entries of the stream"),
    Family("bytes", "dirty_stream_bytes", "Memory of the stream's entries"),
    Family("oldest-event-ms", "dirty_stream_oldest_event_seconds", "Age of the first entry"),
    Family("dead", "dirty_stream_dead_events", "Entries of the dead stream, <stream>:dead"),
)
STREAM_TIMES = (
    Family("first-id", "redis_stream_first_entry_id", "Time (ms) in the first entry's id"),
    Family("last-id", "redis_stream_last_generated_id", "Time (ms) in the last id"),
)
STREAM_GROUPS = Family("", "redis_stream_groups", "Groups of the stream, native ones included")

GROUP_GAUGES = (
    Family("lag", "redis_stream_group_lag", "Entries that the group has not read"),
    Family(
        "pending",
        "redis_stream_group_messages_pending",
        "Events that the group has read and not finished",
    ),
)
GROUP_TIMES = (
    Family(
        "position",
        "redis_stream_group_last_delivered_id",
        "Time (ms) in the id of the last event that the group has read",
    ),
)
GROUP_CONSUMERS = Family("", "redis_stream_group_consumers", "Consumers of the group")
CONSUMER_GAUGES = (
    Family(
        "pending", "redis_stream_group_consumer_messages_pending", "Events that the consumer holds"
    ),
    Family(
        "idle-ms",
        "redis_stream_group_consumer_idle_seconds",
        "Time since the consumer's last call; 0 while it waits",
    ),
)

READER_GAUGES = (
    Family("lag", "dirty_reader_lag", "Entries that the reader has not read"),
    Family(
        "oldest-unread-ms",
        "dirty_reader_oldest_unread_seconds",
        "Age of the first entry that the reader has not read; 0 if it has read all",
    ),
    Family(
        "missed", "dirty_reader_missed", "Events that it can no longer get and was not told of yet"
    ),
    Family("min-age-ms", "dirty_reader_min_age_seconds", "MINAGE"),
    Family("scanned", "dirty_reader_scanned", "Entities examined in the snapshot phase"),
    Family("bytes", "dirty_reader_bytes", "Approximate memory of the reader"),
    Family("claim-ms", "dirty_reader_claim_seconds", "CLAIM"),
    Family("max-pending", "dirty_reader_max_pending", "MAXPENDING"),
    Family("pending", "dirty_reader_pending", "Events that it has read and not finished"),
    Family("held", "dirty_reader_held", "Pending events that a consumer holds"),
    Family("queued", "dirty_reader_queued", "Pending events that nobody holds"),
    Family("due", "dirty_reader_due", "Pending events that would be delivered now"),
    Family("held-keys", "dirty_reader_held_keys", "Keys with held events"),
    Family("parked-keys", "dirty_reader_parked_keys", "Keys that wait for REDRIVE or DISCARD"),
    Family("stalled", "dirty_reader_stalled", "1 if too many events wait for their keys"),
    Family("paused", "dirty_reader_paused", "1 if it is paused"),
)
READER_COUNTERS = (
    Family("delivered", "dirty_reader_delivered_total", "Deliveries, repeated ones included"),
    Family("redelivered", "dirty_reader_redelivered_total", "Repeated deliveries"),
    Family("acknowledged", "dirty_reader_acknowledged_total", "Acknowledged events"),
    Family("failed", "dirty_reader_failed_total", "Events that failed"),
    Family("died", "dirty_reader_died_total", "Events that went to the dead stream"),
    Family("rejected", "dirty_reader_rejected_total", "Events that WHERE rejected"),
    Family("missed-total", "dirty_reader_missed_total", "Missed events that it was told of"),
)
READER_CONSUMERS = Family("", "dirty_reader_consumers", "Consumers")
READER_WAITING = Family("", "dirty_reader_consumers_waiting", "Consumers that wait in BLOCK")
READER_SILENT = Family(
    "",
    "dirty_reader_silent_seconds",
    "Longest time since the last call of a consumer that holds events and does not wait",
)

DEFERRED = Family(
    "",
    "dirty_deferred_oldest_seconds",
    "Age of the oldest flush that waits for its COMMIT; 0 if there is none",
)
UP = Family("", "dirty_up", "1 if the node answers and has the module")
ERRORS = Family("", "dirty_scrape_errors", "Commands of this scrape that failed or were left out")
DURATION = Family("", "dirty_scrape_duration_seconds", "Time that this scrape took")

LABELS: dict[str, tuple[str, ...]] = {
    family.name: labels
    for families, labels in (
        (SERVER_COUNTERS, NODE),
        (SERVER_GAUGES, NODE),
        ((OPS,), ("node", "effect")),
        ((*STREAM_GAUGES, *STREAM_TIMES, STREAM_GROUPS), STREAM),
        ((*GROUP_GAUGES, *GROUP_TIMES, GROUP_CONSUMERS), GROUP),
        (CONSUMER_GAUGES, CONSUMER),
        (READER_GAUGES, READER),
        (READER_COUNTERS, READER),
        ((READER_CONSUMERS, READER_WAITING, READER_SILENT), READER),
        ((DEFERRED,), KEY),
        ((UP,), NODE),
        ((ERRORS, DURATION), ()),
    )
    for family in families
}
"""The labels of each metric."""

TOLD = {family.element for family in (*SERVER_COUNTERS, *SERVER_GAUGES)}


def label(name: Name) -> str:
    r"""A label's value, which is UTF-8: bytes that are not become `\xff`, a backslash beside them two."""
    text = decoded(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        escaped = text.replace("\\", "\\\\").encode("utf-8", "surrogateescape")
        return escaped.decode("utf-8", "backslashreplace")
    return text


def milliseconds(event_id: str | None) -> int | None:
    """The time in an id or a position."""
    word = (event_id or "").partition("-")[0]
    return int(word) if word.isascii() and word.isdigit() else None


class Samples:
    """What a scrape has found."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self.errors = 0

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())

    def add(self, family: Family, labels: tuple[str, ...], value: float | None) -> None:
        """A sample, unless nobody knows its value."""
        if value is None:
            return
        found = self._families.get(family.name)
        if found is None:
            made = CounterMetricFamily if family.name.endswith("_total") else GaugeMetricFamily
            found = made(family.name, family.help, labels=LABELS[family.name])
            self._families[family.name] = found
        found.add_metric(labels, value)  # type: ignore[attr-defined]

    def add_all(
        self, families: tuple[Family, ...], labels: tuple[str, ...], told: Mapping[str, Any]
    ) -> None:
        """A sample for each element that is told."""
        for family in families:
            value = told.get(family.element)
            if value is not None:
                self.add(family, labels, value / 1000 if family.element.endswith("-ms") else value)

    def add_info(self, node: str, told: Mapping[str, Any]) -> None:
        """INFO's section `dirty`. Fields that a later module tells besides come without a type."""
        labels = (node,)
        self.add_all(SERVER_COUNTERS, labels, told)
        self.add_all(SERVER_GAUGES, labels, told)
        for name, value in told.items():
            if name.startswith(OPS.element):
                self.add(OPS, (node, name[len(OPS.element) :]), value)
            elif name not in TOLD and name.startswith("dirty_") and isinstance(value, (int, float)):
                unknown = UnknownMetricFamily(name, f"{name} of INFO", labels=NODE)
                found = self._families.setdefault(name, unknown)
                found.add_metric(labels, value)  # type: ignore[attr-defined]

    def add_stream(self, db: str, stats: Stats, consumers: int) -> None:
        """DIRTY.STATS of a stream, with at most so many consumers of each group."""
        labels = (db, label(stats.place.name))
        self.add_all(STREAM_GAUGES, labels, stats.told)
        for family in STREAM_TIMES:
            self.add(family, labels, milliseconds(stats.told[family.element]))
        groups = sum(reader["kind"] != "cursor" for reader in stats.readers)
        self.add(STREAM_GROUPS, labels, groups)
        named: set[Name] = set()
        for reader in stats.readers:
            self._add_reader(labels, reader)
            # Of two groups with one name, the module's comes before the native one.
            if reader["kind"] != "cursor" and reader["name"] not in named:
                named.add(reader["name"])
                self._add_group((*labels, label(reader["name"])), reader, consumers)

    def _add_reader(self, stream: tuple[str, ...], reader: Mapping[str, Any]) -> None:
        labels = (*stream, label(reader["name"]), str(reader["kind"]))
        self.add_all(READER_GAUGES, labels, reader)
        self.add_all(READER_COUNTERS, labels, reader)
        if reader["kind"] == "cursor":
            return
        told = reader["consumers"]
        self.add(READER_CONSUMERS, labels, len(told))
        if reader["kind"] == "native":
            return
        # A replica does not know them.
        if all(one["waiting"] is not None for one in told):
            self.add(READER_WAITING, labels, sum(one["waiting"] for one in told))
            silent = (one["idle-ms"] for one in told if one["pending"] and not one["waiting"])
            self.add(READER_SILENT, labels, max(silent, default=0) / 1000)

    def _add_group(self, labels: tuple[str, ...], group: Mapping[str, Any], consumers: int) -> None:
        self.add_all(GROUP_GAUGES, labels, group)
        for family in GROUP_TIMES:
            self.add(family, labels, milliseconds(group[family.element]))
        told = group["consumers"]
        self.add(GROUP_CONSUMERS, labels, len(told))
        if len(told) > consumers:
            told = sorted(told, key=lambda one: (-one["pending"], one["idle-ms"] or 0))[:consumers]
        for one in told:
            self.add_all(CONSUMER_GAUGES, (*labels, label(one["name"])), one)
