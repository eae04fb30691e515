"""What the tests of the photo service ask it."""

from io import BytesIO
from typing import Any
from urllib.parse import quote

import httpx
from PIL import Image


def picture(width: int = 1000, height: int = 500, kind: str = "PNG", **options: Any) -> bytes:
    content = BytesIO()
    Image.new("RGB", (width, height), "teal").save(content, kind, **options)
    return content.getvalue()


async def tiles(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    response = await client.get("/tiles")
    assert response.status_code == 200, response.text
    return {tile["name"]: tile for tile in response.json()["tiles"]}


def photo_of(name: str) -> str:
    """The path of a photo; each character that could mean something else is encoded."""
    return "/photos/" + quote(name, safe="").replace(".", "%2E")


def thumb_of(name: str) -> str:
    return photo_of(name).replace("photos", "thumbs", 1)


async def put(
    client: httpx.AsyncClient, name: str, content: bytes, kind: str = "image/png"
) -> int:
    """Upload a photo; its revision."""
    response = await client.put(
        photo_of(name), content=content, headers={"Content-Type": kind}
    )
    assert response.status_code in {201, 204}, response.text
    return int(response.headers["etag"].strip('"').partition("-")[0])
