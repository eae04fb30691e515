"""What the store's tests look through: the raw state under a store, read without it."""

import array
import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, Deliver, Server
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore

T = TypeVar("T")

LIMIT = 30.0
"""Seconds that anything here may take."""

DELETED = "deleted"
LINK = "link"

KIB = 1024
MIB = 1024 * 1024


async def soon(work: Awaitable[T]) -> T:
    """The result, or a failure: no test here waits for ever."""
    return await asyncio.wait_for(work, LIMIT)


async def everything(stream: AsyncIterator[T]) -> list[T]:
    """All that an async iterator gives."""

    async def drain() -> list[T]:
        return [one async for one in stream]

    return await soon(drain())


def pattern_bytes(size: int) -> bytes:
    """So many bytes, in which no two chunks are alike."""
    numbers = array.array("I", range(size // 4 + 1))
    numbers.byteswap()
    return numbers.tobytes()[:size]


@dataclass
class Audit:
    """What a test may leave behind on purpose; everything else fails it."""

    orphans: bool = False


@dataclass
class Bench:
    """One server to make buckets on, memory or JetStream."""

    server: Server
    kind: str
    client: Client | None
    audit: Audit = field(default_factory=Audit)
    made: set[str] = field(default_factory=set)

    @property
    def is_memory(self) -> bool:
        return self.kind == "memory"

    async def consumers(self, bucket: str) -> list[str]:
        """The consumers on a bucket's stream, as the server names them."""
        if self.client is None:
            return []
        reply = await self.client.request(f"$JS.API.CONSUMER.NAMES.OBJ_{bucket}", b"")
        return json.loads(reply.data).get("consumers") or []


class Spy:
    """A backend that counts what is asked of it, and can fail on demand.

    Args:
        inner: Does the work.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.calls: list[str] = []
        self.transferred = 0
        self.before: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        """Run once before the call of that name."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name == "messages":
            return self._messages
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            if intervene := self.before.pop(name, None):
                await intervene()
            result = await found(*args, **options)
            if name == "last_message" and result is not None and ".C." in result.subject:
                self.transferred += 1
            return result

        return call

    def _messages(self, subject: str, **options: Any) -> Any:
        self.calls.append("messages")
        stream: Any = self.inner.messages(subject, **options)
        inner_limit = stream.limit

        def limit(count: int) -> None:
            self.transferred += count
            inner_limit(count)

        stream.limit = limit
        return stream


def spied(backend: Backend) -> tuple[ObjectStore, Spy]:
    """A store on a backend, and what it asks of it."""
    spy = Spy(backend)

    async def source() -> Any:
        return spy

    return ObjectStore(backend.bucket, source), spy


async def raw_metadata(backend: Backend) -> dict[str, Any]:
    """The stored metadata by subject: JSON, or bytes that are none."""
    result: dict[str, Any] = {}
    async with backend.messages(f"$O.{backend.bucket}.M.>", deliver=Deliver.ALL) as stream:
        async for message in stream:
            assert message.subject not in result, "more than one message of a subject"
            try:
                result[message.subject] = json.loads(message.data)
            except ValueError:
                result[message.subject] = message.data
    return result


async def layout(backend: Backend) -> dict[str, int | str]:
    """What is stored, by name: the number of chunks, `DELETED` or `LINK`.

    Fails if a chunk belongs to no object, or metadata stands under a wrong subject.
    """
    result: dict[str, int | str] = {}
    owned: dict[str, int] = {}
    for subject, raw in (await raw_metadata(backend)).items():
        assert isinstance(raw, dict), f"{subject} holds {raw!r}"
        name = raw["name"]
        assert subject == wire.metadata_subject(backend.bucket, name)
        assert raw["bucket"] == backend.bucket
        assert raw["nuid"]
        assert raw["mtime"] == "0001-01-01T00:00:00Z"
        if raw.get("deleted"):
            assert (raw["size"], raw["chunks"], "digest" in raw) == (0, 0, False)
            result[name] = DELETED
        elif raw.get("options", {}).get("link"):
            assert (raw["size"], raw["chunks"], "digest" in raw) == (0, 0, False)
            result[name] = LINK
        else:
            result[name] = raw["chunks"]
            if raw["chunks"]:
                owned[f"$O.{backend.bucket}.C.{raw['nuid']}"] = raw["chunks"]
    assert await backend.subjects(f"$O.{backend.bucket}.C.>") == owned, "orphaned chunks"
    return result


async def write_raw(backend: Backend, name: str, body: bytes | dict[str, Any]) -> int:
    """Store a metadata message as a foreign client might; its revision."""
    subject = wire.metadata_subject(backend.bucket, name)
    last = await backend.last_message(subject, leader=True)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = await backend.publish_metadata(
        subject, data, expected_sequence=last.sequence if last else 0
    )
    return message.sequence


async def write_chunks(backend: Backend, nuid: str, *chunks: bytes) -> None:
    """Store chunks as a foreign client might."""
    upload = backend.upload(f"$O.{backend.bucket}.C.{nuid}")
    for chunk in chunks:
        await upload.write(chunk)
    await upload.finish()


async def read_raw(backend: Backend, info: ObjectInfo) -> list[bytes]:
    """The chunks of an object, as they are stored."""
    async with backend.messages(f"$O.{backend.bucket}.C.{info.nuid}") as stream:
        return [message.data async for message in stream]


async def body_of(backend: Backend, name: str) -> bytes:
    """The JSON of an object's metadata, byte for byte."""
    message = await backend.last_message(
        wire.metadata_subject(backend.bucket, name), leader=True
    )
    assert message is not None
    return message.data


def other_tasks() -> set["asyncio.Task[Any]"]:
    """Every task but this one, and the test runner's own."""
    return {
        task
        for task in asyncio.all_tasks()
        if task is not asyncio.current_task() and "TestRunner" not in repr(task)
    }


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until something holds that another party brings about."""

    async def poll() -> None:
        while not await holds():
            await asyncio.sleep(0.01)

    await soon(poll())


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds that another task brings about."""

    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await soon(poll())


def tiny_pieces(data: bytes, size: int = 1) -> Iterator[bytes]:
    """The data, a few bytes at a time."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
