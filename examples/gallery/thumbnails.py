"""The buckets, and what happens when an object in them changes."""

import asyncio
from typing import Annotated, Any

from faststream.nats import NatsRouter
from pydantic import BaseModel

from faststream_objstore import (
    Bucket,
    FromBucket,
    ObjectInfo,
    ObjectResponse,
    ObjectStore,
    ObjectTooLargeError,
    Retry,
)

from .images import NotAPictureError, thumbnail
from .live import Live, event

LARGEST_PHOTO = 25 * 1024**2
"""Bytes of an upload."""

AS_PICTURE = {
    "Content-Type": "image/webp",
    # The page sends the revision in the query, so cached content is never out of date.
    "Cache-Control": "private, max-age=31536000, immutable",
}

# After 5 s, the browser is told that NATS does not respond.
photos = Bucket("photos", description="Pictures as they were uploaded", timeout=5)
thumbs = Bucket("thumbs", description="A thumbnail of each photo, under its name", timeout=5)

Photos = Annotated[ObjectStore, FromBucket(photos)]
Thumbs = Annotated[ObjectStore, FromBucket(thumbs)]

router = NatsRouter()
live = Live()


# One of the replicas makes the thumbnail, and tries again if it fails. The thumbnail of an
# older version never replaces that of a newer one, and is deleted with its photo.
thumbnail_of = thumbs.publisher("{name}", headers=AS_PICTURE)


@photos.on_put(
    "{name:path}",
    durable="thumbnailer",
    replay=True,
    max_workers=2,
    retry=Retry(attempts=3, delays=(1, 5)),
    dead_letter="gallery.failed",
)
@thumbnail_of
async def make_thumbnail(photo: ObjectInfo, source: Photos) -> ObjectResponse:
    """Make the thumbnail of a photo, or explain why there is none."""
    try:
        if photo.is_link():
            raise NotAPictureError("a link")
        # Exactly the version that fired. A newer one ends this call, and gets its own.
        content = await source.get(photo, max_size=LARGEST_PHOTO)
        made = await asyncio.to_thread(thumbnail, content)
    except NotAPictureError as error:
        return without_thumbnail(photo, str(error))
    except ObjectTooLargeError:
        return without_thumbnail(photo, "too large")
    return ObjectResponse(
        made.content,
        metadata={
            "size": str(photo.size),
            "width": str(made.width),
            "height": str(made.height),
        },
    )


class DeadLetter(BaseModel):
    object: ObjectInfo
    error: str


# What failed three times for an unforeseen reason is shown where people can see it.
@router.subscriber("gallery.failed", queue="gallery")
async def give_up(letter: DeadLetter) -> None:
    """Show a photo whose thumbnail could not be made."""
    shown = without_thumbnail(letter.object, "no thumbnail could be made")
    await thumbnail_of.publish(
        shown.body,
        name=letter.object.name,
        metadata=shown.metadata,
        # Unless a newer version has one by now, or the photo was deleted.
        source=letter.object,
    )


def without_thumbnail(photo: ObjectInfo, why: str) -> ObjectResponse:
    """The placeholder for a photo that has no thumbnail."""
    return ObjectResponse(b"", metadata={"size": str(photo.size), "error": why})


# Not durable: every replica is told of every thumbnail, and tells its own browsers.
@thumbs.on_change()
async def tell_browsers(thumb: ObjectInfo) -> None:
    """Tell the browsers what the grid should show."""
    live.publish(event("tile", tile(thumb), number=thumb.revision))


def tile(thumb: ObjectInfo) -> dict[str, Any]:
    """What the page shows for a thumbnail."""
    known = thumb.metadata or {}

    def number(key: str) -> int:
        # Anyone who may write to the bucket may write anything.
        text = known.get(key, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0

    return {
        "name": thumb.name,
        "revision": thumb.revision,
        "deleted": thumb.deleted,
        "photo": thumb.source.revision if thumb.source else 0,
        "size": number("size"),
        "width": number("width"),
        "height": number("height"),
        "error": known.get("error"),
    }
