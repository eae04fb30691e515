"""Handlers keep their type when a bucket decorates them."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated
from unittest.mock import MagicMock

from faststream import Depends, Path
from faststream.nats import NatsBroker, NatsMessage
from typing_extensions import assert_type

from faststream_objstore import (
    Bucket,
    FromBucket,
    FromObject,
    ObjectInfo,
    ObjectResponse,
    ObjectSource,
    ObjectStore,
    Retry,
)

photos = Bucket("photos", ttl=timedelta(days=30), max_bytes=10 * 1024**3, storage="file")
Photos = Annotated[ObjectStore, FromBucket("photos")]


def audit() -> None: ...


@photos.on_put(
    "{user}/*.png",
    durable="thumbnailer",
    replay=True,
    max_workers=4,
    retry=Retry(attempts=3, delays=(1, timedelta(minutes=1), 0.5)),
    dead_letter="photos.failed",
    ack_wait=timedelta(minutes=5),
    title="Thumbnails",
    description="Makes thumbnails",
    include_in_schema=False,
    dependencies=[Depends(audit)],
    no_reply=True,
)
async def thumbnail(photo: ObjectInfo, user: Annotated[str, Path()], source: Photos) -> int:
    return photo.size


@photos.on_delete()
def forget(photo: ObjectInfo) -> str:
    return photo.name


@photos.on_change("**", retry=None, ack_wait=10)
async def follow(photo: ObjectInfo, message: NatsMessage, *, loud: bool = False) -> bytes:
    return message.body if loud else b""


thumbs = Bucket("thumbs")
pages = thumbs.publisher(
    "{user}/{stem}.webp",
    follow=False,
    rebuild="v2",
    content_type="image/webp",
    headers={"Cache-Control": "private"},
    metadata={"made-by": "us"},
    chunk_size=64 * 1024,
)


@photos.on_put("{user}/{stem}.png")
@pages
async def shrink(image: Annotated[bytes, FromObject()]) -> bytes:
    return image


@photos.on_put("{user}/{stem}.png")
@thumbs.publisher("{user}/{stem}.txt")
async def pieces(photo: ObjectInfo) -> AsyncIterator[bytes]:
    yield photo.name.encode()


@photos.on_delete("{user}/{stem}.png")
@thumbs.publisher("{user}/{stem}.txt")
def chosen(photo: ObjectInfo) -> ObjectResponse:
    return ObjectResponse({"name": photo.name}, name="x", metadata={"a": "b"})


async def results(photo: ObjectInfo) -> None:
    assert_type(await shrink(b""), bytes)
    assert_type(pieces(photo), AsyncIterator[bytes])
    assert_type(chosen(photo), ObjectResponse)
    assert_type(pages.mock, MagicMock)
    assert_type(await pages.publish(b"", name="a"), ObjectInfo)
    assert_type(await pages.publish(iter([b""]), "a", source=photo), ObjectInfo)
    assert_type(photo.source, ObjectSource | None)


async def calls(photo: ObjectInfo, store: ObjectStore, message: NatsMessage) -> None:
    assert_type(await thumbnail(photo, "ann", store), int)
    assert_type(await thumbnail(photo, user="ann", source=store), int)
    assert_type(forget(photo), str)
    assert_type(await follow(photo, message, loud=True), bytes)
    assert_type(thumbnail.mock, MagicMock)
    await thumbnail.wait_call(timeout=1)
    await thumbnail.assert_called_once_with(photo)


async def iteration() -> None:
    subscriber = photos.on_put("*.png")
    assert_type(await subscriber.get_one(timeout=1), NatsMessage | None)
    async for message in subscriber:
        assert_type(message, NatsMessage)


def with_neighbours(broker: NatsBroker) -> None:
    @broker.publisher("thumbnails")
    @broker.subscriber("photos.made")
    @photos.on_put("*.png")
    async def both(photo: ObjectInfo) -> int:
        return photo.size

    assert_type(both.mock, MagicMock)


def declaration() -> None:
    assert_type(photos.name, str)
    assert_type(photos.declare, bool)
    assert_type(photos.update, bool)
    assert_type(photos.context_key, str)
    assert_type(photos.timeout, float | None)


async def wrong_uses(photo: ObjectInfo, store: ObjectStore) -> None:
    @photos.on_put  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async def undecorated(photo: ObjectInfo) -> None: ...

    photos.on_put(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    photos.on_put(durable=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    photos.on_put(max_workers="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    photos.on_put(retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    photos.on_put(queue="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    photos.on_delete(ack_wait="30s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    photos.on_change(replay=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(attempts="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(delays=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry().attempts = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Bucket()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Bucket("a", storage="disk")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Bucket("a", ttl="30d")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Bucket("a", "text")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    # What was decorated keeps its parameters.
    await thumbnail(photo)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await thumbnail(photo, 1, store)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await forget(photo)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
