"""The floor, and the buckets of the others: nats-py's client without an object store."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import time
from typing import Any

import nats
import nats.errors
from nats.aio.msg import Msg

from benchmarks.drivers.protocol import KIB, Driver, serve

# As large as any window here that made a difference.
_WINDOW = 256
_MESSAGES_AT_A_TIME = 2000


class Raw(Driver):
    """A client and JetStream's JSON."""

    packages = ("nats-py",)

    async def connect(self, url: str) -> None:
        """Connect."""
        self._client = await nats.connect(url)

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def do_server(self) -> dict[str, Any]:
        """The server's version."""
        version = self._client.connected_server_version
        return {"version": f"{version.major}.{version.minor}.{version.patch}"}

    async def do_create(self, bucket: str, replicas: int = 1) -> dict[str, Any]:
        """Make a bucket as nats.go does by default, so that it is the same for all."""
        config = {
            "name": f"OBJ_{bucket}",
            "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
            "storage": "file",
            "num_replicas": replicas,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
        }
        for _ in range(10):
            # Servers that have just joined a cluster leave the first request unanswered; to
            # repeat it changes nothing.
            with contextlib.suppress(nats.errors.TimeoutError):
                return await self._api(f"STREAM.CREATE.OBJ_{bucket}", config, timeout=5)
        msg = f"no server creates {bucket}"
        raise RuntimeError(msg)

    async def do_delete(self, bucket: str) -> dict[str, Any]:
        """Delete a bucket."""
        return await self._api(f"STREAM.DELETE.OBJ_{bucket}", None)

    async def do_fill(self, bucket: str, count: int) -> dict[str, Any]:
        """Write `count` objects of 1 KiB."""
        content = os.urandom(KIB)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
        messages: list[tuple[str, bytes]] = []
        for i in range(count):
            name, nuid = f"folder-{i % 100}/object-{i}", f"{i:022}"
            info = {
                "name": name,
                "bucket": bucket,
                "nuid": nuid,
                "size": len(content),
                "chunks": 1,
                "mtime": "0001-01-01T00:00:00Z",
                "digest": f"SHA-256={digest}",
                "options": {"max_chunk_size": 128 * KIB},
            }
            encoded = base64.urlsafe_b64encode(name.encode()).decode()
            messages += (
                (f"$O.{bucket}.C.{nuid}", content),
                (f"$O.{bucket}.M.{encoded}", json.dumps(info).encode()),
            )
        await self._publish(messages, window=_MESSAGES_AT_A_TIME)
        return {}

    async def do_publish(self, bucket: str, size: int, chunk: int) -> dict[str, Any]:
        """Seconds to publish, pipelined and acknowledged: no put can be faster."""
        data = memoryview(os.urandom(size))
        subject = f"$O.{bucket}.C.raw"
        messages = [(subject, data[i : i + chunk]) for i in range(0, size, chunk)]
        await self._publish(messages[:8], window=_WINDOW)
        began = time.perf_counter()
        await self._publish(messages, window=_WINDOW)
        return {"seconds": time.perf_counter() - began}

    async def do_sha256(self, size: int) -> dict[str, Any]:
        """Seconds to hash so many bytes, on one core."""
        data = os.urandom(size)
        began = time.perf_counter()
        hashlib.sha256(data).digest()
        return {"seconds": time.perf_counter() - began}

    async def _publish(self, messages: list[tuple[str, Any]], *, window: int) -> None:
        client = self._client
        answered = 0
        goal = 0
        refused: list[str] = []
        room = asyncio.Event()

        async def acknowledged(message: Msg) -> None:
            nonlocal answered
            answered += 1
            if b'"error"' in message.data or not message.data:
                refused.append(repr(message.data))
            if answered >= goal:
                room.set()

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=acknowledged)
        for sent, (subject, payload) in enumerate(messages):
            if sent - answered >= window:
                goal = sent - window // 2
                room.clear()
                await asyncio.wait_for(room.wait(), 30)
            await client.publish(subject, payload, reply=inbox)
        goal = len(messages)
        room.clear()
        if answered < goal:
            await asyncio.wait_for(room.wait(), 30)
        await subscription.unsubscribe()
        if refused:
            raise RuntimeError(refused[0])

    async def _api(
        self, verb: str, body: dict[str, Any] | None, timeout: float = 60
    ) -> dict[str, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        reply = await self._client.request(f"$JS.API.{verb}", payload, timeout=timeout)
        answer: dict[str, Any] = json.loads(reply.data)
        if "error" in answer:
            raise RuntimeError(answer["error"]["description"])
        return {}


if __name__ == "__main__":
    serve(Raw())
