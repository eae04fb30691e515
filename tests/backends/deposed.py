"""A deposed leader that still answers: a proxy that is faster than the elected one."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from faststream_objstore.testing import NatsServer
from tests.backends.proxy import Proxy, serving

Answer = Callable[[str, bytes], "dict[str, Any] | None"]
"""What the deposed leader answers to a message, given its subject and its text; or nothing."""

Drop = Callable[[str], bool]
"""Whether a message, given its subject, gets lost while the leader changes."""

_SUBSCRIBED = re.compile(rb"SUB (\S+)\.\* +(\d+)\r\n")
_PUBLISHED = re.compile(rb"H?PUB (\S+) (\S+) [\d ]+\r\n")


def refuses(subject: str, *, behind: int = 1, times: int = 1) -> Answer:
    """Refuses messages of a subject, since it knows no newer one than `behind`."""
    left = times

    def answer(published: str, _: bytes) -> dict[str, Any] | None:
        nonlocal left
        if published != subject or not left:
            return None
        left -= 1
        said = f"wrong last sequence: {behind}" if behind else "wrong last sequence"
        code = 10071 if behind else 10164
        return {"error": {"code": 400, "err_code": code, "description": said}, "seq": 0}

    return answer


class Deposed(Proxy):
    """Hands on what a client publishes after the deposed leader's answer has been sent."""

    def __init__(self, server: NatsServer) -> None:
        super().__init__(server)
        self.answers: list[Answer] = []
        self.drop: Drop = lambda _: False
        self._sids: dict[bytes, bytes] = {}

    async def _hand_on(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        go: asyncio.Event | None,
    ) -> None:
        if go is not None:
            self._client = sink
            await super()._hand_on(source, sink, go)
            return
        try:
            while data := await source.read(65536):
                for inbox, sid in _SUBSCRIBED.findall(data):
                    self._sids[inbox] = sid
                found = list(_PUBLISHED.finditer(data))
                sink.write(data[: found[0].start()] if found else data)
                for number, one in enumerate(found):
                    end = found[number + 1].start() if number + 1 < len(found) else len(data)
                    subject = one[1].decode()
                    self._answer(subject, one[2], data[one.end() : end])
                    await self._client.drain()
                    if not self.drop(subject):
                        sink.write(data[one.start() : end])
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    def _answer(self, subject: str, reply: bytes, text: bytes) -> None:
        sid = self._sids.get(reply.rpartition(b".")[0])
        if sid is None:
            return
        for answer in self.answers:
            said = answer(subject, text)
            if said is not None:
                body = json.dumps(said, separators=(",", ":")).encode()
                self._client.write(b"MSG %s %s %d\r\n%s\r\n" % (reply, sid, len(body), body))
                return


@asynccontextmanager
async def deposed(server: NatsServer) -> AsyncIterator[Deposed]:
    async with serving(Deposed(server)) as proxy:
        yield proxy
