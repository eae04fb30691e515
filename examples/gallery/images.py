"""Thumbnails with Pillow, made from bytes that anyone may have sent."""

import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

# What browsers can display. Pillow supports many more formats, and each of them is code that
# hostile bytes could reach.
FORMATS = {"GIF": "image/gif", "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
MOST_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded: each pixel takes four bytes."""
LARGEST_SIDE = 640

# What Pillow's decoders raise for damaged content.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError)


class NotAPictureError(Exception):
    """The bytes cannot be made into a thumbnail; the message is for the uploader."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A reduced picture.

    Attributes:
        content: WebP.
        width: That of the original as displayed, in pixels.
        height: That of the original as displayed, in pixels.
    """

    content: bytes
    width: int
    height: int


def thumbnail(content: bytes) -> Thumbnail:
    """Reduce a picture; this takes CPU time, so call it in a thread.

    Raises:
        NotAPictureError: If it is not a picture that can be displayed.
    """
    try:
        with Image.open(BytesIO(content), formats=tuple(FORMATS)) as image:
            if image.width * image.height > MOST_PIXELS:
                msg = f"too many pixels: {image.width} by {image.height}"
                raise NotAPictureError(msg)
            # Decodes a JPEG at a fraction of its size; other formats do not support this.
            before = image.size
            image.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
            upright = ImageOps.exif_transpose(image)
            turned = (upright.width > upright.height) != (image.width > image.height)
            width, height = before[::-1] if turned else before
            upright.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            small = BytesIO()
            has_alpha = upright.has_transparency_data
            upright.convert("RGBA" if has_alpha else "RGB").save(small, "WEBP", quality=82)
    # Pillow checks the number first: it warns above its limit, and raises above twice that.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        msg = "too many pixels"
        raise NotAPictureError(msg) from None
    except UnidentifiedImageError:
        msg = "not a picture"
        raise NotAPictureError(msg) from None
    except _DAMAGED as error:
        msg = "a damaged picture"
        raise NotAPictureError(msg) from error
    return Thumbnail(small.getvalue(), width, height)
