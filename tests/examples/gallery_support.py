"""What the tests of the photo service ask it."""

from io import BytesIO
from typing import Any

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


async def put(
    client: httpx.AsyncClient, name: str, content: bytes, kind: str = "image/png"
) -> int:
    response = await client.put(
        "/photo", params={"name": name}, content=content, headers={"Content-Type": kind}
    )
    assert response.status_code == 201, response.text
    photo: int = response.json()["photo"]
    return photo
