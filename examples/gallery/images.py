"""Thumbnails with Pillow, of bytes that anybody may have sent."""

import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

# What browsers show. Pillow knows many more formats, and each is code that hostile bytes
# could reach.
FORMATS = {"GIF": "image/gif", "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
MOST_PIXELS = 50_000_000
"""A picture of more is refused before it is decoded: it takes four bytes for each."""
LARGEST_SIDE = 640

# What Pillow's decoders raise on content that is damaged.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError)


class NotAPictureError(Exception):
    """The bytes have no thumbnail; the message is for whoever uploaded them."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture made small.

    Attributes:
        content: WebP.
        width: Of the original, pixels, as it is shown.
        height: Likewise.
    """

    content: bytes
    width: int
    height: int


def thumbnail(content: bytes) -> Thumbnail:
    """Make a picture small; takes CPU time, so call it in a thread.

    Raises:
        NotAPictureError: If it is none that can be shown.
    """
    try:
        with Image.open(BytesIO(content), formats=tuple(FORMATS)) as image:
            if image.width * image.height > MOST_PIXELS:
                msg = f"too many pixels: {image.width} by {image.height}"
                raise NotAPictureError(msg)
            # Lets a JPEG be decoded at a fraction of its size; nothing else has it.
            before = image.size
            image.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
            upright = ImageOps.exif_transpose(image)
            turned = (upright.width > upright.height) != (image.width > image.height)
            width, height = before[::-1] if turned else before
            upright.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            small = BytesIO()
            has_alpha = upright.has_transparency_data
            upright.convert("RGBA" if has_alpha else "RGB").save(small, "WEBP", quality=82)
    # Pillow looks at the number first; it warns, and from twice as many on it raises.
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
