"""What runs on nats-py's object store runs on ours, unchanged.

`nats_py_service` is written against nats-py's guide. Each part runs on nats-py's store and
on ours with one expectation; where nats-py is broken, on ours alone, and it says why.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.wire import metadata_subject
from tests.server import nats_py_service as service

pytestmark = pytest.mark.timeout(30)

EXPECTED: dict[str, dict[str, Any]] = {
    "put_and_get": {
        "text": ("text", 5, 1),
        "report": ("report", 5000, 5, "a report"),
        "digest": "SHA-256=EY9ExxLxKutu3m--gD_LLRcztR0cONnJVcMNUy8M1cc=",
        "chunk size": 1024,
        "named": "named",
        "file": (11_000, 1),
        "memory": 11,
        "data": b"line\n" * 1000,
        "info": ("report", 5000, True),
        "deleted": False,
        "link": False,
    },
    "write_into": {
        "memory": True,
        "file": True,
        "again": True,
        "info": 512_000,
        "data": b"",
    },
    "missing": {"caught": [True, True, True]},
    "watch": {"seen": ["a", "b", None, ("c", False), ("a", True), "timeout"]},
    "watch_by_iteration": {"names": ["a"], "new": "b", "after the delete": "c"},
    "list_all": {"names": ["a", "b", "c"], "live": ["a", "b", "c"], "sizes": [1, 1, 1]},
    "update": {"description": "new", "headers": {"k": ["v"]}, "data": b"content"},
    "rename": {"data": b"content", "names": ["two"]},
    "delete": {
        "caught": "not found",
        "caught by update_meta": "deleted",
        "marker": (True, 0, 0),
        "again": b"again",
    },
    "list_after_delete": {"live": ["one"]},
    "status_and_seal": {
        "bucket": True,
        "description": "a bucket",
        "storage": "file",
        "replicas": 1,
        "size": True,
        "sealed": (False, True),
        "refused": True,
        "data": b"content",
    },
    "many": {"data": True},
}

BROKEN = {
    "rename": "nats-py refuses every rename of a live object with ObjectAlreadyExists",
}


@pytest.fixture(params=["nats-py", "ours"])
async def any_store(
    request: pytest.FixtureRequest, nats_client: Client, bucket_name: str
) -> Any:
    if request.param == "nats-py":
        return await nats_client.jetstream().create_object_store(
            bucket_name, description="a bucket"
        )
    config = ObjectStoreConfig(bucket=bucket_name, description="a bucket")
    return await ObjectStore.bind(nats_client, config, declare=True)


@pytest.mark.parametrize("part", service.GUIDE, ids=lambda part: part.__name__)
async def test_a_part_of_the_guide_gives_the_same_on_both_stores(
    any_store: Any, tmp_path: Path, part: Callable[[Any, Path], Awaitable[dict[str, Any]]]
) -> None:
    if part.__name__ in BROKEN and not isinstance(any_store, ObjectStore):
        with pytest.raises(Exception, match="ObjectAlreadyExists"):
            await part(any_store, tmp_path)
        return
    assert await part(any_store, tmp_path) == EXPECTED[part.__name__]


async def test_metadata_that_does_not_parse_raises_the_same_class(
    any_store: Any, nats_client: Client, bucket_name: str
) -> None:
    async def publish(name: str) -> None:
        await nats_client.jetstream().publish(metadata_subject(bucket_name, name), b"{")

    assert await service.bad_metadata(any_store, publish) is True


async def test_a_link_to_a_bucket_raises_the_same_class(
    any_store: Any, nats_client: Client, bucket_name: str
) -> None:
    ours = await ObjectStore.bind(nats_client, bucket_name)
    other = f"{bucket_name}-other"
    await ObjectStore.bind(nats_client, other, declare=True)
    await ours.add_bucket_link("link", other)

    assert await service.bucket_link(any_store) is True


async def test_the_caller_s_meta_is_left_as_it_is(
    nats_client: Client, bucket_name: str
) -> None:
    from nats.js.api import ObjectMeta

    store = await ObjectStore.bind(nats_client, bucket_name, declare=True)
    meta = ObjectMeta(description="d")
    # nats-py writes the name and the chunk size into it.
    await store.put("one", b"1", meta=meta)
    await store.put("two", b"2", meta=meta)
    assert (meta.name, meta.options) == (None, None)
