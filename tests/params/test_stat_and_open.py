"""`StatObject` and `OpenObject`: an object without its content, and as a stream."""

from typing import Annotated, Any

import pytest
from faststream import Depends
from nats.aio.client import Client

from faststream_objstore.models import ObjectInfo
from faststream_objstore.params import OpenObject, StatObject
from faststream_objstore.store import ObjectReader
from tests.changes.support import Seen, consumers_of
from tests.params.support import Service

MIB = 1024 * 1024


async def test_stat_gives_what_is_known_of_a_named_object(service: Service) -> None:
    @service.broker.subscriber("ask.{name}")
    async def ask(
        body: str, info: Annotated[ObjectInfo, StatObject(service.bucket, "{name}")]
    ) -> str:
        return f"{info.name} {info.size} {body}"

    async with service.running(a="123"):
        assert await service.ask("ask.a", "?") == "a 3 ?"


async def test_stat_reads_no_content(service: Service) -> None:
    @service.broker.subscriber("ask")
    async def ask(info: Annotated[ObjectInfo, StatObject(service.bucket, "a")]) -> int:
        return info.size

    async with service.running(a="123") as store:
        backend = await service.attached.backend_of(service.bucket.name)
        nuid = (await store.get_info("a")).nuid
        # Without its chunks the object cannot be read; metadata is all there is.
        await backend.purge(f"$O.{service.bucket.name}.C.{nuid}")
        assert await service.ask("ask") == 3


async def test_stat_in_a_change_handler_is_of_the_version_that_fired(
    service: Service,
) -> None:
    seen: Seen[ObjectInfo] = Seen()

    @service.bucket.on_change()
    async def handle(body: ObjectInfo, info: Annotated[ObjectInfo, StatObject()]) -> None:
        assert info == body
        await seen.add(info)

    async with service.running() as store:
        info = await store.put("a", b"")
        await seen.wait_for(1)
        await store.delete("a")
        await seen.wait_for(2)

    assert seen.all[0] == info
    assert seen.all[1].deleted


async def test_reader_gives_the_content_piece_by_piece(service: Service) -> None:
    seen: Seen[tuple[ObjectInfo, int]] = Seen()

    @service.bucket.on_put()
    async def handle(info: ObjectInfo, reader: Annotated[ObjectReader, OpenObject()]) -> None:
        assert reader.info == info
        pieces = [len(piece) async for piece in reader]
        assert max(pieces) < MIB
        await seen.add((info, sum(pieces)))

    async with service.running() as store:
        info = await store.put("a", bytes(3 * MIB))
        assert await seen.wait_for(1) == [(info, 3 * MIB)]


@pytest.mark.parametrize("fails", [False, True])
async def test_reader_is_closed_after_the_handler_also_if_it_fails(
    service: Service, nats_client: Client, fails: bool
) -> None:
    readers: list[ObjectReader] = []

    @service.broker.subscriber("ask")
    async def ask(reader: Annotated[ObjectReader, OpenObject(service.bucket, "a")]) -> str:
        readers.append(reader)
        await reader.read(1)
        if fails:
            raise OSError("half-way")
        return "done"

    async with service.running() as store:
        await store.put("a", bytes(3 * MIB))
        if fails:
            assert isinstance(await service.failure("ask"), OSError)
        else:
            assert await service.ask("ask") == "done"
        if not service.in_memory:
            assert await consumers_of(nats_client, service.bucket.name) == []

    with pytest.raises(Exception, match="the reader is closed"):
        await readers[0].read()


async def test_each_parameter_has_a_reader_of_its_own(service: Service) -> None:
    reader = Annotated[ObjectReader, OpenObject(service.bucket, "a")]

    async def size(other: reader) -> int:
        return len(await other.read())

    @service.broker.subscriber("ask")
    def ask(body: str, size: Annotated[int, Depends(size)], one: reader, two: reader) -> str:
        return f"{body} {size} {one is two}"

    async with service.running(a="123"):
        assert await service.ask("ask", "?") == "? 3 False"


@pytest.mark.parametrize("forged", ["text", None, 1])
async def test_body_cannot_stand_in_for_a_reader(service: Service, forged: Any) -> None:
    seen: list[Any] = []

    @service.broker.subscriber("ask")
    async def ask(
        name: str, size: int, reader: Annotated[ObjectReader, OpenObject(service.bucket, "a")]
    ) -> None:
        seen.append(reader)

    async with service.running(a="123"):
        await service.ask("ask", {"name": "a", "size": 1, "reader": forged})

    assert all(isinstance(one, ObjectReader) for one in seen)
    assert bool(seen) != bool(service.errors.all)
