"""A bucket that follows another over a leaf node, while the link between them fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import nats
import pytest
from faststream.nats import NatsBroker
from nats.aio.client import Client

from faststream_objstore import (
    Bucket,
    Buckets,
    LiveObject,
    Mirror,
    ObjectInfo,
    ObjectStore,
    ObjectStoreConfig,
    Sweep,
    wire,
)
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.exceptions import (
    BucketReadOnlyError,
    IncompleteObjectError,
    JetStreamNotEnabledError,
    ObjectNotFoundError,
    OriginRecreatedError,
)
from faststream_objstore.store.declare import bind_bucket
from tests.server.domains import Domains, domains
from tests.server.foreign import CLIENTS, ForeignError, started
from tests.store.support import KIB, eventually, pattern_bytes, soon

pytestmark = [pytest.mark.once, pytest.mark.timeout(300)]

CATCH_UP_SECONDS = 100.0

ORIGIN = Mirror("photos", domain="hub")


@pytest.fixture
async def joined() -> AsyncIterator[Domains]:
    async with domains() as both:
        yield both


@pytest.fixture
async def hub(joined: Domains) -> AsyncIterator[Client]:
    client = await nats.connect(joined.hub.url)
    yield client
    await client.close()


@pytest.fixture
async def edge(joined: Domains) -> AsyncIterator[Client]:
    client = await nats.connect(joined.edge.url)
    yield client
    await client.close()


@pytest.fixture
async def photos(hub: Client) -> ObjectStore:
    """The origin, in the domain of the hub."""
    return await bound(hub, ObjectStoreConfig(bucket="photos"))


async def bound(client: Client, config: ObjectStoreConfig) -> ObjectStore:
    return ObjectStore.on(await soon(bind_bucket(JetStreamServer(client), config)))


async def caught_up(mirror: ObjectStore) -> None:
    """Wait until it has everything; a server takes its time to ask its origin again."""

    async def is_level() -> None:
        while (await mirror.status(count=False)).lag != 0:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(is_level(), CATCH_UP_SECONDS)


async def chunks_of(store: ObjectStore) -> int:
    backend = await store._source()
    return sum((await soon(backend.subjects(f"$O.{store.bucket}.C.>"))).values())


@pytest.mark.parametrize("name", ["photos-eu", "photos"])
async def test_a_mirror_in_another_domain_has_what_its_origin_has(
    edge: Client, photos: ObjectStore, name: str
) -> None:
    body = pattern_bytes(500 * KIB)
    await soon(photos.put("before", body))
    mirror = await bound(edge, ObjectStoreConfig(bucket=name, mirror=ORIGIN))
    seen = await soon(photos.put("after", b"after"))
    await caught_up(mirror)
    status = await soon(mirror.status())

    assert await soon(mirror.get("before")) == body
    assert await soon(mirror.get("after")) == b"after"
    assert (status.origins, status.count) == ((ORIGIN,), 2)
    # A mirror keeps the origin's revisions and times.
    there = await soon(mirror.get_info("after"))
    assert (there.bucket, there.revision) == (name, seen.revision)
    with pytest.raises(BucketReadOnlyError, match="'photos' in the domain 'hub'; write"):
        await soon(mirror.put("x", b""))
    # The remedy.
    (origin,) = await soon(mirror.origins())
    await soon(origin.put("through", b"the leaf node"))
    await caught_up(mirror)
    assert await soon(mirror.get("through")) == b"the leaf node"


async def test_a_service_misses_nothing_while_the_link_is_cut_under_writes(
    joined: Domains, edge: Client, photos: ObjectStore
) -> None:
    eu = Bucket("photos-eu", mirror=ORIGIN)
    handled: dict[str, list[ObjectInfo]] = {}
    contents: dict[str, bytes] = {}
    settings: list[bytes | None] = []

    @eu.on_change(durable="indexer", max_workers=4)
    async def index(info: ObjectInfo) -> None:
        handled.setdefault(info.name, []).append(info)
        if not info.deleted:
            contents[info.name] = await (await buckets.open("photos-eu")).get(info.name)

    @eu.on_put("live/*")
    async def on_put(
        info: ObjectInfo,
        current: Annotated[bytes | None, LiveObject("photos-eu", "settings", required=False)],
    ) -> None:
        handled.setdefault("live", []).append(info)
        settings.append(current)

    broker = NatsBroker(joined.edge.url)
    buckets = Buckets(broker, eu)
    expected: dict[str, bytes] = {}

    async def write(round_: int) -> None:
        for number in range(25):
            name = f"object-{number}"
            if number % 5 == round_ % 5:
                await photos.delete(name)
                expected.pop(name, None)
                continue
            body = pattern_bytes(number * 20 * KIB) + f"{round_}".encode()
            await photos.put(name, body)
            expected[name] = body
        await photos.put("settings", f"{round_}")
        expected["settings"] = f"{round_}".encode()
        await photos.put(f"live/{round_}", b"x")
        expected[f"live/{round_}"] = b"x"

    for number in range(25):
        await soon(photos.put(f"object-{number}", b"first"))
        expected[f"object-{number}"] = b"first"
    async with broker:
        await broker.start()
        mirror = await buckets.open("photos-eu")
        await caught_up(mirror)
        for round_ in range(4):
            writing = asyncio.ensure_future(write(round_))
            await asyncio.wait({writing}, timeout=0.05)
            joined.link.take_down()
            await soon(writing)
            assert (await soon(mirror.status())).lag is None
            # What has arrived is readable without the origin.
            for info in await soon(mirror.list()):
                await soon(mirror.get(info))
            joined.link.restore()
            await caught_up(mirror)

        final = {info.name: info for info in await soon(photos.list(include_deleted=True))}

        async def has_handled_all() -> bool:
            return (
                all(
                    name in handled and handled[name][-1].revision == info.revision
                    for name, info in final.items()
                )
                and contents == contents | expected
            )

        await eventually(has_handled_all)
        for name, body in expected.items():
            assert await soon(mirror.get(name)) == body
        assert [one.name for one in await soon(mirror.list())] == sorted(expected)
        assert [one.name for one in handled["live"]] == [f"live/{n}" for n in range(4)]
        (live,) = buckets.live_objects

        async def has_followed() -> bool:
            return bool(live.get(required=True) == b"3")

        await eventually(has_followed)


def service_that_requires_settings(joined: Domains) -> NatsBroker:
    """A broker at the edge with a new mirror, and a handler that keeps an object of it."""
    broker = NatsBroker(joined.edge.url)
    Buckets(broker, Bucket("photos-eu", mirror=ORIGIN))

    @broker.subscriber("theme")
    async def theme(settings: Annotated[bytes, LiveObject("photos-eu", "settings")]) -> bytes:
        return settings

    return broker


async def test_a_service_that_starts_with_a_new_mirror_waits_for_what_it_requires(
    joined: Domains, hub: Client, photos: ObjectStore
) -> None:
    for number in range(100):
        await soon(photos.put(f"object-{number}", pattern_bytes(200 * KIB)))
    await soon(photos.put("settings", b"dark"))
    broker = service_that_requires_settings(joined)
    async with broker:
        await soon(broker.start())
        answer = await soon(broker.request(b"", "theme", timeout=10))
        assert answer.body == b"dark"


async def test_a_service_does_not_start_without_what_neither_mirror_nor_origin_has(
    joined: Domains, photos: ObjectStore
) -> None:
    await soon(photos.put("other", b"x"))
    broker = service_that_requires_settings(joined)
    with pytest.raises(ObjectNotFoundError, match="put it into the bucket 'photos' in the"):
        await soon(broker.start())
    await broker.stop()


async def test_the_origin_answers_all_clients_while_a_bucket_of_its_domain_follows_it(
    hub: Client, photos: ObjectStore
) -> None:
    await soon(photos.put("cat.png", b"cat"))
    # Its own domain, named.
    mirror = await bound(hub, ObjectStoreConfig(bucket="copy", mirror=ORIGIN))
    await caught_up(mirror)
    assert (await soon(mirror.status())).origins == (Mirror("photos"),)
    subject = "$JS.API.DIRECT.GET.OBJ_photos.$O.photos.M.Y2F0LnBuZw=="
    replies = await soon(
        asyncio.gather(*[hub.request(subject, b"", timeout=10) for _ in range(300)])
    )

    assert [one.headers for one in replies if "Status" in (one.headers or {})] == []
    store = await hub.jetstream().object_store("photos")
    for _ in range(50):
        assert (await soon(store.get("cat.png"))).data == b"cat"
    assert await soon(mirror.get("cat.png")) == b"cat"


async def test_a_service_that_declares_a_mirror_sweeps_it(
    joined: Domains, edge: Client, photos: ObjectStore
) -> None:
    mirror = await bound(edge, ObjectStoreConfig(bucket="photos-eu", mirror=ORIGIN))
    await soon(photos.put("name", b"old"))
    await caught_up(mirror)
    await soon(photos.put("name", b"new"))
    await caught_up(mirror)
    assert await chunks_of(mirror) == 2
    broker = NatsBroker(joined.edge.url)
    buckets = Buckets(broker, Bucket("photos-eu", mirror=ORIGIN), Bucket("own"))
    async with broker:
        await broker.start()

        async def is_swept() -> bool:
            return await chunks_of(mirror) == 1

        await eventually(is_swept)
        assert await soon((await buckets.open("photos-eu")).get("name")) == b"new"


@pytest.mark.parametrize("sweep", [False, Sweep(every=timedelta(days=1))])
def test_who_sweeps_a_mirror_can_be_said(sweep: Any) -> None:
    Buckets(Bucket("photos-eu", mirror=ORIGIN), sweep=sweep)


async def test_a_mirror_whose_origin_is_out_of_reach_is_not_swept(
    joined: Domains, edge: Client, photos: ObjectStore
) -> None:
    await soon(photos.put("name", b"old"))
    mirror = await bound(edge, ObjectStoreConfig(bucket="photos-eu", mirror=ORIGIN))
    await caught_up(mirror)
    joined.link.take_down()

    with pytest.raises(JetStreamNotEnabledError, match="photos"):
        await soon(mirror.sweep())
    assert (await soon(mirror.status())).lag is None
    assert await soon(mirror.get("name")) == b"old"


async def test_a_sweep_while_the_mirror_catches_up_keeps_what_is_needed(
    joined: Domains, edge: Client, photos: ObjectStore
) -> None:
    old = pattern_bytes(300 * KIB)
    await soon(photos.put("name", old))
    mirror = await bound(edge, ObjectStoreConfig(bucket="photos-eu", mirror=ORIGIN))
    await caught_up(mirror)
    joined.link.take_down()
    # The origin no longer has the chunks of what the mirror has as the newest version.
    await soon(photos.put("name", b"new"))
    joined.link.restore()
    freed: list[int] = []

    async def is_swept() -> object:
        with suppress(JetStreamNotEnabledError):
            freed.append(await mirror.sweep())
        return freed

    await eventually(is_swept)
    assert freed == [300 * KIB]
    assert await soon(mirror.get("name")) == b"new"


async def test_a_mirror_whose_origin_was_made_anew_can_be_made_anew_too(
    hub: Client, edge: Client, photos: ObjectStore
) -> None:
    config = ObjectStoreConfig(bucket="photos-eu", mirror=ORIGIN)
    mirror = await bound(edge, config)
    for number in range(3):
        await soon(photos.put(f"old-{number}", b"old"))
    await caught_up(mirror)
    await soon(JetStreamServer(hub).delete("photos"))
    photos = await bound(hub, ObjectStoreConfig(bucket="photos"))
    await soon(photos.put("new", b"new"))

    with pytest.raises(OriginRecreatedError, match="Delete 'photos-eu', and declare it again"):
        await soon(mirror.status())
    await soon(JetStreamServer(edge).delete("photos-eu"))
    mirror = await bound(edge, config)
    await caught_up(mirror)
    assert [one.name for one in await soon(mirror.list())] == ["new"]


@pytest.mark.parametrize("name", list(CLIENTS))
async def test_other_clients_read_a_mirror_as_the_table_of_the_page_says(
    joined: Domains, hub: Client, edge: Client, photos: ObjectStore, name: str
) -> None:
    body = pattern_bytes(500 * KIB)
    await soon(photos.put("big", body))
    await soon(photos.put("small", b"small"))
    await soon(photos.put("gone", b"gone"))
    await soon(photos.delete("gone"))
    await soon(photos.add_link("link", "small"))
    renamed = await bound(edge, ObjectStoreConfig(bucket="photos-eu", mirror=ORIGIN))
    same = await bound(edge, ObjectStoreConfig(bucket="photos", mirror=ORIGIN))
    for mirror in (renamed, same):
        await caught_up(mirror)
    client = await started(name, joined.edge.url)
    try:
        for bucket in ("photos", "photos-eu"):
            assert (await client("info", bucket, name="big"))["size"] == 512_000
            if name == "nats-py":
                # It looks for a stream with the subject of the chunks; a mirror has none.
                with pytest.raises(ForeignError, match="NotFound"):
                    await client.get(bucket, "big")
                assert await client("list", bucket) == []
                continue
            assert await client("list", bucket) == ["big", "link", "small"]
            if name == "natsrpy" and bucket == "photos-eu":
                # It reads the chunks of the bucket that the metadata names.
                with pytest.raises((ForeignError, asyncio.TimeoutError)):
                    await client.get(bucket, "big")
                break
            assert await client.get(bucket, "big") == body
            assert await client.get(bucket, "link") == b"small"
            with pytest.raises(ForeignError):
                await client.get(bucket, "gone")
        else:
            with pytest.raises(ForeignError):
                await client.put("photos-eu", "new", b"new")
    finally:
        await client.stop()
    assert await soon(renamed.get("big")) == body


async def test_what_expires_at_the_origin_expires_in_its_mirror(
    joined: Domains, hub: Client, edge: Client
) -> None:
    short = timedelta(seconds=2)
    photos = await bound(hub, ObjectStoreConfig(bucket="photos", object_ttl=short))
    eu = Bucket("photos-eu", mirror=ORIGIN)
    expired: asyncio.Queue[str] = asyncio.Queue()

    @eu.on_expire(durable="forgetter")
    async def forget(info: ObjectInfo) -> None:
        expired.put_nowait(info.name)

    broker = NatsBroker(joined.edge.url)
    buckets = Buckets(broker, eu, sweep=False)
    async with broker:
        await broker.start()
        mirror = await buckets.open("photos-eu")
        await soon(photos.put("connected", b"1", ttl=short))
        await soon(photos.put("stays", b"2"))
        assert await soon(expired.get()) == "connected"
        assert [one.name for one in await soon(mirror.list())] == ["stays"]

        # The marker has gone from the origin before the link is back.
        await soon(photos.put("cut off", b"3", ttl=short))
        await caught_up(mirror)
        joined.link.take_down()
        origin = await photos._source()

        async def is_forgotten() -> bool:
            return set(await origin.subjects("$O.photos.M.>")) == {"$O.photos.M.c3RheXM="}

        await eventually(is_forgotten)
        assert not await soon(mirror.exists("cut off"))
        assert [one.name for one in await soon(mirror.list())] == ["stays"]
        joined.link.restore()
        await caught_up(mirror)
        await soon(mirror.sweep())
        here = await mirror._source()
        assert set(await here.subjects("$O.photos-eu.M.>")) == {"$O.photos-eu.M.c3RheXM="}
        assert await soon(mirror.get("stays")) == b"2"


async def test_an_object_that_found_no_room_in_a_mirror_says_what_to_do(
    edge: Client, photos: ObjectStore
) -> None:
    stream = wire.stream_config(ObjectStoreConfig(bucket="photos-eu", mirror=ORIGIN))
    # As when the account's storage is used up.
    small = stream | {"max_bytes": 10_000}
    backend = await soon(JetStreamServer(edge).create("photos-eu", small))
    mirror = ObjectStore.on(backend)
    await soon(photos.put("fits", b"fits"))
    await caught_up(mirror)
    await soon(photos.put("too large", b"x" * 20_000))

    async def is_listed() -> bool:
        return len(await mirror.list()) == 2

    await eventually(is_listed)
    assert await soon(mirror.get("fits")) == b"fits"
    with pytest.raises(IncompleteObjectError, match="no room here: delete 'photos-eu' and"):
        await soon(mirror.get("too large"))


async def test_the_health_check_reports_an_origin_made_anew_and_none_out_of_reach(
    joined: Domains, hub: Client, photos: ObjectStore
) -> None:
    await soon(photos.put("old", b"old"))
    broker = NatsBroker(joined.edge.url)
    buckets = Buckets(broker, Bucket("photos-eu", mirror=ORIGIN))
    async with broker:
        await broker.start()
        await caught_up(await buckets.open("photos-eu"))
        assert (await soon(buckets.health())).ok
        joined.link.take_down()
        assert (await soon(buckets.health())).ok
        await soon(JetStreamServer(hub).delete("photos"))
        await bound(hub, ObjectStoreConfig(bucket="photos"))
        joined.link.restore()

        async def is_reported() -> bool:
            return not (await buckets.health()).ok

        await eventually(is_reported)
        (problem,) = (await soon(buckets.health())).problems
        assert (problem.kind, problem.bucket) == ("origin_recreated", "photos-eu")
        assert "declare it again" in problem.detail


async def test_sources_in_another_domain_are_followed_after_the_link_was_cut(
    joined: Domains, hub: Client, edge: Client, photos: ObjectStore
) -> None:
    scans = await bound(hub, ObjectStoreConfig(bucket="scans"))
    origins = [ORIGIN, Mirror("scans", domain="hub")]
    every = await bound(edge, ObjectStoreConfig(bucket="all", sources=origins))
    await soon(photos.put("cat.png", b"cat"))
    await soon(scans.put("page", b"page"))
    await caught_up(every)
    joined.link.take_down()
    await soon(photos.put("dog.png", b"dog"))
    await soon(scans.delete("page"))
    assert (await soon(every.status())).lag is None
    joined.link.restore()
    await caught_up(every)

    assert [one.name for one in await soon(every.list())] == ["cat.png", "dog.png"]
    assert await soon(every.get("dog.png")) == b"dog"
    assert await soon(every.sweep()) == 4
