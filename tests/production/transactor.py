"""A process that keeps an index and its parts together, one transaction after the other.

The index lists exactly the parts that there are, and what is in each. It notes that in its
metadata, so that whoever sees the change sees what was listed; and counts the transactions.
"""

import asyncio
import json
import random
import sys
from typing import Any

import nats

from faststream_objstore.exceptions import (
    ConnectionLostError,
    JetStreamNotEnabledError,
    NotConnectedError,
    ObjectAlreadyExists,
    ObjectNotFoundError,
    RevisionMismatchError,
    StoreAPIError,
    StoreTimeoutError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore

INDEX = "index"
NAMES = [f"part/{number:02}" for number in range(20)]
SECONDS = 5.0

# The race was lost, also against a change that a stale read did not show.
_LOST = (RevisionMismatchError, ObjectNotFoundError, ObjectAlreadyExists)
# The servers are being killed; whether the transaction was stored, the index tells.
_FAILED = (StoreTimeoutError, NotConnectedError, StoreAPIError, JetStreamNotEnabledError)


def listed(info: ObjectInfo) -> tuple[int, dict[str, str]]:
    """How many transactions an index has seen, and what is in each part."""
    texts = info.metadata or {}
    return int(texts["count"]), json.loads(texts["parts"])


def metadata_of(count: int, parts: dict[str, str]) -> dict[str, str]:
    return {"count": str(count), "parts": json.dumps(parts)}


async def transact(store: ObjectStore, random_: random.Random) -> None:
    """Put, delete or move some parts, and list them."""
    seen = await store.get_info(INDEX)
    count, parts = listed(seen)
    async with store.transaction() as tx:
        for _ in range(random_.randint(1, 4)):
            name, other = random_.sample(NAMES, 2)
            chance = random_.random()
            if name in parts and chance < 0.3:
                await tx.delete(name)
                del parts[name]
            elif name in parts and other not in parts and chance < 0.6:
                await tx.rename(name, other)
                parts[other] = parts.pop(name)
            else:
                content = f"{random_.getrandbits(64):016x}"
                await tx.put(name, content, chunk_size=7)
                parts[name] = content
        text = json.dumps(parts)
        await tx.put(INDEX, text, metadata=metadata_of(count + 1, parts), mode=seen)


async def main(urls: list[str], bucket: str, seed: int) -> None:
    random_ = random.Random(seed)
    options: dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.1}
    client = await nats.connect(urls, **options)
    store: ObjectStore | None = None
    print("ready", flush=True)
    while True:
        try:
            if store is None:
                store = await ObjectStore.bind(client, bucket, timeout=SECONDS)
            await transact(store, random_)
        except _LOST:
            await asyncio.sleep(random_.random() * 0.02)
        except ConnectionLostError:
            continue
        except _FAILED:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[3].split(","), sys.argv[1], int(sys.argv[2])))
