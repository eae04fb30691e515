"""Subscribers of what expires, in this process and on a server."""

import asyncio
import json
from datetime import timedelta
from typing import Annotated, Any

import pytest
from faststream import Path
from faststream.nats import NatsBroker, TestNatsBroker
from nats.aio.client import Client

from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.changes.declarations import Declaration
from faststream_objstore.changes.retry import Retry
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.models import Mirror, ObjectInfo
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer, advance
from tests.changes.support import Names, Seen, running, soon, store_of
from tests.settled import settled

pytestmark = pytest.mark.timeout(120)

MINUTE = timedelta(minutes=1)
EXPIRED = ObjectInfo(name="a.txt", bucket="b", deleted=True, expired=True)
DELETED = ObjectInfo(name="a.txt", bucket="b", deleted=True)
PUT = ObjectInfo(name="a.txt", bucket="b")


@pytest.mark.parametrize(
    "event, wanted",
    [
        ("put", [PUT]),
        ("delete", [DELETED]),
        ("expire", [EXPIRED]),
        ("change", [PUT, DELETED, EXPIRED]),
    ],
)
def test_a_declaration_wants_what_its_event_says(event: str, wanted: list[ObjectInfo]) -> None:
    declaration = Declaration(event, "*.txt")

    assert [one for one in (PUT, DELETED, EXPIRED) if declaration.wants(one)] == wanted


# --- in this process


def listening(
    *, object_ttl: float | bool = True, ttl: timedelta | None = None
) -> tuple[NatsBroker, Buckets, Names]:
    """A bucket `uploads`, and what its `on_expire` is given."""
    bucket = Bucket("uploads", object_ttl=object_ttl, ttl=ttl)
    seen = Names()
    bucket.on_expire()(seen.take)
    broker = NatsBroker()
    return broker, Buckets(broker, bucket), seen


