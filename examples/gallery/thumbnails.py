"""The buckets, and what happens when an object in them changes."""

import asyncio
from typing import Annotated, Any

from faststream.nats import NatsRouter
from pydantic import BaseModel

from faststream_objstore import (
    Bucket,
    FromBucket,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    ObjectTooLargeError,
    Retry,
)

from .images import NotAPictureError, Thumbnail, thumbnail
from .live import Live, event

LARGEST_PHOTO = 25 * 1024**2
"""Bytes of an upload."""

AS_PICTURE = {
    "Content-Type": "image/webp",
    # The page asks with the revision in the query, so what is cached is never out of date.
    "Cache-Control": "private, max-age=31536000, immutable",
}

# A browser is told after 5 s that NATS does not answer.
photos = Bucket("photos", description="Pictures as they were uploaded", timeout=5)
thumbs = Bucket("thumbs", description="A thumbnail of each photo, under its name", timeout=5)

Photos = Annotated[ObjectStore, FromBucket(photos)]
Thumbs = Annotated[ObjectStore, FromBucket(thumbs)]

router = NatsRouter()
live = Live()


# Durable: of all replicas, one makes the thumbnail, and tries again if it fails.
@photos.on_put(
    durable="thumbnailer",
    replay=True,
    max_workers=2,
    retry=Retry(attempts=3, delays=(1, 5)),
    dead_letter="gallery.failed",
)
async def make_thumbnail(photo: ObjectInfo, source: Photos, target: Thumbs) -> None:
    """Make the thumbnail of a photo, or say why there is none."""
    replaces = await newest(target, photo.name)
    try:
        if photo.is_link():
            raise NotAPictureError("a link")
        # Exactly the version that fired. A newer one ends this call; it has its own.
        content = await source.get(photo, max_size=LARGEST_PHOTO)
        made: Thumbnail | str = await asyncio.to_thread(thumbnail, content)
    except NotAPictureError as error:
        made = str(error)
    except ObjectTooLargeError:
        made = "too large"
    await store(made, photo, source, target, replaces)


@photos.on_delete(durable="cleaner")
async def remove_thumbnail(photo: ObjectInfo, target: Thumbs) -> None:
    """Delete the thumbnail of a photo that was deleted."""
    if await target.exists(photo.name):
        await target.delete(photo.name)


class DeadLetter(BaseModel):
    object: ObjectInfo
    error: str


# What failed three times for a reason that nobody foresaw ends where people can see it.
@router.subscriber("gallery.failed", queue="gallery")
async def give_up(letter: DeadLetter, source: Photos, target: Thumbs) -> None:
    """Show a photo whose thumbnail could not be made."""
    replaces = await newest(target, letter.object.name)
    photo = await source.get_info(letter.object.name)
    if photo.revision == letter.object.revision:
        await store("no thumbnail could be made", photo, source, target, replaces)


# Not durable: every replica hears of every thumbnail, and tells the browsers that it has.
@thumbs.on_change()
async def tell_browsers(thumb: ObjectInfo) -> None:
    """Tell the browsers what the grid has to show."""
    live.publish(event("tile", tile(thumb), number=thumb.revision))


async def newest(store: ObjectStore, name: str) -> ObjectInfo | None:
    """The newest version of an object, which may be its deletion."""
    try:
        return await store.get_info(name, show_deleted=True)
    except ObjectNotFoundError:
        return None


async def store(
    made: Thumbnail | str,
    photo: ObjectInfo,
    source: ObjectStore,
    target: ObjectStore,
    replaces: ObjectInfo | None,
) -> None:
    """Store a thumbnail, or the reason why there is none.

    `replaces` was looked up before the photo was read, so the thumbnail of an older version
    never replaces that of a newer one, whichever replica is faster.
    """
    known = {"photo": str(photo.revision), "size": str(photo.size)}
    if isinstance(made, str):
        content, known["error"] = b"", made
    else:
        content = made.content
        known |= {"width": str(made.width), "height": str(made.height)}
    await target.put(
        photo.name, content, headers=AS_PICTURE, metadata=known, mode=replaces or "create"
    )
    # Deleted in between, and perhaps before there was a thumbnail to remove.
    if not await source.exists(photo.name):
        await target.delete(photo.name)


def tile(thumb: ObjectInfo) -> dict[str, Any]:
    """What the page shows of a thumbnail."""
    known = thumb.metadata or {}

    def number(key: str) -> int:
        # Whoever may write to the bucket may write anything.
        text = known.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0

    return {
        "name": thumb.name,
        "revision": thumb.revision,
        "deleted": thumb.deleted,
        "photo": number("photo"),
        "size": number("size"),
        "width": number("width"),
        "height": number("height"),
        "error": known.get("error"),
    }
