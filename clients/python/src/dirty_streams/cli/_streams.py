"""Which streams there are, and how their readers stand."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .._replies import mapping, pairs
from .._words import string, text
from ..errors import NoDeclarationError
from ._output import Failure
from ._text import decoded, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._words import Name
    from ._server import Server

READERS = ":readers"


@dataclass(frozen=True)
class Place:
    """A stream, and its logical database if that is not the connection's."""

    name: Name
    db: int | None = None

    @property
    def order(self) -> tuple[str, int]:
        """For a sorted list."""
        return decoded(self.name), -1 if self.db is None else self.db


def all_streams(server: Server) -> list[Place]:
    """The streams of declarations, and those that have readers."""
    found: set[Place] = set()
    for key in server.keys_of_type("dirtydecl"):
        try:
            declared = server.info(key)["streams"]
        except NoDeclarationError:  # it was deleted meanwhile
            continue
        for stream in declared:
            told = mapping(stream)
            found.add(Place(text(told["stream"]), told["db"]))
    for key in server.keys_of_type("dirtysubs"):
        name = key.removesuffix(READERS) if isinstance(key, str) else key[: -len(READERS)]
        found.add(Place(name))
    return sorted(found, key=lambda place: place.order)


def chosen(server: Server, names: Sequence[str]) -> list[Place]:
    """The named streams; a name with a star stands for all streams that fit; no name for all."""
    if names and not any("*" in name for name in names):
        return [Place(as_given(name)) for name in names]
    known = all_streams(server)
    if not names:
        return known
    places: dict[Place, None] = {}
    for name in names:
        fit = [place for place in known if fnmatchcase(decoded(place.name), literal(name))]
        if "*" in name and not fit:
            raise Failure(f"no stream fits {plain(name)!r}")
        places.update(dict.fromkeys(fit if "*" in name else [Place(as_given(name))]))
    return list(places)


def literal(pattern: str) -> str:
    """The star alone is special: names may have brackets."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def as_given(word: str) -> Name:
    """The bytes of an argument, which need not be UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogateescape")
    return word


@dataclass(frozen=True)
class Stats:
    """What DIRTY.STATS tells of a stream."""

    place: Place
    told: dict[str, Any]
    readers: list[dict[str, Any]]


def stats_of(server: Server, place: Place) -> Stats:
    """Asks for one stream."""
    told = plain_map(server.at(place.db).call("DIRTY.STATS", place.name))
    return Stats(place, told, told.pop("readers"))


NESTED = {"readers", "consumers"}
BOOLEANS = {"stalled", "paused", "waiting"}


def plain_map(reply: Any) -> dict[str, Any]:
    """A map of the module with texts for bytes, the same in RESP2 and RESP3."""
    told: dict[str, Any] = {}
    for key, value in pairs(reply):
        name = string(key)
        if name in NESTED:
            told[name] = [plain_map(item) for item in value]
        elif name in BOOLEANS and value is not None:
            told[name] = bool(value)
        else:
            told[name] = plain_value(value)
    return told


def plain_value(value: Any) -> Any:
    """Text for bytes that are UTF-8."""
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    return value
