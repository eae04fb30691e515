"""Other projects' clients on the same bucket, each in a process of its own.

What they can do they do here both ways; where one has a quirk, a comment beside the
assertion says which.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from nats.aio.client import Client

from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.exceptions import (
    LinkIsABucketError,
    ObjectDeletedError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectInfo, ObjectLink, ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.testing import NatsServer
from faststream_objstore.wire import metadata_subject
from tests.server.facts import consumers, messages, subjects
from tests.server.foreign import CLIENTS, Foreign, ForeignError, started

# The first test of a client may install it.
pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]

CHUNK = 256
CONTENTS = {
    "empty": b"",
    "one byte": b"\x00",
    "one full chunk": b"f" * CHUNK,
    "two full chunks": b"f" * CHUNK + b"g" * CHUNK,
    "four chunks": bytes(range(256)) * 3 + b"rest",
}
NAMES = [
    "plain",
    "a/b/c.txt",
    "with spaces and 'quotes\"",
    "*.>",
    "..",
    "tab\tand\nline",
    # Base64 of these has both characters that the URL alphabet replaces.
    "???~~~>>>",
]
UNICODE = ["caf\u00e9", "\u65e5\u672c\u8a9e/\u0444\u0430\u0439\u043b", "\U0001f4a9"]


@pytest.fixture(params=list(CLIENTS))
async def foreign(
    request: pytest.FixtureRequest, nats_server: NatsServer
) -> AsyncIterator[Foreign]:
    client = await started(request.param, nats_server.url)
    yield client
    await client.stop()


@pytest.fixture
def bucket(store: ObjectStore) -> str:
    return store.bucket


def writes_unicode(foreign: Foreign) -> bool:
    # nats.js takes the characters of a name for bytes: one up to U+00FF goes to another
    # subject than everyone else's, and one beyond makes it throw.
    return foreign.name != "nats.js"


def knows_links(foreign: Foreign) -> bool:
    # nats-py reads links and cannot make them.
    return foreign.name != "nats-py"


async def require_no_orphans(client: Client, store: ObjectStore) -> None:
    """The chunks in the stream are those of the live objects."""
    held = await subjects(client, store.bucket)
    assert {name: count for name, count in held.items() if ".C." in name} == {
        f"$O.{store.bucket}.C.{info.nuid}": info.chunks
        for info in await store.list()
        if info.chunks
    }


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
async def test_what_another_client_puts_is_read_by_ours(
    store: ObjectStore, bucket: str, foreign: Foreign, content: bytes
) -> None:
    await foreign.put(bucket, "one", content, chunk_size=CHUNK)

    data = await store.get("one")
    assert data == content
    assert data.info.size == len(content)
    assert data.info.chunks == -(-len(content) // CHUNK)
    assert data.info.digest is not None
    assert await store.get(data.info) == content
    for start in range(0, len(content) + 1, 100):
        assert await store.get_range("one", start, start + 300) == content[start : start + 300]
    async with store.open("one") as reader:
        assert await reader.read() == content


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
async def test_what_ours_puts_is_read_by_another_client(
    store: ObjectStore, bucket: str, foreign: Foreign, content: bytes
) -> None:
    info = await store.put("one", content, chunk_size=CHUNK)

    assert await foreign.get(bucket, "one") == content
    said = await foreign("info", bucket, name="one")
    assert (said["size"], said["chunks"]) == (info.size, info.chunks)
    assert said["digest"] == info.digest


async def test_names_travel_both_ways(
    store: ObjectStore, bucket: str, foreign: Foreign
) -> None:
    names = NAMES + (UNICODE if writes_unicode(foreign) else [])
    for name in names:
        await foreign.put(bucket, name, f"theirs: {name}".encode())
    assert {info.name for info in await store.list()} == set(names)
    for name in names:
        assert await store.get(name) == f"theirs: {name}".encode()
        await store.put(name, f"ours: {name}")
    assert await foreign("list", bucket) == sorted(names)
    for name in names:
        assert await foreign.get(bucket, name) == f"ours: {name}".encode()


async def test_a_latin_1_name_of_nats_js_is_listed_and_read_by_its_info(
    nats_server: NatsServer, store: ObjectStore, bucket: str
) -> None:
    foreign = await started("nats.js", nats_server.url)
    await foreign.put(bucket, "caf\u00e9", b"theirs")

    # Its subject is base64 of Latin-1, where ADR-20's readers look for that of UTF-8.
    (info,) = await store.list()
    assert info.name == "caf\u00e9"
    assert await store.get(info) == b"theirs"
    with pytest.raises(ObjectNotFoundError):
        await store.get("caf\u00e9")
    # And a name beyond Latin-1 it cannot have at all.
    with pytest.raises(ForeignError):
        await foreign.put(bucket, "\u65e5", b"theirs")
    await foreign.stop()


async def test_description_headers_and_metadata_travel_both_ways(
    store: ObjectStore, bucket: str, foreign: Foreign
) -> None:
    said: dict[str, Any] = {
        "description": "what it is, caf\u00e9",
        "headers": {"X-One": ["1"], "X-Two": ["2", "zwei"]},
        "metadata": {"key": "value"},
    }
    # nats-py's class has no metadata.
    metadata = None if foreign.name == "nats-py" else {"key": "value"}
    await foreign.put(bucket, "theirs", b"1", **said)
    info = await store.get_info("theirs")
    assert info.description == said["description"]
    assert info.headers == said["headers"]
    assert info.metadata == metadata
    assert info.mtime is not None

    await store.put("ours", b"1", **said)
    seen = await foreign("info", bucket, name="ours")
    assert seen["description"] == said["description"]
    # natsrpy gives a single value as a str.
    assert {
        key: [values] if isinstance(values, str) else values
        for key, values in seen["headers"].items()
    } == said["headers"]
    assert seen["metadata"] == metadata


async def test_overwriting_each_other_leaves_the_newest_and_no_orphan(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    for number in range(3):
        ours, theirs = bytes([number]) * 1000, bytes([100 + number]) * 1000
        await store.put("one", ours, chunk_size=CHUNK)
        assert await foreign.get(bucket, "one") == ours
        await require_no_orphans(nats_client, store)
        await foreign.put(bucket, "one", theirs, chunk_size=CHUNK)
        assert await store.get("one") == theirs
        await require_no_orphans(nats_client, store)
    assert len(await store.list()) == 1


async def test_deleted_markers_of_each_other_are_honoured_and_put_over(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    await store.put("one", b"o" * 1000, chunk_size=CHUNK)
    await foreign("delete", bucket, name="one")

    with pytest.raises(ObjectDeletedError):
        await store.get("one")
    marker = await store.get_info("one", show_deleted=True)
    assert (marker.deleted, marker.size, marker.chunks) == (True, 0, 0)
    assert await store.get("one", show_deleted=True) == b""
    assert await store.list() == []
    assert [info.name for info in await store.list(include_deleted=True)] == ["one"]
    assert await store.delete("one") is False
    await require_no_orphans(nats_client, store)

    # Ours over their marker.
    await store.put("one", b"again", mode="create")
    assert await foreign.get(bucket, "one") == b"again"

    # Theirs over our marker.
    assert await store.delete("one") is True
    with pytest.raises(ForeignError, match=r"(?i)not ?found|deleted"):
        await foreign.get(bucket, "one")
    assert await foreign("list", bucket) == []
    await foreign.put(bucket, "one", b"theirs")
    assert await store.get("one") == b"theirs"
    assert await foreign("list", bucket) == ["one"]
    await require_no_orphans(nats_client, store)


async def test_a_name_that_ours_renames_is_found_by_the_other_and_survives_its_puts(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    await foreign.put(bucket, "old", b"o" * 1000, chunk_size=CHUNK)

    await store.rename("old", "new")

    assert await foreign.get(bucket, "new") == b"o" * 1000
    with pytest.raises(ForeignError, match=r"(?i)not ?found|deleted"):
        await foreign.get(bucket, "old")
    assert await foreign("list", bucket) == ["new"]
    # Other clients purge the chunks of the marker that they replace; its nuid is not
    # that of the object which has moved.
    await foreign.put(bucket, "old", b"another")
    await foreign("delete", bucket, name="old")
    assert await store.get("new") == b"o" * 1000
    assert await foreign.get(bucket, "new") == b"o" * 1000
    await require_no_orphans(nats_client, store)


async def test_a_name_that_another_client_renames_is_found_by_ours(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    if foreign.name == "nats-py":
        pytest.skip("nats-py's rename raises ObjectAlreadyExists for every live object")
    info = await store.put("old", b"o" * 1000, chunk_size=CHUNK)

    await foreign("rename", bucket, name="old", to="new")

    assert await store.get("new") == b"o" * 1000
    assert (await store.get_info("new")).nuid == info.nuid
    # They purge the old name where we leave a marker.
    with pytest.raises(ObjectNotFoundError):
        await store.get("old")
    assert [one.name for one in await store.list(include_deleted=True)] == ["new"]
    # What was read before still is: the chunks are where they were.
    await require_no_orphans(nats_client, store)
    await store.put("new", b"over it")
    assert await foreign.get(bucket, "new") == b"over it"
    await require_no_orphans(nats_client, store)


async def test_a_description_that_another_client_changes_is_seen_and_kept(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    await store.put("one", b"content", chunk_size=CHUNK, metadata={"k": "v"})

    await foreign("describe", bucket, name="one", description="theirs")

    # nats.js updates without a rollup: the subject has two messages, the last one holds.
    held = await messages(nats_client, bucket, metadata_subject(bucket, "one"))
    assert len(held) == (2 if foreign.name == "nats.js" else 1)
    info = await store.get_info("one")
    assert info.description == "theirs"
    assert await store.get(info) == b"content"
    assert [one.description for one in await store.list()] == ["theirs"]
    assert [one async for one in store.iter()] == [info]

    # Ours in turn; the rollup leaves one message again.
    await store.update_meta("one", ObjectMeta(description="ours"))
    assert (await foreign("info", bucket, name="one"))["description"] == "ours"
    assert len(await messages(nats_client, bucket, metadata_subject(bucket, "one"))) == 1
    assert await foreign.get(bucket, "one") == b"content"


async def test_links_of_ours_are_followed_by_the_other(
    store: ObjectStore, bucket: str, foreign: Foreign
) -> None:
    await foreign.put(bucket, "target", b"t" * 1000, chunk_size=CHUNK)
    await store.add_link("link", "target")
    await store.add_bucket_link("bucket link", await another_bucket(foreign, store))

    assert await foreign.get(bucket, "link") == b"t" * 1000
    seen = await foreign("info", bucket, name="link")
    assert seen["link"] == [bucket, "target"]
    seen = await foreign("info", bucket, name="bucket link")
    assert seen["link"] == [f"{bucket}-other", None]
    assert await foreign("list", bucket) == ["bucket link", "link", "target"]
    # A link of ours deleted by them leaves its target.
    await foreign("delete", bucket, name="link")
    assert await store.get("target") == b"t" * 1000
    assert not await store.exists("link")


async def another_bucket(foreign: Foreign, store: ObjectStore) -> str:
    name = f"{store.bucket}-other"
    await foreign("create", name)
    return name


async def test_links_of_another_client_are_followed_by_ours(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    if not knows_links(foreign):
        pytest.skip("nats-py cannot make links")
    await store.put("target", b"t" * 1000, chunk_size=CHUNK)
    other = await another_bucket(foreign, store)
    await foreign("link", bucket, name="link", target="target")
    await foreign("link_bucket", bucket, name="bucket link", other=other)

    # nats.js leaves nuid, size, chunks and mtime out of a link.
    info = await store.get_info("link")
    assert info.link == ObjectLink(bucket, "target")
    assert (info.size, info.chunks) == (0, 0)
    assert await store.get("link") == b"t" * 1000
    assert await store.get_range("link", 250, 260) == b"t" * 10
    assert (await store.get_info("bucket link")).link == ObjectLink(other, None)
    with pytest.raises(LinkIsABucketError):
        await store.get("bucket link")
    # Renamed, copied from, deleted: the target stays.
    await store.rename("link", "moved")
    assert await store.get("moved") == b"t" * 1000
    assert await foreign.get(bucket, "moved") == b"t" * 1000
    await store.copy("moved", "copy")
    assert await store.get("copy") == b"t" * 1000
    await store.delete("moved")
    await store.delete("bucket link")
    assert [one.name for one in await store.list()] == ["copy", "target"]
    await require_no_orphans(nats_client, store)


async def test_a_bucket_of_another_client_is_bound_and_used(
    nats_client: Client, bucket_name: str, foreign: Foreign
) -> None:
    await foreign("create", bucket_name)

    store = ObjectStore.on(
        await bind_bucket(JetStreamServer(nats_client), ObjectStoreConfig(bucket=bucket_name))
    )

    await store.put("one", b"ours")
    assert await foreign.get(bucket_name, "one") == b"ours"
    await foreign.put(bucket_name, "two", b"theirs")
    assert [info.name for info in await store.list()] == ["one", "two"]
    status = await store.status()
    assert (status.count, status.sealed, status.ttl) == (2, False, None)


async def test_a_watch_sees_what_another_client_does(
    store: ObjectStore, bucket: str, foreign: Foreign, nats_client: Client
) -> None:
    await foreign.put(bucket, "before", b"1")
    async with store.watch() as watcher:
        seen = [await watcher.updates(), await watcher.updates()]
        await foreign.put(bucket, "one", b"1")
        await foreign.put(bucket, "one", b"2")
        await foreign("delete", bucket, name="one")
        seen += [await watcher.updates() for _ in range(3)]
    assert [(info.name, info.deleted) if info else None for info in seen] == [
        ("before", False),
        None,
        ("one", False),
        ("one", False),
        ("one", True),
    ]
    assert await consumers(nats_client, bucket) == 0


async def test_every_client_reads_what_every_other_one_wrote(
    nats_server: NatsServer, store: ObjectStore, bucket: str
) -> None:
    async with AsyncExitStack() as stack:
        clients: list[Foreign] = []
        for name in CLIENTS:
            client = await started(name, nats_server.url)
            stack.push_async_callback(client.stop)
            clients.append(client)
        for client in clients:
            await client.put(bucket, client.name, client.name.encode() * 500, chunk_size=CHUNK)
        await store.put("ours", b"ours" * 500, chunk_size=CHUNK)

        contents = {client.name: client.name.encode() * 500 for client in clients}
        contents["ours"] = b"ours" * 500
        for name, content in contents.items():
            assert await store.get(name) == content
            for client in clients:
                assert await client.get(bucket, name) == content
        # One name, written by each in turn, read by all.
        for client in clients:
            await client.put(bucket, "shared", contents[client.name], chunk_size=CHUNK)
            for reader in clients:
                assert await reader.get(bucket, "shared") == contents[client.name]
            info = await store.put("shared", await store.get("shared"), mode="overwrite")
            assert type(info) is ObjectInfo


async def test_a_bucket_with_transactions_is_any_other_bucket_to_another_client(
    nats_client: Client, bucket_name: str, foreign: Foreign
) -> None:
    config = ObjectStoreConfig(bucket=bucket_name, transactions=True)
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await bind_bucket(server, config, declare=True))
    try:
        await store.put("moving", b"moved", chunk_size=CHUNK)
        async with store.transaction() as tx:
            await tx.put("one", b"first", chunk_size=CHUNK)
            await tx.put("gone", b"gone", chunk_size=CHUNK)
            await tx.rename("moving", "moved")

        assert await foreign.get(bucket_name, "one") == b"first"
        assert await foreign.get(bucket_name, "moved") == b"moved"
        await foreign.put(bucket_name, "one", b"second", chunk_size=CHUNK)
        await foreign.put(bucket_name, "two", b"two", chunk_size=CHUNK)
        async with store.transaction() as tx:
            await tx.rename("two", "three")
            await tx.delete("gone")

        assert await store.get("one") == b"second"
        assert await foreign.get(bucket_name, "three") == b"two"
        await require_no_orphans(nats_client, store)
    finally:
        await server.delete(bucket_name)


# What each client does with the marker that a server leaves of an expired object: True for
# what works, or a part of what it raises. Most parse it as JSON wherever they meet it.
MEETS_MARKERS: dict[str, dict[str, str | bool]] = {
    "nats-py": {
        "watch": True,
        "list, marker first": True,
        # It waits for ever for an entry after the marker.
        "list, marker last": "TimeoutError",
        "get": "BadObjectMetaError",
        "put": "BadObjectMetaError",
        "delete": "BadObjectMetaError",
    },
    "natsio": {
        "watch": "JSONDecodeError",
        "list, marker first": "JSONDecodeError",
        "list, marker last": "JSONDecodeError",
        "get": "JSONDecodeError",
        "put": "JSONDecodeError",
        "delete": "JSONDecodeError",
    },
    "natsrpy": {
        "watch": "failed to deserialize",
        "list, marker first": "failed deserializing",
        "list, marker last": "failed deserializing",
        "get": "failed to decode",
        "put": True,
        "delete": "failed to decode",
    },
    "nats.js": {
        "watch": True,
        "list, marker first": True,
        "list, marker last": True,
        "get": "SyntaxError",
        "put": "SyntaxError",
        "delete": "SyntaxError",
    },
}


async def leave_marker(client: Client, bucket: str, name: str) -> None:
    """What a server leaves of an expired object; this one stays."""
    headers = {"Nats-Marker-Reason": "MaxAge", "Nats-Rollup": "sub"}
    await client.request(metadata_subject(bucket, name), b"", headers=headers)


async def test_a_bucket_whose_objects_expire_is_read_by_another_client_between_markers(
    nats_client: Client, bucket_name: str, foreign: Foreign
) -> None:
    config = ObjectStoreConfig(bucket=bucket_name, object_ttl=1)
    server = JetStreamServer(nats_client)
    store = ObjectStore.on(await bind_bucket(server, config))
    meets = MEETS_MARKERS[foreign.name]

    async def outcome(work: Any) -> Any:
        try:
            await work
        except ForeignError as error:
            return str(error)
        return True

    def agrees(found: Any, what: str) -> None:
        expected = meets[what]
        assert str(expected) in str(found), (what, found)

    try:
        content = b"several chunks " * 50
        await store.put("long", content, chunk_size=CHUNK, ttl=3600)
        await store.put("stays", content, chunk_size=CHUNK)
        await store.put("replaced", b"1", ttl=3600)
        await store.put("replaced", b"2")
        assert await foreign.get(bucket_name, "long") == content
        assert await foreign("list", bucket_name) == ["long", "replaced", "stays"]
        await foreign.put(bucket_name, "long", b"theirs", chunk_size=CHUNK)
        assert (await store.get_info("long")).expires is None
        assert await store.get("long") == b"theirs"
        await store.put("described", content, ttl=3600)
        await foreign("describe", bucket_name, name="described", description="theirs")
        # nats.js keeps fields that it does not know. All leave out the server's TTL, so that
        # only the content expires.
        described = await store.get_info("described")
        assert (described.expires is not None) == (foreign.name == "nats.js")
        await store.delete("described")

        before = await consumers(nats_client, bucket_name)
        watching = asyncio.ensure_future(foreign("watch", bucket_name, until="end"))
        while await consumers(nats_client, bucket_name) <= before:
            await asyncio.sleep(0.01)
        await leave_marker(nats_client, bucket_name, "expired")
        await store.put("end", b"")
        agrees(await outcome(watching), "watch")
        agrees(await outcome(foreign("list", bucket_name)), "list, marker first")
        await leave_marker(nats_client, bucket_name, "expired")
        agrees(await outcome(foreign("list", bucket_name)), "list, marker last")
        assert await foreign.get(bucket_name, "stays") == content
        agrees(await outcome(foreign.get(bucket_name, "expired")), "get")
        agrees(await outcome(foreign("delete", bucket_name, name="expired")), "delete")
        await leave_marker(nats_client, bucket_name, "expired")
        agrees(await outcome(foreign.put(bucket_name, "expired", b"theirs")), "put")
        assert await store.exists("expired") is (meets["put"] is True)

        # Without markers, all is as before.
        await store.put("expired", b"ours")
        assert await foreign.get(bucket_name, "expired") == b"ours"
        assert "expired" in await foreign("list", bucket_name)
        await require_no_orphans(nats_client, store)
    finally:
        await server.delete(bucket_name)
