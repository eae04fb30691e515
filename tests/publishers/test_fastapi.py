"""Results of a broker's handlers whose parameters are FastAPI's."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from faststream.nats import NatsBroker, TestNatsBroker
from faststream_fastapi import FastStreamAPI

from faststream_objstore import Bucket, Buckets, ObjectInfo, ObjectResponse


async def test_handlers_with_parameters_of_fastapi_store_what_they_return() -> None:
    pages, sources = Bucket("pages"), Bucket("sources")
    broker = NatsBroker(logger=None)
    seen: list[str] = []

    async def session() -> AsyncIterator[str]:
        seen.append("open")
        yield "session"
        seen.append("closed")

    Session = Annotated[str, Depends(session)]  # noqa: N806

    @broker.subscriber("stream.{id}")
    @pages.publisher("{id}")
    async def stream(count: int, _: Session) -> AsyncIterator[bytes]:
        for number in range(count):
            seen.append("piece")
            yield b"\xff%d" % number

    @broker.subscriber("bytes.{id}")
    @pages.publisher("{id}")
    async def binary(count: int, _: Session) -> bytes:
        return b"\xff" * count

    @broker.subscriber("response.{id}")
    @pages.publisher("{id}")
    async def response(count: int, _: Session) -> Any:
        return ObjectResponse(b"\xff" * count, metadata={"count": str(count)})

    @broker.subscriber("json.{id}")
    @pages.publisher("{id}")
    async def encoded(count: int, _: Session) -> dict[str, Any]:
        return {"count": count}

    @sources.on_put("{id}")
    @pages.publisher("{id}")
    async def change(info: ObjectInfo) -> bytes:
        return b"\xfe"

    buckets = Buckets(broker, pages, sources)
    FastStreamAPI(broker, application=FastAPI())
    async with TestNatsBroker(broker):
        store = await buckets.open(pages)
        for name, content in (
            ("stream", b"\xff0\xff1"),
            ("bytes", b"\xff\xff"),
            ("response", b"\xff\xff"),
            ("json", b'{"count":2}'),
        ):
            await broker.publish(2, f"{name}.{name}")
            assert await store.get(name) == content
        await (await buckets.open(sources)).put("change", b"")
        assert await store.get("change") == b"\xfe"

        assert ((await store.get_info("response")).metadata or {}) == {"count": "2"}
    assert seen[:4] == ["open", "piece", "piece", "closed"]
