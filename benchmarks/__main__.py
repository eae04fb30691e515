"""The program: `python -m benchmarks --help`."""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import report
from .idle import wait_until_idle
from .peers import OURS, Missing, plotter
from .process import DriverError
from .steps import HTTP, RAW, SERVICE, STEPS, Bench, Sizes

_ROOT = Path(__file__).parents[1]
_RESULTS = Path(__file__).with_name("results")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure faststream-objstore beside its peers, taking turns in one run.",
    )
    names = ", ".join(step.name for step in STEPS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", metavar="STEP,...", help=f"some of: {names}")
    parser.add_argument("--peers", metavar="PEER,...", help="only these beside this package")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: tests the program, measures nothing"
    )
    parser.add_argument(
        "--output", type=Path, help="JSON to write, and a PNG beside it (a full run: results/)"
    )
    parser.add_argument(
        "--document", type=Path, help="Markdown to put the tables into, between its markers"
    )
    parser.add_argument(
        "--package",
        type=Path,
        default=_ROOT,
        help="folder of the faststream_objstore to measure",
    )
    parser.add_argument(
        "--also",
        type=Path,
        action="append",
        default=[],
        help="folder of another version of it, to measure beside; may be repeated",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="SECONDS",
        help="before each sample, wait so long for an idle machine; for one that is shared",
    )
    parser.add_argument(
        "--combine",
        type=Path,
        nargs="+",
        help="measure nothing; the table of several runs' JSON, by the median run of each row",
    )
    arguments = parser.parse_args()
    known = {step.name for step in STEPS}
    if unknown := set(filter(None, (arguments.only or "").split(","))) - known:
        parser.error(f"no such step: {', '.join(sorted(unknown))}; there are: {names}")
    return arguments


async def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    sizes = Sizes.quick() if arguments.quick else Sizes()
    only = set(filter(None, (arguments.only or "").split(",")))
    steps = [step for step in STEPS if not only or step.name in only]
    about = report.machine()
    samples: report.Samples = {}
    errors: dict[str, str] = {}
    disturbed = 0
    result: dict[str, Any] = {}
    async with Bench(sizes, arguments.package, arguments.also) as bench:
        wanted = {RAW, OURS, SERVICE, HTTP}
        if arguments.peers is not None:
            wanted |= set(arguments.peers.split(","))
        names = [peer for step in steps for peer in bench.peers_of(step)]
        drivers = [
            name
            for name in dict.fromkeys((RAW, SERVICE, *names))
            if not name.startswith("FastStream ")
            and (arguments.peers is None or name in wanted or name.startswith(OURS))
        ]
        await bench.prepare(drivers)
        for peer, why in bench.missing.items():
            print(f"missing: {peer}: {why}", file=sys.stderr)
        absent = (set(names) - set(drivers)) | set(bench.missing)
        absent -= {name for name in names if name.startswith("FastStream ")}
        for number in range(arguments.rounds):
            for step in steps:
                began = time.monotonic()
                peers = [p for p in bench.peers_of(step) if p not in absent]
                # Another one begins in each round: no peer always follows the same one.
                first = number % max(len(peers), 1)
                for peer in peers[first:] + peers[:first]:
                    if arguments.patience:
                        disturbed += not await wait_until_idle(arguments.patience)
                    try:
                        taken = await step.sample(bench, peer)
                    except DriverError as error:
                        errors[f"{step.name}: {peer}"] = str(error)
                        print(f"failed: {step.name}: {peer}: {error}", file=sys.stderr)
                        continue
                    for measure, value in taken.items():
                        name, _, of = measure.partition(":")
                        samples.setdefault(name, {}).setdefault(of or peer, []).append(value)
                seconds = time.monotonic() - began
                print(
                    f"round {number + 1} of {arguments.rounds}: {step.name}, {seconds:.1f} s",
                    file=sys.stderr,
                )
            # What has been measured is kept, whatever comes.
            result = _result(bench, number + 1, list(dict.fromkeys(names)), samples)
            result |= {"machine": about, "errors": errors, "disturbed": disturbed}
            if (output := _output(arguments)) is not None:
                report.written(result, output)
    return result


def _result(
    bench: Bench,
    rounds: int,
    order: list[str],
    samples: report.Samples,
) -> dict[str, Any]:
    samples = {
        measure: dict(sorted(of.items(), key=lambda one: _place(order, one[0])))
        for measure, of in samples.items()
    }
    return {
        "versions": bench.versions,
        "missing": bench.missing,
        "rounds": rounds,
        "sizes": asdict(bench.sizes),
        "samples": samples,
        "medians": report.medians_of(samples),
        "rows": report.rows(samples),
    }


def _output(arguments: argparse.Namespace) -> Path | None:
    if arguments.output is not None:
        output: Path = arguments.output
        return output
    whole = not (arguments.only or arguments.peers or arguments.quick or arguments.combine)
    return _RESULTS / "latest.json" if whole else None


def _place(order: list[str], peer: str) -> int:
    return order.index(peer) if peer in order else len(order)


def _draw(result: dict[str, Any], target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "result.json"
        report.written(result, source)
        try:
            command = [*plotter(), str(source), str(target)]
            subprocess.run(command, check=True, capture_output=True)
        except (Missing, subprocess.CalledProcessError) as error:
            print(f"no plot: {error}", file=sys.stderr)


def main() -> None:
    """Run."""
    arguments = _arguments()
    if arguments.combine:
        result = report.combined(arguments.combine)
    else:
        result = asyncio.run(_measure(arguments))
    print(report.tables(result))
    output = _output(arguments)
    if output is not None:
        report.written(result, output)
        _draw(result, output.with_suffix(".png"))
        if arguments.document:
            report.document(result, arguments.document, output.with_suffix(".png"))
        print(f"\nwritten: {output} and {output.with_suffix('.png').name}", file=sys.stderr)


if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("The environments are laid out as on Unix.")
    main()
