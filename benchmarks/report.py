"""The table, the JSON, and the machine they are of."""

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .rows import rows_of
from .steps import COUNTS, MEASURES, SCALES

__all__ = ("combined", "document", "machine", "medians_of", "rows", "tables", "written")

_BEGIN, _END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"

Samples = dict[str, dict[str, list[float]]]
"""By measure, then by peer, one for each round."""


def machine() -> dict[str, Any]:
    """Where this runs."""
    model = platform.processor()
    memory = 0
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    except (OSError, ValueError):
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_before": os.getloadavg()[0],
    }


def medians_of(samples: Samples) -> dict[str, dict[str, float]]:
    """The median of each list."""
    return {
        measure: {peer: statistics.median(each) for peer, each in peers.items() if each}
        for measure, peers in samples.items()
    }


def tables(result: dict[str, Any]) -> str:
    """The tables, in Markdown: the medians of each peer, the growth, and the marks."""
    samples = result["samples"]
    parts = (_medians_table(samples), _growth_table(samples), _marks_table(result["rows"]))
    return "\n\n".join(filter(None, parts))


def _medians_table(samples: Samples) -> str:
    medians = {name: of for name, of in medians_of(samples).items() if name in MEASURES}
    peers = list(dict.fromkeys(peer for each in medians.values() for peer in each))
    wide = [peer for peer in peers if sum(peer in each for each in medians.values()) > 3]
    lines = []
    for measure, each in medians.items():
        title, unit = MEASURES[measure]
        cells = [_figure(each[peer]) if peer in each else "" for peer in wide]
        others = [f"{peer} {_figure(each[peer])}" for peer in each if peer not in wide]
        lines.append([f"{title}, {unit}", *cells, "; ".join(others)])
    return _markdown(["medians", *wide, "others"], lines)


def _growth_table(samples: Samples) -> str:
    """What grows with the number of objects, and how much; empty if it was not measured."""
    lines = []
    for measure, of in medians_of(samples).items():
        if measure in SCALES and set(COUNTS) <= set(of):
            title, unit = SCALES[measure]
            few, _, many = values = [of[count] for count in COUNTS]
            # So little memory is noise, whatever it is divided by.
            growth = f"{_figure(many / few)} x" if unit == "ms" else ""
            lines.append([f"{title}, {unit}", *map(_figure, values), growth])
    return _markdown(["objects", *COUNTS, "growth"], lines) if lines else ""


def _marks_table(rows: Iterable[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        sign = "" if row["better"] == "more" else "<= "
        passes = {True: "pass", False: "FAIL", None: ""}[row["passes"]]
        if row["reaches_aim"]:
            passes = f"{passes}, aim".lstrip(", ")
        lines.append(
            [
                row["title"],
                f"{_figure(row['value'])} {row['unit']}",
                "" if row["at_least"] is None else f"{sign}{_figure(row['at_least'])}",
                "" if row["aim"] is None else f"{sign}{_figure(row['aim'])}",
                passes,
            ]
        )
    return _markdown(["measure", "result", "at least", "aim for", ""], lines)


def _figure(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    rows = [head, ["-" * width for width in widths], *lines]
    return "\n".join(
        "| "
        + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    )


def written(result: dict[str, Any], path: Path) -> None:
    """Save a result, rounded to what its figures mean."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(result), indent=1) + "\n", "utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value


def combined(paths: Iterable[Path]) -> dict[str, Any]:
    """Several runs as one: each sample is the median of a run."""
    runs = [json.loads(path.read_text("utf-8")) for path in paths]
    samples: Samples = {}
    for run in runs:
        for measure, peers in medians_of(run["samples"]).items():
            for peer, value in peers.items():
                samples.setdefault(measure, {}).setdefault(peer, []).append(value)
    # The median run of each row, not a row of medians: it is the program that is run thrice.
    by_title: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for row in run["rows"]:
            by_title.setdefault(row["title"], []).append(row)
    rows = []
    for each in by_title.values():
        each.sort(key=lambda row: float(row["value"]))
        rows.append(each[(len(each) - 1) // 2])
    return {**runs[-1], "samples": samples, "rows": rows}


def rows(samples: Samples) -> list[dict[str, Any]]:
    """The rows of these samples."""
    return rows_of(medians_of(samples))


def document(result: dict[str, Any], path: Path, plot: Path) -> None:
    """Put the tables, and what they are of, between the markers of a Markdown file."""
    text = path.read_text("utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        msg = f"{path} has no {_BEGIN} ... {_END}"
        raise ValueError(msg)
    machine_of, versions = result["machine"], result["versions"]
    shown = ", ".join(
        f"{peer} ({', '.join(f'{k} {v}' for k, v in of['versions'].items())})"
        for peer, of in versions.items()
        if isinstance(of, dict)
    )
    picture = Path(os.path.relpath(plot, path.parent)).as_posix()
    missing = "".join(f"\nMissing: {peer}: {why}\n" for peer, why in result["missing"].items())
    body = (
        f"Medians of {result['rounds']} rounds, {machine_of['time']}, on "
        f"{machine_of['cores']} cores of {machine_of['cpu']}, "
        f"{machine_of['system']}; nats-server "
        f"{versions['nats-server']}. {shown}.\n{missing}\n{_marks_table(result['rows'])}\n\n"
        f"![Medians of each peer]({picture})\n\n{_medians_table(result['samples'])}"
    )
    if growth := _growth_table(result["samples"]):
        body += f"\n\n{growth}"
    path.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}", "utf-8")