async def test_handlers_are_told_of_expirations_when_their_time_has_come() -> None:
    bucket = Bucket("uploads", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    expired: list[tuple[str, str]] = []
    changed: list[tuple[str, bool, bool]] = []
    deleted: list[str] = []

    @bucket.on_expire("{user}/**")
    async def on_expire(info: ObjectInfo, user: Annotated[str, Path()]) -> None:
        expired.append((user, info.name))

    @bucket.on_change()
    async def on_change(info: ObjectInfo) -> None:
        changed.append((info.name, info.deleted, info.expired))

    @bucket.on_delete()
    async def on_delete(info: ObjectInfo) -> None:
        deleted.append(info.name)

    async with TestNatsBroker(broker):
        store = await buckets.open("uploads")
        await store.put("ann/1", b"1", ttl=MINUTE)
        await store.put("ann/2", b"2", ttl=2 * MINUTE)
        await advance(buckets, timedelta(seconds=59))
        assert expired == []
        assert await store.get("ann/1") == b"1"

        await advance(buckets, timedelta(seconds=1))
        assert expired == [("ann", "ann/1")]
        assert not await store.exists("ann/1")
        assert await store.get("ann/2") == b"2"
        await store.delete("ann/2")
        await advance(buckets, timedelta(hours=2))

    assert expired == [("ann", "ann/1")]
    assert deleted == ["ann/2"]
    assert changed == [
        ("ann/1", False, False),
        ("ann/2", False, False),
        ("ann/1", True, True),
        ("ann/2", True, False),
    ]


async def test_a_handler_s_error_surfaces_where_time_passes() -> None:
    bucket = Bucket("uploads", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    @bucket.on_expire()
    async def on_expire(info: ObjectInfo) -> None:
        raise LookupError("handler")

    async with TestNatsBroker(broker):
        store = await buckets.open("uploads")
        await store.put("a", b"1", ttl=MINUTE)
        with pytest.raises(LookupError, match="handler"):
            await advance(buckets, MINUTE)


@pytest.mark.parametrize("by", [-MINUTE, 60, "1m"])
async def test_time_passes_only_forwards(by: Any) -> None:
    bucket = Bucket("uploads", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, bucket)

    async with TestNatsBroker(broker):
        store = await buckets.open("uploads")
        await store.put("a", b"1", ttl=MINUTE)
        with pytest.raises(InvalidOptionError, match="takes the time that passes"):
            await advance(buckets, by)
        await advance(buckets, MINUTE)
        assert not await store.exists("a")


async def test_nobody_is_told_of_what_expires_after_the_test() -> None:
    broker, buckets, seen = listening()

    async with TestNatsBroker(broker):
        store = await buckets.open("uploads")
        await store.put("a", b"1", ttl=MINUTE)
        server = (await buckets.attached.bound()).server(None)
        assert isinstance(server, MemoryServer)
    await server.advance(MINUTE)

    assert seen.all == []


async def test_expirations_come_by_themselves_too() -> None:
    broker, buckets, seen = listening(object_ttl=1)

    async with TestNatsBroker(broker):
        store = await buckets.open("uploads")
        await store.put("a", b"1", ttl=1)

        assert await seen.wait_for(1) == ["a"]


async def test_the_bucket_s_ttl_is_reported_too() -> None:
    broker, buckets, seen = listening(ttl=MINUTE)

    async with TestNatsBroker(broker):
        store = await buckets.open("uploads")
        await store.put("a", b"1")
        await store.put("b", b"2", ttl=2 * MINUTE)
        await advance(buckets, MINUTE)

    assert sorted(seen.all) == ["a", "b"]


async def test_a_result_expires_after_its_ttl_or_goes_with_its_source() -> None:
    sources = Bucket("sources", object_ttl=True)
    results = Bucket("results", object_ttl=True)
    broker = NatsBroker()
    buckets = Buckets(broker, sources, results)

    @sources.on_put("{name}")
    @results.publisher("{name}", ttl=2 * MINUTE)
    async def make(info: ObjectInfo) -> bytes:
        return b"result"

    async with TestNatsBroker(broker):
        source, result = await buckets.open("sources"), await buckets.open("results")
        await source.put("stays", b"1")
        await source.put("expires", b"2", ttl=MINUTE)
        made = await result.get_info("stays")
        assert made.mtime is not None
        assert made.expires == made.mtime + 2 * MINUTE
        assert await result.exists("expires")

        await advance(buckets, MINUTE)
        assert [one.name for one in await result.list()] == ["stays"]
        await advance(buckets, MINUTE)
        assert await result.list() == []


def test_results_have_a_ttl_only_where_objects_do() -> None:
    with pytest.raises(InvalidOptionError, match="object_ttl"):
        Bucket("results").publisher("{name}", ttl=5)
    with pytest.raises(InvalidOptionError, match="ttl must be a timedelta"):
        Bucket("results", object_ttl=True).publisher("{name}", ttl=-5)


# --- on a server


async def test_a_durable_is_told_of_what_expired_while_it_was_away(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name, object_ttl=6)
    bucket.on_expire("*.tmp", durable="cleaner")(Names().take)
    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        for name in ("a.tmp", "b.tmp", "c.txt"):
            await store.put(name, b"1", ttl=6)
    outside = await ObjectStore.bind(nats_client, bucket_name)
    left = 3
    async with outside.watch() as watcher:
        async for info in watcher:
            left -= info.expired
            if not left:
                break

    again = Bucket(bucket_name, object_ttl=6)
    seen: Seen[ObjectInfo] = Seen()
    again.on_expire("*.tmp", durable="cleaner")(seen.add)
    async with running(nats_server.url, again) as buckets:
        await seen.wait_for(2)
        await soon(buckets.delete_bucket(bucket_name))

    assert sorted(one.name for one in seen.all) == ["a.tmp", "b.tmp"]
    assert all(one.expired and one.deleted for one in seen.all)


async def test_a_failed_handler_is_called_again_while_the_marker_lives(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name, object_ttl=4)
    attempts: Seen[str] = Seen()

    # The second attempt would come when the marker is gone.
    @bucket.on_expire(durable="cleaner", retry=Retry(attempts=3, delays=(0.1, 60)))
    async def fail(info: ObjectInfo) -> None:
        await attempts.add(info.name)
        if len(attempts.all) < 3:
            raise LookupError(info.name)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1", ttl=4)
        assert await attempts.wait_for(3) == ["a", "a", "a"]
        await soon(buckets.delete_bucket(bucket_name))


async def test_an_expiration_that_fails_until_its_marker_goes_is_dead_lettered(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    letters = await nats_client.subscribe(f"{bucket_name}.letters")
    await settled(nats_client)
    bucket = Bucket(bucket_name, object_ttl=2)

    @bucket.on_expire(
        durable="cleaner",
        retry=Retry(attempts=5, delays=(60,)),
        dead_letter=f"{bucket_name}.letters",
    )
    async def fail(info: ObjectInfo) -> None:
        raise LookupError(info.name)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1", ttl=2)
        letter = json.loads((await letters.next_msg(timeout=30)).data)
        await soon(buckets.delete_bucket(bucket_name))

    assert (letter["object"]["name"], letter["durable"]) == ("a", "cleaner")
    assert letter["object"]["expired"] is True
    assert letter["attempts"] < 5


async def test_a_dead_letter_says_when_the_object_expires(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    letters = await nats_client.subscribe(f"{bucket_name}.letters")
    await settled(nats_client)
    bucket = Bucket(bucket_name, object_ttl=True)

    @bucket.on_put(durable="reader", retry=None, dead_letter=f"{bucket_name}.letters")
    async def fail(info: ObjectInfo) -> None:
        raise LookupError(info.name)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1", ttl=MINUTE)
        info = await store.get_info("a")
        letter = json.loads((await letters.next_msg(timeout=30)).data)
        await soon(buckets.delete_bucket(bucket_name))

    assert info.expires is not None
    assert letter["object"]["expires"] == info.expires.isoformat()


async def test_an_expiration_whose_handler_outlives_the_marker_is_not_lost_silently(
    nats_server: NatsServer, nats_client: Client, bucket_name: str
) -> None:
    letters = await nats_client.subscribe(f"{bucket_name}.letters")
    await settled(nats_client)
    bucket = Bucket(bucket_name, object_ttl=1)
    gone = asyncio.Event()

    @bucket.on_expire(durable="cleaner", dead_letter=f"{bucket_name}.letters")
    async def fail(info: ObjectInfo) -> None:
        await gone.wait()
        raise LookupError(info.name)

    async with running(nats_server.url, bucket) as buckets:
        store = await store_of(buckets, bucket)
        await store.put("a", b"1", ttl=1)

        async def until_gone() -> None:
            seen = False
            while True:
                found = await store.list(include_deleted=True)
                seen = seen or any(one.expired for one in found)
                if seen and not found:
                    return
                await asyncio.sleep(0.02)

        await soon(until_gone())
        gone.set()
        letter = json.loads((await letters.next_msg(timeout=30)).data)
        await soon(buckets.delete_bucket(bucket_name))

    assert letter["object"]["name"] == "a"


async def test_what_expires_is_reported_in_a_bucket_that_follows(
    nats_server: NatsServer, bucket_name: str
) -> None:
    origin = Bucket(bucket_name, object_ttl=1)
    mirror = Bucket(f"{bucket_name}-eu", mirror=Mirror(bucket_name))
    attempts: Seen[str] = Seen()

    # The origin's marker is gone by then; this one stays.
    @mirror.on_expire(durable="cleaner", retry=Retry(attempts=2, delays=(1.5,)))
    async def fail_once(info: ObjectInfo) -> None:
        await attempts.add(info.name)
        if len(attempts.all) == 1:
            raise LookupError(info.name)

    async with running(nats_server.url, origin, mirror) as buckets:
        store = await store_of(buckets, origin)
        await store.put("a", b"1", ttl=1)
        assert await attempts.wait_for(2) == ["a", "a"]
        following = await store_of(buckets, mirror)
        assert not await following.exists("a")
        for bucket in (mirror, origin):
            await soon(buckets.delete_bucket(bucket))
