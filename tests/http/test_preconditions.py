"""RFC 9110's preconditions and ranges beside nginx and Starlette: where we differ, and why."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

from faststream_objstore import ObjectStore
from faststream_objstore.http import make_bucket_asgi
from tests.http.nginx import nginx
from tests.http.support import serve

PAST = "Thu, 01 Jan 1970 00:00:00 GMT"
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"
ETAG = "ETAG"
"""Stands for the server's own etag, as `LM` does for its `Last-Modified`."""
LM = "LM"
OTHER = '"x"'
CONTENT = bytes(range(250)) * 4

Headers = dict[str, str]

FILES = "FileResponse looks at no preconditions; StaticFiles does, at some"
LATER = "nginx compares for equality, and RFC 9110 (13.1.3) says earlier or the same"
FIRST = "nginx lets each header decide; RFC 9110 (13.2.2) lets the etags alone decide"
BAD_DATE = "what is no date is to be ignored (13.1.4); nginx refuses"
BY_DATE = "a date cannot tell two versions of one second apart (8.8.2.2)"
SYNTAX = "a Range that does not parse may be ignored or refused (14.2)"
UNIT = "a range unit that is not known must be ignored (14.2)"
SOME = "it is enough that one range exists (14.1.2)"


class Row(NamedTuple):
    headers: Headers
    ours: int
    nginx: int
    file: int
    why: str = ""


def part(**more: str) -> Headers:
    return {"Range": "bytes=0-9", **{key.replace("_", "-"): one for key, one in more.items()}}


ROWS = [
    Row({}, 200, 200, 200),
    Row({"If-Match": ETAG}, 200, 200, 200),
    Row({"If-Match": "*"}, 200, 200, 200),
    Row({"If-Match": OTHER}, 412, 412, 200, FILES),
    Row({"If-Match": f"{OTHER}, {ETAG}"}, 200, 200, 200),
    Row({"If-Match": f"W/{ETAG}"}, 412, 412, 200, FILES),
    Row({"If-Match": "x"}, 412, 412, 200, FILES),
    Row({"If-Unmodified-Since": LM}, 200, 200, 200),
    Row({"If-Unmodified-Since": PAST}, 412, 412, 200, FILES),
    Row({"If-Unmodified-Since": FUTURE}, 200, 200, 200),
    Row({"If-Unmodified-Since": "x"}, 200, 412, 200, BAD_DATE),
    Row({"If-None-Match": ETAG}, 304, 304, 200, FILES),
    Row({"If-None-Match": "*"}, 304, 304, 200, FILES),
    Row({"If-None-Match": OTHER}, 200, 200, 200),
    Row({"If-None-Match": f"{OTHER}, {ETAG}"}, 304, 304, 200, FILES),
    Row({"If-None-Match": f"W/{ETAG}"}, 304, 304, 200, FILES),
    Row({"If-None-Match": "x"}, 200, 200, 200),
    Row({"If-Modified-Since": LM}, 304, 304, 200, FILES),
    Row({"If-Modified-Since": PAST}, 200, 200, 200),
    Row({"If-Modified-Since": FUTURE}, 304, 200, 200, LATER),
    Row({"If-Modified-Since": "x"}, 200, 200, 200),
    Row({"If-None-Match": OTHER, "If-Modified-Since": LM}, 200, 200, 200),
    Row({"If-None-Match": ETAG, "If-Modified-Since": PAST}, 304, 200, 200, FIRST),
    Row({"If-Match": ETAG, "If-Unmodified-Since": PAST}, 200, 412, 200, FIRST),
    Row({"If-Match": OTHER, "If-None-Match": ETAG}, 412, 412, 200, FILES),
    Row({"If-Match": ETAG, "If-None-Match": ETAG}, 304, 304, 200, FILES),
    Row({"If-Unmodified-Since": PAST, "If-None-Match": ETAG}, 412, 412, 200, FILES),
    Row(part(), 206, 206, 206),
    Row(part(If_Range=ETAG), 206, 206, 206),
    Row(part(If_Range=OTHER), 200, 200, 200),
    Row(part(If_Range=f"W/{ETAG}"), 200, 200, 200),
    Row(part(If_Range=LM), 200, 206, 206, BY_DATE),
    Row(part(If_Range=PAST), 200, 200, 200),
    Row(part(If_None_Match=ETAG), 304, 304, 206, FILES),
    Row(part(If_Match=OTHER), 412, 412, 206, FILES),
    Row({"Range": "bytes=5000-"}, 416, 416, 416),
    Row({"Range": "bytes=5000-", "If-Match": OTHER}, 412, 412, 416, FILES),
    Row({"Range": "bytes=5000-", "If-None-Match": ETAG}, 304, 304, 416, FILES),
    Row({"Range": "bytes=5000-", "If-Range": OTHER}, 200, 200, 200),
    Row({"Range": "bytes=x"}, 200, 416, 400, SYNTAX),
    Row({"Range": "bytes=9-5"}, 200, 416, 400, SYNTAX),
    Row({"Range": "lines=1-2"}, 200, 200, 400, UNIT),
    Row({"Range": "bytes=0-1,5-6"}, 206, 206, 206),
    Row({"Range": "bytes=0-1,5000-"}, 206, 206, 416, SOME),
    Row({"Range": "bytes=-5"}, 206, 206, 206),
    Row({"Range": "bytes=-0"}, 416, 416, 416),
    Row({"Range": "bytes=-5000"}, 206, 206, 206),
    Row({"Range": "bytes=0-5000"}, 206, 206, 206),
]


