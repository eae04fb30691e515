"""`python -m tests.production.chaos [--seconds N] [--folder PATH] [--revert MEND] SEED...`

Each seed is a run on a cluster of its own. The report tells what was done and what was found;
the histories stay in the folder.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.production.chaos import runner
from tests.production.chaos.checker import figures, summary
from tests.production.chaos.reverts import REVERTS

# Of each rule.
SHOWN = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.production.chaos")
    parser.add_argument("seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--seconds", type=float, default=1200.0, help="for all seeds together")
    parser.add_argument("--folder", type=Path, help="where the histories go")
    parser.add_argument("--revert", choices=sorted(REVERTS), default="", help="do without it")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    reports = []
    for seed in options.seeds:
        own = folder / f"seed-{seed}"
        # What an earlier run has left there is not of this one.
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        seconds = options.seconds / len(options.seeds)
        report = asyncio.run(runner.run(seed, seconds, own, revert=options.revert))
        reports.append(report)
        print(report, flush=True)
        for rule in summary(report.found):
            for violation in [one for one in report.found if one.rule == rule][:SHOWN]:
                print(violation, flush=True)
        told = {"figures": figures(report.history), "violations": summary(report.found)}
        told |= {"faults": report.faults, "errors": report.errors}
        (own / "report.json").write_text(json.dumps(told, indent=2))
        (own / "leftovers.json").write_text(json.dumps(asdict(report.history.leftovers)))
        (own / "violations.txt").write_text("\n".join(map(str, report.found)))
    total = sum(len(report.history.operations) for report in reports)
    broken = sum(len(report.found) for report in reports)
    print(f"{len(reports)} seeds, {total} operations, {broken} violations; see {folder}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
