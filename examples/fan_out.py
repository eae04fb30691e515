"""Fan-out: every replica keeps a copy of the rules, one of them does each piece of work.

    python examples/fan_out.py

starts three replicas as processes of their own, changes the rules, has documents
judged, kills a replica and starts another, and shows what each of them received. With
`NATS_URL` set it uses that server, otherwise one of its own for as long as it runs.

    NATS_URL=nats://127.0.0.1:4222 faststream run examples.fan_out:app

starts one replica; run as many as you like.
"""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import Process
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Annotated

from faststream import FastStream
from faststream.nats import NatsBroker, NatsRouter
from typing_extensions import Self

from faststream_objstore import Bucket, Buckets, FromBucket, ObjectInfo, ObjectStore
from faststream_objstore.testing import NatsServer

rules = Bucket("rules")
documents = Bucket("documents")

Rules = Annotated[ObjectStore, FromBucket("rules")]
Documents = Annotated[ObjectStore, FromBucket("documents")]

router = NatsRouter()
events = router.publisher("fan-out.events")
replica = os.environ.get("REPLICA") or f"replica {os.getpid()}"
# The copy. With 10,000 rules of 10 MB it would be a folder, and `learn` would call `get_file`.
forbidden: dict[str, set[str]] = {}


@dataclass(frozen=True)
class Event:
    replica: str
    what: str
    name: str = ""
    revision: int = 0
    verdict: str = ""


# No durable: each replica gets each change. With `replay` it first gets the existing rules, so
# its copy is complete soon after the start. If that is too late, read the bucket in a hook.
@events
@rules.on_put("*.txt", replay=True)
async def learn(rule: ObjectInfo, store: Rules) -> Event:
    forbidden[rule.name] = set((await store.get(rule)).decode().split())
    return Event(replica, "learnt", rule.name, rule.revision)


@events
@rules.on_delete("*.txt")
async def forget(rule: ObjectInfo) -> Event:
    forbidden.pop(rule.name, None)
    return Event(replica, "forgot", rule.name, rule.revision)


# A durable: each document goes to one of the replicas, or to another if that one dies.
@events
@documents.on_put(durable="judge", ack_wait=5)
async def judge(document: ObjectInfo, store: Documents) -> Event:
    words = set((await store.get(document)).decode().split())
    broken = sorted(name for name, rule in forbidden.items() if words & rule)
    verdict = ", ".join(broken) or "fine"
    return Event(replica, "judged", document.name, document.revision, verdict)


def build(url: str) -> tuple[FastStream, NatsBroker, Buckets]:
    broker = NatsBroker(url, logger=None, routers=[router])
    buckets = Buckets(broker, rules, documents)
    app = FastStream(broker)

    @app.after_startup
    async def announce() -> None:
        await broker.publish(Event(replica, "started"), "fan-out.events")

    return app, broker, buckets


app, broker, buckets = build(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222")


# The rest is the demonstration: it starts the replicas and watches them.


class Replicas:
    """Processes that run this file, and their output."""

    def __init__(self, url: str) -> None:
        self.running: dict[str, Process] = {}
        self._url = url
        self._said: list[Event] = []
        self._news = asyncio.Condition()
        self._broker = NatsBroker(url, logger=None)
        self._stores = Buckets(self._broker)

        @self._broker.subscriber("fan-out.events")
        async def keep(event: Event) -> None:
            async with self._news:
                self._said.append(event)
                self._news.notify_all()

    async def __aenter__(self) -> Self:
        await self._broker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.running.values():
            # One that exited by itself has printed the reason.
            if process.returncode is None:
                process.terminate()
        for process in self.running.values():
            await process.wait()
        await self._broker.stop()

    async def start(self, *names: str) -> None:
        for name in names:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                "replica",
                env={**os.environ, "NATS_URL": self._url, "REPLICA": name},
            )
        await self.all_said({Event(name, "started") for name in names})

    async def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        await process.wait()

    async def store(self, bucket: str) -> ObjectStore:
        return await self._stores.object_store(bucket)

    async def all_said(self, expected: set[Event]) -> None:
        async with self._news:
            heard = self._news.wait_for(lambda: expected <= set(self._said))
            await asyncio.wait_for(heard, 30)

    async def verdicts(self, infos: list[ObjectInfo]) -> list[Event]:
        wanted = {(info.name, info.revision) for info in infos}

        def found() -> list[Event]:
            return [
                event
                for event in self._said
                if event.what == "judged" and (event.name, event.revision) in wanted
            ]

        async with self._news:
            heard = self._news.wait_for(lambda: len(found()) >= len(wanted))
            await asyncio.wait_for(heard, 30)
        return sorted(found(), key=lambda event: event.name)


async def change_rule(replicas: Replicas, name: str, words: str | None) -> set[Event]:
    """Put a rule, or delete it, and wait until all replicas have noticed."""
    store = await replicas.store("rules")
    await (store.delete(name) if words is None else store.put(name, words))
    info = await store.get_info(name, show_deleted=True)
    what = "forgot" if info.deleted else "learnt"
    expected = {Event(one, what, name, info.revision) for one in replicas.running}
    await replicas.all_said(expected)
    show(f"{what} {name}", ", ".join(sorted(replicas.running)))
    return expected


async def judge_all(replicas: Replicas, texts: dict[str, str]) -> None:
    store = await replicas.store("documents")
    verdicts = await replicas.verdicts(
        [await store.put(name, text) for name, text in texts.items()]
    )
    shares = Counter(event.replica for event in verdicts)
    by = ", ".join(f"{name} {count}" for name, count in sorted(shares.items()))
    show(f"{len(texts)} documents", f"{len(verdicts)} verdicts: {by}")
    for event in verdicts[:2]:
        show(f"  {event.name}", event.verdict)


def show(title: str, text: str) -> None:
    print(f"{title:<22}{text}")


async def main() -> None:
    async with AsyncExitStack() as stack:
        url = os.environ.get("NATS_URL")
        if not url:
            url = (await stack.enter_async_context(NatsServer())).url
        replicas = await stack.enter_async_context(Replicas(url))

        await replicas.start("ann", "bob", "cat")
        await change_rule(replicas, "spam.txt", "lottery prize")
        manners = await change_rule(replicas, "manners.txt", "damn")
        texts = {f"a{number}.txt": "you won the lottery" for number in range(10)}
        await judge_all(replicas, {**texts, "a0.txt": "damn lottery", "a1.txt": "hello"})

        await replicas.kill("bob")
        show("killed bob", "the others go on")
        spam = await change_rule(replicas, "spam.txt", "free")
        texts = {f"b{number}.txt": "hello" for number in range(10)}
        await judge_all(replicas, {**texts, "b0.txt": "lottery", "b1.txt": "free damn"})

        await replicas.start("dan")
        await replicas.all_said({replace(event, replica="dan") for event in manners | spam})
        show("started dan", "it has learnt manners.txt and spam.txt too")
        await change_rule(replicas, "manners.txt", None)
        await judge_all(replicas, {"c0.txt": "damn"})


if __name__ == "__main__":
    asyncio.run(app.run(logging.DEBUG) if sys.argv[1:] == ["replica"] else main())
