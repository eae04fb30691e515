"""Whatever a client says, it never gets a 500, nor more than it asked for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timezone
from email.utils import format_datetime
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faststream_objstore import ObjectStore, ObjectStoreConfig
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.http import SignedLinks, make_bucket_asgi
from faststream_objstore.wire import stream_config
from tests.http.support import pattern_bytes, soon

CONTENT = pattern_bytes(1000)

# What looks like something, and what does not.
numbers = st.one_of(
    st.integers(-5, 1100).map(str), st.integers(0, 10**40).map(str), st.just("")
)
ranges = st.one_of(
    st.builds(
        lambda unit, parts: unit + ",".join(parts),
        st.sampled_from(["bytes=", "bytes =", "BYTES=", "lines=", ""]),
        st.lists(
            st.builds(lambda a, sep, b: a + sep + b, numbers, st.sampled_from("-_ "), numbers),
            max_size=60,
        ),
    ),
    st.text(st.characters(max_codepoint=255), max_size=40),
)
etags = st.one_of(
    st.builds(
        ",".join,
        st.lists(
            st.sampled_from(
                [
                    '"x"',
                    'W/"x"',
                    "ETAG",
                    "W/ETAG",
                    "*",
                    '"',
                    "x",
                    "",
                    '"1-"',
                    '"99999999999999999999-"',
                ]
            ),
            max_size=5,
        ),
    ),
    st.text(st.characters(max_codepoint=255), max_size=40),
)
dates = st.one_of(
    st.datetimes(timezones=st.just(timezone.utc)).map(partial(format_datetime, usegmt=True)),
    st.sampled_from(
        [
            "x",
            "",
            "0",
            "Thu, 32 Jan 1970 00:00:00 GMT",
            "Thu, 01 Jan 99999 00:00:00 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Thu, 01 Jan 1970 00:00:00 +9999",
            "Mon, 01 Jan 0001 00:00:00 +2300",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=30),
)
digests = st.one_of(
    st.sampled_from(["sha-256=:AA==:", "sha-256=::", "sha-512=:x:", "a=:=:, b=:AA==:", ",,"]),
    st.text(st.characters(max_codepoint=255), max_size=30),
)
headers = st.dictionaries(
    st.sampled_from(["range", "if-range", "if-match", "if-none-match", "if-modified-since",
                     "if-unmodified-since", "repr-digest", "content-digest", "content-type",
                     "content-length", "content-encoding", "content-range"]),
    st.one_of(ranges, etags, dates, digests),
    max_size=4,
)  # fmt: skip
paths = st.one_of(
    st.sampled_from(["/a", "/", "//", "/.", "/..", "/a/../b", "/\x00", "/\ufffd"]),
    st.text(max_size=60).map(lambda one: "/" + one),
    st.text(min_size=1000, max_size=4000).map(lambda one: "/" + one),
)
queries = st.one_of(
    st.sampled_from(["", "limit=x", "limit=5&after=a", "prefix=%ff", "delimiter=", "expires=1",
                     "expires=x&signature=x", "signature=%00", "limit=1&limit=2"]),
    st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=60),
)  # fmt: skip


async def ask(
    app: object, method: str, path: str, query: str, given: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """One request, as a server would hand it over."""
    sent: list[dict[str, object]] = []
    messages: AsyncIterator[dict[str, object]] = pieces(body)
    ended = asyncio.Event()

    async def receive() -> dict[str, object]:
        message = await anext(messages, None)
        if message is None:
            await ended.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    raw = path.encode("utf-8", "surrogatepass")
    scope = {
        "type": "http",
        "method": method,
        "path": raw.decode("utf-8", "replace"),
        "raw_path": raw,
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode("latin-1")) for key, value in given.items()],
    }
    await soon(app(scope, receive, send))  # type: ignore[operator]
    status, answered = sent[0]["status"], sent[0]["headers"]
    assert isinstance(status, int)
    assert isinstance(answered, list)
    for key, value in answered:
        assert not {13, 10, 0} & {*key, *value}, "a header has a line break"
    return (
        status,
        {key.decode().lower(): value.decode("latin-1") for key, value in answered},
        b"".join(bytes(one.get("body", b"")) for one in sent[1:]),  # type: ignore[call-overload]
    )


async def pieces(body: bytes) -> AsyncIterator[dict[str, object]]:
    yield {"type": "http.request", "body": body[:3], "more_body": True}
    yield {"type": "http.request", "body": body[3:], "more_body": False}


async def bucket() -> ObjectStore:
    config = stream_config(ObjectStoreConfig(bucket="fuzz"))
    store = ObjectStore.on(await MemoryServer().create("fuzz", config))
    await store.put("a", CONTENT, chunk_size=100)
    return store


def everybody(*_: object) -> bool:
    return True


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST", "get", "X"]),
    path=paths,
    query=queries,
    given_=headers,
    body=st.binary(max_size=20),
    is_signed=st.booleans(),
)
def test_no_request_is_answered_with_500(
    method: str, path: str, query: str, given_: dict[str, str], body: bytes, is_signed: bool
) -> None:
    async def run() -> None:
        store = await bucket()
        methods = ("GET", "HEAD", "PUT", "DELETE")
        if is_signed:
            links = SignedLinks("k" * 32, base_url="https://example.com/")
            app = make_bucket_asgi(store, methods=methods, links=links)
        else:
            app = make_bucket_asgi(store, methods=methods, authorize=everybody, listing=True)
        etag = (await ask(app, "HEAD", "/a", "", {}, b""))[1].get("etag", "")
        said = {key: value.replace("ETAG", etag) for key, value in given_.items()}
        status, answered, got = await ask(app, method, path, query, said, body)

        assert status < 500
        if is_signed:
            # 404 is the folder itself, which is not listed.
            assert status in {400, 403, 404, 405}
            assert status != 404 or path in {"", "/"}
        if method != "HEAD" and "content-length" in answered:
            assert int(answered["content-length"]) == len(got)
        if status == 206 and "content-range" in answered:
            start, _, rest = answered["content-range"].removeprefix("bytes ").partition("-")
            assert got == CONTENT[int(start) : int(rest.partition("/")[0]) + 1]

    asyncio.run(run())


@settings(max_examples=300)
@given(asked=ranges)
def test_what_a_range_gives_is_a_part_of_the_object(asked: str) -> None:
    async def run() -> None:
        app = make_bucket_asgi(await bucket())
        status, answered, got = await ask(app, "GET", "/a", "", {"range": asked}, b"")
        assert status in {200, 206, 416}
        if status == 200:
            assert got == CONTENT
        elif status == 206 and "content-range" in answered:
            assert got in CONTENT

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_is_refused(kind: str) -> None:
    app = make_bucket_asgi(await bucket())
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": f"{kind}.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    if kind == "websocket":
        await app({"type": kind, "path": "/a"}, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]
    else:
        with pytest.raises(NotImplementedError):
            await app({"type": kind}, receive, send)
