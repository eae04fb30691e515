"""Binding: a declared bucket is created, or checked, or brought up to date."""

from datetime import timedelta
from typing import Any

import nats.js.errors
import pytest

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import BucketConfigMismatchError, BucketNotFoundError
from faststream_objstore.models import ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from tests.store.support import Bench, soon

FULL: dict[str, Any] = {
    "description": "Photos",
    "ttl": timedelta(days=30),
    "max_bytes": 1_000_000,
    "storage": "file",
    "replicas": 1,
    "compression": True,
    "metadata": {"team": "ann"},
    "keep_replaced": timedelta(minutes=5),
}


async def bind(
    bench: Bench, bucket: str, *, declare: bool = True, update: bool = False, **options: Any
) -> Backend:
    config = ObjectStoreConfig(bucket=bucket, **options)
    backend = await soon(bind_bucket(bench.server, config, declare=declare, update=update))
    bench.made.add(bucket)
    return backend


async def test_a_missing_bucket_is_created_as_adr_20_has_it(
    bench: Bench, bucket_name: str
) -> None:
    backend = await bind(bench, bucket_name)
    config = (await backend.state()).config

    assert config["name"] == f"OBJ_{bucket_name}"
    assert config["subjects"] == [f"$O.{bucket_name}.C.>", f"$O.{bucket_name}.M.>"]
    assert config["discard"] == "new"
    assert config["allow_rollup_hdrs"] is True
    assert config["allow_direct"] is True
    assert config["storage"] == "file"
    await soon(ObjectStore.on(backend).put("name", b"hello"))


async def test_a_created_bucket_has_what_is_declared(bench: Bench, bucket_name: str) -> None:
    backend = await bind(bench, bucket_name, **FULL)
    config = (await backend.state()).config

    assert config["description"] == "Photos"
    assert config["max_age"] == 2_592_000_000_000_000
    assert config["max_bytes"] == 1_000_000
    assert config["compression"] == "s2"
    assert config["metadata"]["team"] == "ann"
    assert config["metadata"]["faststream_objstore.keep_replaced"] == "300"
    # And is found to be just that.
    await bind(bench, bucket_name, **FULL)
    await bind(bench, bucket_name)


async def test_a_missing_bucket_that_is_only_bound_is_an_error(
    bench: Bench, bucket_name: str
) -> None:
    with pytest.raises(BucketNotFoundError) as caught:
        await bind(bench, bucket_name, declare=False)

    assert isinstance(caught.value, nats.js.errors.BucketNotFoundError)
    assert str(caught.value) == (
        f"Bucket '{bucket_name}' does not exist, and it is bound with declare=False; "
        "create it first, or declare it with declare=True."
    )
    assert await soon(bench.server.buckets()) == [
        one for one in await soon(bench.server.buckets()) if one != bucket_name
    ]


async def test_a_bucket_that_is_only_bound_is_taken_as_it_is(
    bench: Bench, bucket_name: str
) -> None:
    await bind(bench, bucket_name, **FULL)
    backend = await bind(bench, bucket_name, declare=False, description="other", ttl=5)

    assert (await backend.state()).config["description"] == "Photos"


async def test_settings_that_are_not_declared_are_not_compared(
    bench: Bench, bucket_name: str
) -> None:
    await bind(bench, bucket_name, **FULL)
    for option, value in FULL.items():
        await bind(bench, bucket_name, **{option: value})


@pytest.mark.parametrize(
    "option, declared, shown",
    [
        ("description", "Other", "description is 'Photos', declared 'Other'"),
        ("description", "", "description is 'Photos', declared ''"),
        ("ttl", 60, "ttl is 30 days, 0:00:00, declared 0:01:00"),
        ("ttl", 0, "ttl is 30 days, 0:00:00, declared for ever"),
        ("max_bytes", 5, "max_bytes is 1000000, declared 5"),
        ("max_bytes", -1, "max_bytes is 1000000, declared -1"),
        ("storage", "memory", "storage is 'file', declared 'memory'"),
        ("replicas", 3, "replicas is 1, declared 3"),
        ("compression", False, "compression is True, declared False"),
        ("metadata", {"team": "bob"}, "metadata is {'team': 'ann'}, declared {'team': 'bob'}"),
        ("metadata", {}, "metadata is {'team': 'ann'}, declared {}"),
        ("placement", {"cluster": "c"}, "placement is {}, declared {'cluster': 'c'}"),
    ],
)
async def test_a_difference_is_an_error_that_names_it(
    bench: Bench, bucket_name: str, option: str, declared: Any, shown: str
) -> None:
    await bind(bench, bucket_name, **FULL)

    with pytest.raises(BucketConfigMismatchError) as caught:
        await bind(bench, bucket_name, **{option: declared})

    remedy = "apply it with update=True."
    if option == "storage":
        remedy = "copy the objects elsewhere, delete the bucket and create it again."
    assert str(caught.value) == (
        f"Bucket '{bucket_name}' exists with other settings: {shown}. Change the declaration, "
        f"or {remedy}"
    )
    assert caught.value.bucket == bucket_name


async def test_every_difference_is_named(bench: Bench, bucket_name: str) -> None:
    await bind(bench, bucket_name, **FULL)

    with pytest.raises(BucketConfigMismatchError, match=r"description is .*; max_bytes is "):
        await bind(bench, bucket_name, description="Other", max_bytes=5)


