"""What a bucket's stream really holds, read with nats-py alone: none of our code."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError


@dataclass(frozen=True)
class Facts:
    """A bucket as its stream has it.

    Attributes:
        contents: The content of each live object that is not a link.
        metadata: The JSON of each metadata message, by object name.
        chunks: Number of messages of each chunk subject, by nuid.
        consumers: Consumers that are there.
    """

    contents: dict[str, bytes]
    metadata: dict[str, dict[str, Any]]
    chunks: dict[str, int]
    consumers: int


async def api(client: Client, verb: str, body: dict[str, Any] | None = None) -> Any:
    """A request to the JetStream API, in raw JSON."""
    payload = b"" if body is None else json.dumps(body).encode()
    answer = json.loads((await client.request(f"$JS.API.{verb}", payload, timeout=10)).data)
    assert "error" not in answer, answer
    return answer


async def subjects(client: Client, bucket: str) -> dict[str, int]:
    """Every subject of the stream, with its number of messages."""
    info = await api(client, f"STREAM.INFO.OBJ_{bucket}", {"subjects_filter": ">"})
    return info["state"].get("subjects") or {}


async def consumers(client: Client, bucket: str) -> int:
    """How many consumers the stream has."""
    info = await api(client, f"STREAM.INFO.OBJ_{bucket}")
    return int(info["state"]["consumer_count"])


async def messages(client: Client, bucket: str, subject: str) -> list[bytes]:
    """The bodies of a subject, in order."""
    js = client.jetstream()
    found: list[bytes] = []
    sequence = 1
    while True:
        try:
            message = await js.get_msg(f"OBJ_{bucket}", sequence, subject=subject, next=True)
        except NotFoundError:
            return found
        assert message.seq is not None
        found.append(message.data or b"")
        sequence = message.seq + 1


async def facts(client: Client, bucket: str) -> Facts:
    """Read all of a bucket, and check that it is in order.

    That is: every metadata message parses and is the only one of its object; every live
    object has its chunks, of the right number, size and digest; nothing else is there.
    """
    metadata: dict[str, dict[str, Any]] = {}
    chunks: dict[str, int] = {}
    for subject, count in (await subjects(client, bucket)).items():
        _, _, kind, rest = subject.split(".", 3)
        if kind == "C":
            chunks[rest] = count
            continue
        bodies = await messages(client, bucket, subject)
        assert len(bodies) == count == 1, f"{count} metadata messages of {subject}"
        name = base64.urlsafe_b64decode(rest).decode()
        metadata[name] = json.loads(bodies[0])
        assert metadata[name]["name"] == name

    contents: dict[str, bytes] = {}
    wanted: dict[str, int] = {}
    for name, said in metadata.items():
        assert said["bucket"] == bucket
        if said.get("deleted"):
            assert said["size"] == said["chunks"] == 0
            continue
        if said.get("options", {}).get("link"):
            continue
        content = b"".join(await messages(client, bucket, f"$O.{bucket}.C.{said['nuid']}"))
        assert len(content) == said["size"], f"{name}: {len(content)} of {said['size']} bytes"
        sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
        assert said["digest"] == f"SHA-256={sha256}", name
        contents[name] = content
        if said["chunks"]:
            assert said["nuid"] not in wanted, f"{name} shares its chunks"
            wanted[said["nuid"]] = said["chunks"]
    assert chunks == wanted, f"orphans: {chunks.keys() - wanted}"
    return Facts(contents, metadata, chunks, await consumers(client, bucket))
