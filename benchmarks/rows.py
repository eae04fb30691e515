"""The rows of the table: what is compared with what, and the marks to pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .peers import LANELESS, OURS
from .steps import COUNTS, FILE, GIB, KIB, LINKS_MS, PLAIN, PLAIN_PULL, RAW

__all__ = ("Row", "rows_of")

Medians = Mapping[str, Mapping[str, float]]
"""By measure, then by peer."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: What it says.
        unit: What stands behind the figures.
        value: Reads it from the medians; `KeyError` if something was not measured.
        at_least: The mark to pass.
        aim: The mark to hope for.
        more: Whether more is better.
        detail: Measure whose medians explain it.
    """

    title: str
    unit: str
    value: Callable[[Medians], float]
    at_least: float | None
    aim: float | None
    more: bool = True
    detail: str | None = None

    def passes(self, value: float, mark: float | None) -> bool | None:
        """Whether a value reaches a mark."""
        if mark is None:
            return None
        return value >= mark if self.more else value <= mark


def _ratio(measure: str, *others: str) -> Callable[[Medians], float]:
    """Ours, in terms of the best of others; more is better in what this is used for."""

    def value(medians: Medians) -> float:
        of = medians[measure]
        found = [of[other] for other in others if other in of]
        if not found:
            raise KeyError(others)
        return of[OURS] / max(found)

    return value


def _time(measure: str, other: str) -> Callable[[Medians], float]:
    """How many times faster ours is, from milliseconds."""
    return lambda medians: medians[measure][other] / medians[measure][OURS]


def _ours(measure: str) -> Callable[[Medians], float]:
    return lambda medians: medians[measure][OURS]


def _growth(medians: Medians) -> float:
    return medians["iter_100k_memory"][OURS] - medians["iter_10k_memory"][OURS]


def _row(
    title: str,
    measure: str,
    *others: str,
    at_least: float | None,
    aim: float | None,
    more: bool = True,
) -> Row:
    value = _ratio(measure, *others)
    return Row(title, "x", value, at_least, aim, more=more, detail=measure)


def _lane(title: str, measure: str, *, time: bool = False) -> Row:
    """What the second connection is worth; more is better."""
    value = _time(measure, LANELESS) if time else _ratio(measure, LANELESS)
    return Row(f"{title}, lane on vs off", "x", value, None, None, detail=measure)


def _beside(
    title: str, measure: str, other: str, *, at_least: float | None = None, aim: float | None
) -> Row:
    """How much time it takes, in terms of the same done with single calls, 64 at a time."""

    def value(medians: Medians) -> float:
        return medians[other][OURS] / medians[measure][OURS]

    return Row(title, "x", value, at_least, aim, more=False, detail=measure)


def _times(
    title: str,
    measure: str,
    few: str,
    *,
    at_least: float | None = None,
    aim: float | None = None,
) -> Row:
    """How many times longer it takes with the most objects than with few."""
    many = COUNTS[-1]

    def value(medians: Medians) -> float:
        return medians[measure][many] / medians[measure][few]

    title = f"{title}, {many} objects vs {few}"
    return Row(title, "x", value, at_least, aim, more=False, detail=measure)


ROWS = (
    _row("put 256 MiB from memory, vs nats-py", "put_large", "nats-py", at_least=2.2, aim=2.6),
    _row("put 256 MiB, vs raw pipelined publish", "put_large", RAW, at_least=1.1, aim=1.25),
    _row("put 256 MiB, vs natsrpy (Rust)", "put_large", "natsrpy", at_least=1.5, aim=2),
    _row("get 256 MiB, vs nats-py writeinto", "get_large", "nats-py", at_least=6, aim=7),
    _row(
        "get 256 MiB, vs best of natsio, natsrpy, nats.js",
        "get_large",
        "natsio",
        "natsrpy",
        "nats.js",
        at_least=1.6,
        aim=2,
    ),
    _lane("put 256 MiB", "put_large"),
    _lane("get 256 MiB", "get_large"),
    _row("put 256 MiB over TLS, vs nats-py", "put_tls", "nats-py", at_least=None, aim=None),
    _row("get 256 MiB over TLS, vs nats-py", "get_tls", "nats-py", at_least=None, aim=None),
    _lane("put 256 MiB over TLS", "put_tls"),
    _lane("get 256 MiB over TLS", "get_tls"),
    _row(
        "1 KiB get p50, vs nats-py",
        "get_small",
        "nats-py",
        at_least=0.2,
        aim=0.14,
        more=False,
    ),
    _row(
        "1 KiB get p50 for the first time, vs nats-py",
        "get_first",
        "nats-py",
        at_least=None,
        aim=None,
        more=False,
    ),
    _row(
        "64-way 1 KiB get for the first time, vs nats-py",
        "get_first_many",
        "nats-py",
        at_least=None,
        aim=None,
    ),
    _row(
        "1 KiB put p50, vs nats-py", "put_small", "nats-py", at_least=0.8, aim=0.5, more=False
    ),
    _row("64-way 1 KiB get, vs nats-py", "get_many_1k", "nats-py", at_least=7, aim=9),
    _row("64-way 1 KiB put, vs nats-py", "put_many_1k", "nats-py", at_least=2.5, aim=3),
    _row("64-way 100 KiB get, vs nats-py", "get_many_100k", "nats-py", at_least=1.6, aim=2),
    _row("64-way 100 KiB put, vs nats-py", "put_many_100k", "nats-py", at_least=1.3, aim=1.5),
    _lane("1 KiB get p50", "get_small", time=True),
    _lane("64-way 1 KiB get", "get_many_1k"),
    _lane("64-way 1 KiB put", "put_many_1k"),
    _lane("64-way 100 KiB put", "put_many_100k"),
    _beside("put_dir, vs 64-way put", "bulk_put_dir", "bulk_put", at_least=1.5, aim=1.3),
    _beside("get_dir, vs 64-way get", "bulk_get_dir", "bulk_get", at_least=1.5, aim=1),
    _beside("get_many of names, vs 64-way get", "bulk_get_many_names", "bulk_get", aim=1),
    _beside("get_many of versions, vs 64-way get", "bulk_get_many_infos", "bulk_get", aim=0.5),
    _beside("sync, nothing to send, vs 64-way put", "bulk_sync", "bulk_put", aim=0.5),
    _beside("delete_all, vs 64-way put", "bulk_delete_all", "bulk_put", aim=2),
    _row("put 32 MiB at 10 ms, vs nats-py", "put_far", "nats-py", at_least=12, aim=18),
    Row(
        "1 KiB get at 10 ms, to the nearest round trip",
        "round trips",
        lambda medians: float(round(medians["get_far_trips"][OURS])),
        2,
        2,
        more=False,
        detail="get_far_trips",
    ),
    *(
        _row(
            f"{verb} 32 MiB at {ms} ms, vs nats-py",
            f"{verb}_link_{ms}",
            "nats-py",
            at_least=None,
            aim=None,
        )
        for ms in LINKS_MS
        for verb in ("put", "get")
    ),
    *(
        _row(
            f"{verb} 32 MiB with 3 replicas, vs nats-py",
            f"{verb}_cluster",
            "nats-py",
            at_least=None,
            aim=None,
        )
        for verb in ("put", "get")
    ),
    *(
        _row(
            f"1 KiB {verb} p50 with 3 replicas, vs nats-py",
            f"{verb}_cluster_small",
            "nats-py",
            at_least=None,
            aim=None,
            more=False,
        )
        for verb in ("put", "get")
    ),
    Row("list of 10,000, vs nats-py", "x", _time("list", "nats-py"), 1.8, 2.5, detail="list"),
    _lane("list of 10,000", "list", time=True),
    Row(
        "watch's present state, vs list, 10,000",
        "x",
        lambda medians: medians["scale_watch"][COUNTS[1]] / medians["scale_list"][COUNTS[1]],
        1.3,
        1.1,
        more=False,
        detail="scale_watch",
    ),
    _times("list", "scale_list", COUNTS[1]),
    _times("watch's present state", "scale_watch", COUNTS[1]),
    _times("sweep", "scale_sweep", COUNTS[1]),
    _times("status(count=False)", "scale_status", COUNTS[0], at_least=2, aim=1),
    _times("get_info", "scale_get_info", COUNTS[0]),
    Row(
        "iter over 100,000, memory above idle",
        "MiB",
        _ours("iter_100k_memory"),
        16,
        None,
        more=False,
        detail="iter_100k_memory",
    ),
    # "Flat": what ten times as many take more.
    Row("iter, growth from 10,000 to 100,000", "MiB", _growth, None, 1, more=False),
    Row(
        "put 1 GiB as a stream, memory above idle",
        "MiB",
        _ours("put_stream_memory"),
        64,
        32,
        more=False,
    ),
    Row(
        "get 1 GiB as a stream, memory above idle",
        "MiB",
        _ours("get_stream_memory"),
        64,
        32,
        more=False,
    ),
    Row(
        "get_range of 64 KiB in 1 GiB, transferred",
        "KiB",
        _ours("get_range"),
        GIB / KIB / 100,
        # Two chunks of 128 KiB, their headers, and the answers to the requests before.
        2 * 128 + 16,
        more=False,
    ),
    _row("change events, vs plain pull subscriber", "events", PLAIN_PULL, at_least=0.9, aim=1),
    _row("change events, vs plain push subscriber", "events", PLAIN, at_least=0.9, aim=1),
    _row(
        "change events, 1 worker, vs plain pull subscriber",
        "events_one",
        PLAIN_PULL,
        at_least=0.9,
        aim=1,
    ),
    _row(
        "change events, 1 worker, vs plain push subscriber",
        "events_one",
        PLAIN,
        at_least=1,
        aim=1.5,
    ),
    _row(
        "injection of FromBucket, vs Context()",
        "injection",
        "FastStream Context()",
        at_least=1.5,
        aim=1.1,
        more=False,
    ),
    _row(
        "download 256 MiB over HTTP, vs a file on disk (FileResponse)",
        "download",
        FILE,
        at_least=None,
        aim=None,
    ),
    Row("import beyond faststream.nats", "ms", _ours("import"), 25, 10, more=False),
)


def rows_of(medians: Medians) -> list[dict[str, Any]]:
    """The rows whose measures are there, with their values."""
    result = []
    for row in ROWS:
        try:
            value = row.value(medians)
        except KeyError:
            continue
        result.append(
            {
                "title": row.title,
                "unit": row.unit,
                "value": value,
                "better": "more" if row.more else "less",
                "at_least": row.at_least,
                "aim": row.aim,
                "passes": row.passes(value, row.at_least),
                "reaches_aim": row.passes(value, row.aim),
            }
        )
    return result
