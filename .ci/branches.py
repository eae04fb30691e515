"""The share of branches that the suite has taken, from coverage's data: `branches.py [LEAST]`.

`coverage report` counts statements and branches together.
"""

import json
import subprocess
import sys


def main(least: str = "90") -> None:
    command = [sys.executable, "-m", "coverage", "json", "--quiet"]
    done = subprocess.run(
        [*command, "--fail-under=0", "-o", "-"], stdout=subprocess.PIPE, check=True
    )
    totals = json.loads(done.stdout)["totals"]
    taken, known = totals["covered_branches"], totals["num_branches"]
    share = 100 * taken / known
    print(f"branches: {taken} of {known} taken, {share:.1f} % ({least} % at least are wanted)")
    if share < float(least):
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