@pytest.mark.parametrize(
    "option, declared, key, expected",
    [
        ("description", "Other", "description", "Other"),
        ("ttl", timedelta(minutes=1), "max_age", 60_000_000_000),
        ("ttl", 0, "max_age", 0),
        ("max_bytes", 2_000_000, "max_bytes", 2_000_000),
        ("max_bytes", -1, "max_bytes", -1),
        ("compression", False, "compression", "none"),
    ],
)
async def test_an_update_applies_the_difference_and_nothing_else(
    bench: Bench,
    bucket_name: str,
    option: str,
    declared: Any,
    key: str,
    expected: Any,
) -> None:
    backend = await bind(bench, bucket_name, **FULL)
    await soon(ObjectStore.on(backend).put("name", b"hello"))
    before = (await backend.state()).config
    backend = await bind(bench, bucket_name, update=True, **{option: declared})
    after = (await backend.state()).config

    assert after[key] == expected
    # The window within which a server looks for duplicates may not outlast the ttl.
    changed = {key, "duplicate_window"} if key == "max_age" else {key}
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    assert await soon(ObjectStore.on(backend).get("name")) == b"hello"


@pytest.mark.parametrize("metadata", [{"team": "bob"}, {}])
async def test_an_update_of_the_metadata_replaces_it(
    bench: Bench, bucket_name: str, metadata: dict[str, str]
) -> None:
    await bind(bench, bucket_name, **FULL)
    backend = await bind(bench, bucket_name, update=True, metadata=metadata)

    assert (await soon(ObjectStore.on(backend).status())).metadata == metadata


@pytest.mark.parametrize(
    "declared, metadata, keep",
    [
        ({"keep_replaced": 60}, {"team": "ann"}, timedelta(seconds=60)),
        ({"keep_replaced": 0}, {"team": "ann"}, timedelta(0)),
        ({"metadata": {"team": "bob"}}, {"team": "bob"}, timedelta(minutes=5)),
        ({"metadata": {}, "keep_replaced": 0}, {}, timedelta(0)),
    ],
)
async def test_an_update_of_one_setting_in_the_metadata_leaves_the_other(
    bench: Bench,
    bucket_name: str,
    declared: dict[str, Any],
    metadata: dict[str, str],
    keep: timedelta,
) -> None:
    await bind(bench, bucket_name, **FULL)
    backend = await bind(bench, bucket_name, update=True, **declared)

    config = wire.config_of((await backend.state()).config)
    assert (config.metadata, config.keep_replaced) == (metadata, keep)
    # The handle that has just been bound goes by it.
    assert wire.keep_replaced(backend.metadata) == keep


async def test_an_update_without_a_difference_changes_nothing(
    bench: Bench, bucket_name: str
) -> None:
    await bind(bench, bucket_name, **FULL)
    backend = await bind(bench, bucket_name, update=True, **FULL)

    assert (await backend.state()).config["description"] == "Photos"


async def test_an_update_that_the_server_does_not_make_is_a_clear_error(
    bench: Bench, bucket_name: str
) -> None:
    await bind(bench, bucket_name, **FULL)

    with pytest.raises(BucketConfigMismatchError) as caught:
        await bind(bench, bucket_name, update=True, storage="memory")

    said = str(caught.value)
    assert said.startswith(
        f"Bucket '{bucket_name}' exists with other settings, which update=True could not "
        "change: storage is 'file', declared 'memory' ("
    )
    assert said.endswith("delete the bucket and create it again.")
    assert said.count(bucket_name) == 1


async def test_replicas_that_a_single_server_refuses_need_a_cluster(
    bench: Bench, bucket_name: str
) -> None:
    if bench.is_memory:
        pytest.skip("memory has no servers to count")
    await bind(bench, bucket_name, **FULL)

    with pytest.raises(BucketConfigMismatchError) as caught:
        await bind(bench, bucket_name, update=True, replicas=3)

    said = str(caught.value)
    assert "replicas is 1, declared 3 (" in said
    assert said.endswith("or use a cluster with enough servers for it.")
    assert said.count(bucket_name) == 1


async def test_a_sealed_bucket_can_be_bound_with_its_declaration(
    bench: Bench, bucket_name: str
) -> None:
    backend = await bind(bench, bucket_name, **FULL)
    store = ObjectStore.on(backend)
    await soon(store.put("name", b"hello"))
    await soon(store.seal())

    await bind(bench, bucket_name, declare=False)
    await bind(bench, bucket_name, **FULL)
    assert await soon(store.get("name")) == b"hello"


async def test_a_stream_that_is_no_object_store_is_refused(
    bench: Bench, bucket_name: str
) -> None:
    config = wire.stream_config(ObjectStoreConfig(bucket=bucket_name))
    config["allow_rollup_hdrs"] = False
    await soon(bench.server.create(bucket_name, config))
    bench.made.add(bucket_name)

    for declare in (False, True):
        with pytest.raises(
            BucketConfigMismatchError, match="does not allow rollups"
        ) as caught:
            await bind(bench, bucket_name, declare=declare)
        assert f"OBJ_{bucket_name}" in str(caught.value)


async def test_a_bucket_that_another_replica_creates_meanwhile_is_bound(
    bench: Bench, bucket_name: str
) -> None:
    class Late:
        """Finds nothing at its first look."""

        looked = False

        async def open(self, bucket: str) -> Backend:
            if not self.looked:
                self.looked = True
                raise BucketNotFoundError("not yet", bucket=bucket)
            return await bench.server.open(bucket)

        def __getattr__(self, name: str) -> Any:
            return getattr(bench.server, name)

    await bind(bench, bucket_name, description="Photos", ttl=60)
    late: Any = Late()
    # Alike: bound. With other settings: the same error as ever.
    config = ObjectStoreConfig(bucket=bucket_name, description="Photos")
    assert (await soon(bind_bucket(late, config))).bucket == bucket_name
    late = Late()
    config = ObjectStoreConfig(bucket=bucket_name, description="Other")
    with pytest.raises(BucketConfigMismatchError, match="declared 'Other'"):
        await soon(bind_bucket(late, config))
