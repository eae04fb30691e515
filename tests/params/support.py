"""A service of one bucket, on a server or in test mode, that tests ask questions."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from faststream import BaseMiddleware
from faststream.nats import NatsBroker, TestNatsBroker

from faststream_objstore.binding import Attached, attached_to
from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.live import LiveValue
from faststream_objstore.store import ObjectStore
from tests.changes.support import LIMIT, Seen, soon


class Service:
    """A broker with a bucket.

    Errors of handlers are kept, and answered with their text: whoever asks a server would
    wait for an answer otherwise.
    """

    def __init__(self, url: str, bucket: str, *, in_memory: bool) -> None:
        self.in_memory = in_memory
        self.errors: Seen[Exception] = Seen()
        self.broker = NatsBroker(url, logger=None, middlewares=[self._catching()])
        self.bucket = Bucket(bucket)
        self.buckets = Buckets(self.broker, self.bucket)

    @property
    def store(self) -> ObjectStore:
        return self.attached.handle(self.bucket.name)

    @property
    def attached(self) -> Attached:
        return attached_to(self.broker)[0]

    @property
    def live(self) -> LiveValue:
        [value] = self.buckets.live_objects
        return value

    @contextlib.asynccontextmanager
    async def running(self, **objects: str) -> AsyncIterator[ObjectStore]:
        """The started broker, with objects that were there before it wherever possible."""
        if self.in_memory:
            async with TestNatsBroker(self.broker):
                for name, content in objects.items():
                    await self.store.put(name, content)
                yield self.store
            return
        try:
            await soon(self.broker.connect())
            for name, content in objects.items():
                await soon(self.store.put(name, content))
            await soon(self.broker.start())
            yield self.store
        finally:
            await soon(self.broker.stop())

    async def ask(self, subject: str, body: Any = "") -> Any:
        message = await soon(self.broker.request(body, subject, timeout=LIMIT))
        return await message.decode()

    async def ask_until(self, subject: str, answer: Any) -> list[Any]:
        """Ask again and again until the answer is that; all answers."""

        async def asking() -> list[Any]:
            answers = [await self.ask(subject)]
            while answers[-1] != answer:
                answers.append(await self.ask(subject))
            return answers

        return await soon(asking())

    async def failure(self, subject: str, body: Any = "") -> Exception:
        """The error that a question leads to."""
        known = len(self.errors.all)
        await self.ask(subject, body)
        [error] = self.errors.all[known:]
        return error

    def _catching(self) -> type[BaseMiddleware[Any, Any]]:
        errors = self.errors

        class Catching(BaseMiddleware[Any, Any]):
            async def consume_scope(self, call_next: Any, msg: Any) -> Any:
                try:
                    return await call_next(msg)
                except Exception as error:  # noqa: BLE001 - whatever a handler raises
                    await errors.add(error)
                    return f"{type(error).__name__}: {error}"

        return Catching
