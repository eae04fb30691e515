"""Behind nginx, configured as the page on production says."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi
from tests.http.nginx import nginx
from tests.http.support import pattern_bytes, serve

PRODUCTION = Path(__file__).parents[2] / "docs" / "production.md"
PROXY = (
    "client_max_body_size 1m; proxy_request_buffering off; proxy_buffering off; "
    "location / {{ proxy_pass {base}; proxy_http_version 1.1; }}"
)


@pytest.mark.parametrize("name", ["ann/cat.png", "a//b", "a/../b", "/a", "100% ü#?"])
async def test_names_ranges_and_conditions_pass_a_proxy(
    store: ObjectStore, options: dict[str, Any], tmp_path: Path, name: str
) -> None:
    content = pattern_bytes(500_000)
    path = "/" + quote(name, safe="")
    async with (
        serve(make_bucket_asgi(store, **options)) as base,
        nginx(tmp_path / "nginx", PROXY.format(base=base)) as proxy,
        httpx.AsyncClient(base_url=proxy) as client,
    ):
        made = await client.put(path, content=content)
        etag = made.headers["etag"]
        part = await client.get(path, headers={"Range": "bytes=5-300004", "If-Range": etag})
        same = await client.get(path, headers={"If-None-Match": etag})
        late = await client.put(path, content=b"x", headers={"If-Match": '"1-0"'})
        large = await client.put(path, content=bytes(1_100_000))

    assert (made.status_code, [one.name for one in await store.list()]) == (201, [name])
    assert (part.status_code, part.content) == (206, content[5:300_005])
    assert [one.status_code for one in (same, late, large)] == [304, 412, 413]
    assert await store.get(name) == content


def test_the_page_on_production_says_it_so() -> None:
    page = PRODUCTION.read_text()

    assert "proxy_request_buffering off; proxy_buffering off" in page
    assert "client_max_body_size" in page
