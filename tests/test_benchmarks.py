"""The program of `benchmarks/`: what it says that it measures, on tiny sizes."""

import nats
import pytest

from benchmarks.drivers.objstore import Objstore
from benchmarks.peers import OURS
from benchmarks.rows import rows_of
from benchmarks.steps import MEASURES, STEPS, Sizes
from faststream_objstore import ObjectStore
from faststream_objstore.testing import NatsServer

pytestmark = pytest.mark.anyio


async def test_calls_for_many_objects_are_rows_beside_single_calls(
    nats_server: NatsServer, bucket_name: str
) -> None:
    client = await nats.connect(nats_server.url)
    driver = Objstore()
    await driver.connect(nats_server.url)
    try:
        store = await ObjectStore.bind(client, bucket_name, declare=True)
        rates = await driver.do_bulk(bucket_name, Sizes.quick().bulk)
        left = [info.name for info in await store.list()]
    finally:
        await driver.close()
        await client.close()

    # Those of put_dir are left, and what it was made warm with.
    assert len(left) == Sizes.quick().bulk + 1
    measures = {f"bulk_{verb}": {OURS: rate} for verb, rate in rates.items()}
    assert set(measures) == {name for name in MEASURES if name.startswith("bulk_")}
    assert all(rate > 0 for rate in rates.values())
    assert "bulk" in [step.name for step in STEPS]
    assert [row["title"] for row in rows_of(measures)] == [
        "put_dir, vs 64-way put",
        "get_dir, vs 64-way get",
        "get_many of names, vs 64-way get",
        "get_many of versions, vs 64-way get",
        "sync, nothing to send, vs 64-way put",
        "delete_all, vs 64-way put",
    ]


def test_rows_of_calls_for_many_are_the_time_in_terms_of_single_calls() -> None:
    # 1,000 a second take four times as long as 4,000.
    rows = rows_of({"bulk_put": {OURS: 4000.0}, "bulk_put_dir": {OURS: 1000.0}})

    assert [(row["title"], row["value"], row["passes"]) for row in rows] == [
        ("put_dir, vs 64-way put", 4.0, False)
    ]
