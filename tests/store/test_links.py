"""Links: to an object, to a bucket, and never to a link."""

import json
import re
from typing import Any

import nats.js.errors
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BucketNotFoundError,
    InvalidBucketNameError,
    InvalidLinkError,
    InvalidObjectNameError,
    LinkIsABucketError,
    ObjectAlreadyExists,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectInfo, ObjectLink, ObjectMetaOptions
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    DELETED,
    LINK,
    Bench,
    body_of,
    layout,
    pattern_bytes,
    soon,
    write_raw,
)


@pytest.fixture
async def target(store: ObjectStore) -> ObjectInfo:
    return await soon(store.put("name", b"hello", description="d", chunk_size=2))


async def test_a_link_is_adr_20s_byte_for_byte(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    info = await soon(store.add_link("link", "name"))

    assert info == ObjectInfo(
        name="link",
        bucket=backend.bucket,
        nuid=info.nuid,
        options=ObjectMetaOptions(link=ObjectLink(backend.bucket, "name")),
        revision=5,
    )
    assert info.is_link()
    assert re.fullmatch("[A-Za-z0-9]{22}", info.nuid)
    assert (
        await body_of(backend, "link")
        == (
            f'{{"options":{{"link":{{"bucket":"{backend.bucket}","name":"name"}}}},'
            f'"name":"link","bucket":"{backend.bucket}","nuid":"{info.nuid}","size":0,'
            '"chunks":0,"mtime":"0001-01-01T00:00:00Z"}'
        ).encode()
    )
    assert await soon(layout(backend)) == {"name": 3, "link": LINK}


async def test_a_link_to_a_bucket_is_adr_20s_byte_for_byte(
    store: ObjectStore, backend: Backend, other_backend: Backend
) -> None:
    info = await soon(store.add_bucket_link("link", other_backend.bucket))

    assert info.link == ObjectLink(other_backend.bucket)
    assert (
        await body_of(backend, "link")
        == (
            f'{{"options":{{"link":{{"bucket":"{other_backend.bucket}"}}}},'
            f'"name":"link","bucket":"{backend.bucket}","nuid":"{info.nuid}","size":0,'
            '"chunks":0,"mtime":"0001-01-01T00:00:00Z"}'
        ).encode()
    )


async def test_reading_a_link_reads_its_target(store: ObjectStore, target: ObjectInfo) -> None:
    await soon(store.add_link("link", "name"))
    data = await soon(store.get("link"))

    assert data == b"hello"
    assert data.info == target


async def test_get_info_of_a_link_is_the_link(store: ObjectStore, target: ObjectInfo) -> None:
    link = await soon(store.add_link("link", "name"))

    assert await soon(store.get_info("link")) == link


async def test_reading_a_links_own_info_reads_its_target(
    store: ObjectStore, target: ObjectInfo
) -> None:
    link = await soon(store.add_link("link", "name"))

    assert await soon(store.get(link)) == b"hello"


async def test_a_link_reads_its_targets_newest_version(
    store: ObjectStore, target: ObjectInfo
) -> None:
    await soon(store.add_link("link", target))
    await soon(store.put("name", b"newer"))

    assert await soon(store.get("link")) == b"newer"


async def test_a_link_may_lead_to_another_bucket(
    store: ObjectStore, other_store: ObjectStore, backend: Backend
) -> None:
    data = pattern_bytes(95)
    info = await soon(other_store.put("name", data, chunk_size=10))
    link = await soon(store.add_link("link", info))

    assert link.link == ObjectLink(other_store.bucket, "name")
    assert await soon(store.get("link")) == data
    assert await soon(store.get_range("link", 5, 25)) == data[5:25]
    assert await soon(layout(backend)) == {"link": LINK}


async def test_a_link_may_replace_a_link_or_a_deleted_object(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    await soon(store.put("other", b"other"))
    await soon(store.put("gone", b"x"))
    await soon(store.delete("gone"))
    await soon(store.add_link("link", "name"))
    await soon(store.add_link("link", "other"))
    await soon(store.add_link("gone", "other"))

    assert await soon(store.get("link")) == b"other"
    assert await soon(store.get("gone")) == b"other"
    assert await soon(layout(backend)) == {"name": 3, "other": 1, "link": LINK, "gone": LINK}


async def test_a_link_repairs_metadata_that_does_not_parse(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    await write_raw(backend, "link", b"not json")
    await soon(store.add_link("link", "name"))

    assert await soon(store.get("link")) == b"hello"


async def test_a_link_does_not_replace_an_object(
    store: ObjectStore, backend: Backend, target: ObjectInfo, other_backend: Backend
) -> None:
    await soon(store.put("other", b"other"))

    for call in (
        store.add_link("other", "name"),
        store.add_bucket_link("other", other_backend.bucket),
    ):
        with pytest.raises(ObjectAlreadyExists) as caught:
            await soon(call)
        assert isinstance(caught.value, nats.js.errors.ObjectAlreadyExists)
        assert str(caught.value) == (
            f"Bucket '{backend.bucket}': 'other' is an object and is not replaced by a link; "
            "delete it first, or choose another name."
        )
    assert await soon(store.get("other")) == b"other"


async def test_a_link_to_a_link_is_refused(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    link = await soon(store.add_link("link", "name"))

    for to in ("link", link):
        with pytest.raises(
            InvalidLinkError, match=r"'second' cannot link to 'link'"
        ) as caught:
            await soon(store.add_link("second", to))
        assert isinstance(caught.value, ValueError)
        assert backend.bucket in str(caught.value)
    assert await soon(layout(backend)) == {"name": 3, "link": LINK}


@pytest.mark.parametrize("exists", ["nothing", "object", "link", "deleted"])
async def test_a_link_to_itself_is_refused(
    store: ObjectStore, target: ObjectInfo, exists: str
) -> None:
    if exists in {"object", "deleted"}:
        await soon(store.put("link", b"x"))
    if exists == "deleted":
        await soon(store.delete("link"))
    if exists == "link":
        await soon(store.add_link("link", "name"))

    with pytest.raises(InvalidLinkError, match="a link 'link' to itself"):
        await soon(store.add_link("link", "link"))


async def test_a_link_to_its_own_bucket_is_refused(store: ObjectStore) -> None:
    for bucket in (store.bucket, store):
        with pytest.raises(InvalidLinkError, match="to itself"):
            await soon(store.add_bucket_link("link", bucket))


async def test_a_link_to_what_is_not_there_is_refused(
    store: ObjectStore, backend: Backend, other_store: ObjectStore
) -> None:
    info = await soon(other_store.put("name", b"x"))
    await soon(other_store.delete("name"))

    with pytest.raises(ObjectNotFoundError, match="has no object 'name'"):
        await soon(store.add_link("link", "name"))
    with pytest.raises(ObjectDeletedError, match=other_store.bucket):
        await soon(store.add_link("link", info))
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await soon(store.add_bucket_link("link", "no-such-bucket"))
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await soon(store.add_link("link", ObjectInfo(name="x", bucket="no-such-bucket")))
    assert await soon(layout(backend)) == {}


@pytest.mark.parametrize("name", ["", "\udfff", None])
async def test_a_link_of_an_impossible_name_is_refused(
    store: ObjectStore, target: ObjectInfo, other_backend: Backend, name: Any
) -> None:
    with pytest.raises(InvalidObjectNameError):
        await soon(store.add_link(name, "name"))
    with pytest.raises(InvalidObjectNameError):
        await soon(store.add_link("link", name))
    with pytest.raises(InvalidObjectNameError):
        await soon(store.add_bucket_link(name, other_backend.bucket))


@pytest.mark.parametrize("bucket", ["", "a.b", "a b", None, 5])
async def test_a_link_to_an_impossible_bucket_is_refused(
    store: ObjectStore, bucket: Any
) -> None:
    with pytest.raises(InvalidBucketNameError, match="is not a bucket name"):
        await soon(store.add_bucket_link("link", bucket))


async def test_a_link_whose_target_is_deleted_says_so(
    store: ObjectStore, target: ObjectInfo
) -> None:
    await soon(store.add_link("link", "name"))
    await soon(store.delete("name"))

    with pytest.raises(ObjectDeletedError, match="'name' has been deleted"):
        await soon(store.get("link"))
    await soon(store.put("name", b"back"))
    assert await soon(store.get("link")) == b"back"


async def test_a_link_whose_bucket_is_gone_says_so(
    store: ObjectStore, other_store: ObjectStore, bench: Bench
) -> None:
    info = await soon(other_store.put("name", b"x"))
    await soon(store.add_link("link", info))
    await bench.server.delete(other_store.bucket)

    with pytest.raises(
        BucketNotFoundError,
        match=f"'link' is a link into the bucket '{other_store.bucket}', which does not exist",
    ):
        await soon(store.get("link"))


async def test_reading_a_link_to_a_bucket_is_an_error(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    await soon(store.add_bucket_link("link", other_store))

    for call in (store.get("link"), store.get_range("link", 0, 1), store.copy("link", "copy")):
        with pytest.raises(LinkIsABucketError, match="has no content") as caught:
            await soon(call)
        assert isinstance(caught.value, nats.js.errors.LinkIsABucketError)
        assert other_store.bucket in str(caught.value)


async def test_a_link_that_has_become_one_to_a_link_is_an_error(
    store: ObjectStore, target: ObjectInfo
) -> None:
    await soon(store.put("other", b"x"))
    await soon(store.add_link("link", "other"))
    await soon(store.delete("other"))
    await soon(store.add_link("other", "name"))

    with pytest.raises(InvalidLinkError, match=r"'other' in .* which is a link itself"):
        await soon(store.get("link"))


async def test_a_cycle_that_another_client_made_does_not_hang(
    store: ObjectStore, backend: Backend
) -> None:
    for name, to in (("a", "b"), ("b", "a"), ("c", "c")):
        raw = {
            "name": name,
            "bucket": backend.bucket,
            "nuid": "N",
            "size": 0,
            "chunks": 0,
            "mtime": "0001-01-01T00:00:00Z",
            "options": {"link": {"bucket": backend.bucket, "name": to}},
        }
        await write_raw(backend, name, raw)

    for name in "abc":
        with pytest.raises(InvalidLinkError):
            await soon(store.get(name))


async def test_put_over_a_link_replaces_the_link_and_not_its_target(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    await soon(store.add_link("link", "name"))
    await soon(store.put("link", b"own"))

    assert await soon(store.get("link")) == b"own"
    assert await soon(store.get("name")) == b"hello"
    assert await soon(layout(backend)) == {"name": 3, "link": 1}


async def test_a_deleted_link_reads_as_deleted(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    await soon(store.add_link("link", "name"))
    await soon(store.delete("link"))

    with pytest.raises(ObjectDeletedError, match="'link' has been deleted"):
        await soon(store.get("link"))
    data = await soon(store.get("link", show_deleted=True))
    assert (data, data.info.deleted) == (b"", True)
    assert await soon(layout(backend)) == {"name": 3, "link": DELETED}
    assert json.loads(await body_of(backend, "link"))["deleted"] is True


async def test_the_links_of_nats_js_are_read(
    store: ObjectStore, backend: Backend, target: ObjectInfo
) -> None:
    body = (
        f'{{"name":"link","bucket":"{backend.bucket}","nuid":null,"size":null,"chunks":0,'
        f'"options":{{"link":{{"bucket":"{backend.bucket}","name":"name"}}}}}}'
    )
    await write_raw(backend, "link", body.encode())

    assert await soon(store.get("link")) == b"hello"
    # Written anew, it has what every client needs.
    await soon(store.delete("link"))
    assert await soon(layout(backend)) == {"name": 3, "link": DELETED}
