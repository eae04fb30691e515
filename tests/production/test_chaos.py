"""A short chaos run; `make chaos` does longer ones."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.production.chaos.checker import figures
from tests.production.chaos.runner import run

pytestmark = pytest.mark.once

# A run of so many seconds takes 70 s in all, most of the time. `make chaos` is for more.
SECONDS = 50.0
SEED = int(os.environ.get("OBJSTORE_CHAOS_SEED", "1"))
LEAST = 1_000


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
