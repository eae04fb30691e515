"""A short chaos run on one cluster; `make chaos` does longer ones."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.production.chaos.checker import figures
from tests.production.chaos.runner import run

pytestmark = pytest.mark.once

# With the cluster's start, and the reads and the sweep in the end, 60 to 80 s in all.
SECONDS = 45.0
SEED = int(os.environ.get("OBJSTORE_CHAOS_SEED", "1"))
# What the slowest machine has done by then; a run in which nothing succeeds shows nothing.
LEAST = 200


@pytest.mark.timeout(300)
async def test_promises_hold_while_nodes_links_and_clients_fail(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = await run(SEED, SECONDS, tmp_path)

    print(report)
    record_property("figures", figures(report.history))
    assert report.found == [], "\n".join(map(str, report.found))
    assert figures(report.history)["ok"] >= LEAST
    assert len(report.faults) >= 3