@pytest.fixture
async def servers(store: ObjectStore, tmp_path: Path) -> AsyncIterator[list[str]]:
    """The same content as an object, as nginx serves a file, and as Starlette does."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "a").write_bytes(CONTENT)
    await store.put("a", CONTENT)
    files = Starlette(routes=[Route("/a", lambda _: FileResponse(folder / "a"))])
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(one)
            for one in (
                serve(make_bucket_asgi(store)),
                nginx(tmp_path / "nginx", f"root {folder};"),
                serve(files),
            )
        ]


async def answers(
    client: httpx.AsyncClient, servers: list[str], method: str, headers: Headers
) -> list[httpx.Response]:
    found = []
    for base in servers:
        said = (await client.head(f"{base}/a")).headers
        given = {
            key: value.replace(ETAG, said["etag"]).replace(LM, said["last-modified"])
            for key, value in headers.items()
        }
        found.append(await client.request(method, f"{base}/a", headers=given))
    return found


async def test_get_answers_as_nginx_and_starlette_do_or_for_a_reason(
    servers: list[str],
) -> None:
    async with httpx.AsyncClient() as client:
        for row in ROWS:
            found = await answers(client, servers, "GET", row.headers)
            assert [one.status_code for one in found] == [row.ours, row.nginx, row.file], row
            assert (len({row.ours, row.nginx, row.file}) > 1) == bool(row.why), row
            same = [one.content for one in found if one.status_code == row.ours]
            if "multipart" not in found[0].headers.get("content-type", "") and row.ours < 400:
                assert set(same) == {same[0]}, row


async def test_head_answers_as_get_does_without_ranges(servers: list[str]) -> None:
    async with httpx.AsyncClient() as client:
        for row in ROWS:
            got = (await answers(client, servers[:1], "HEAD", row.headers))[0]
            # Only GET has ranges (14.2); nginx and Starlette answer HEAD with 206 and 416.
            expected = 200 if row.ours in {206, 416} else row.ours
            assert got.status_code == expected, row


@pytest.mark.parametrize("headers", [{"If-Match": "*"}, {"If-None-Match": "*"}])
async def test_what_is_missing_is_404_whatever_the_condition(
    servers: list[str], headers: Headers
) -> None:
    async with httpx.AsyncClient() as client:
        found = [await client.get(f"{base}/none", headers=headers) for base in servers]

    assert [one.status_code for one in found] == [404, 404, 404]


async def test_a_304_says_which_version_it_is_and_has_no_body(servers: list[str]) -> None:
    async with httpx.AsyncClient() as client:
        got = (await answers(client, servers, "GET", {"If-None-Match": ETAG}))[0]
        whole = await client.get(f"{servers[0]}/a")

    assert got.content == b""
    assert "content-type" not in got.headers
    for name in ("etag", "last-modified", "cache-control"):
        assert got.headers[name] == whole.headers[name]
