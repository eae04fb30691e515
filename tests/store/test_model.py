"""Random operations on both backends and on a plain dict, which must always agree.

The dict is the model: what a reader of ADR-20 would expect, in a few lines for each verb.
Each operation is tried on a store in memory and on one on a real server; results,
revisions and the classes of errors must be the model's, and at the end the raw state.
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import nats
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from nats.aio.client import Client

from faststream_objstore import wire
from faststream_objstore.backends.base import Backend, Server
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import (
    InvalidLinkError,
    LinkIsABucketError,
    ObjectAlreadyExists,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjStoreError,
    RevisionMismatchError,
)
from faststream_objstore.models import ObjectInfo, ObjectLink, ObjectMeta, ObjectStoreConfig
from faststream_objstore.store import ObjectStore
from faststream_objstore.testing import NatsServer
from tests.store.support import DELETED, LIMIT, LINK, layout

T = TypeVar("T")

EXAMPLES = 30
STEPS = 50

NAMES = ["a", "a/b", "ä *>", "n" * 300]

_numbers = itertools.count(1)
_tried: Counter[str] = Counter()

names = st.sampled_from(NAMES)
contents = st.sampled_from([b"", b"x", b"hello", bytes(range(40)), bytes(200)])
chunk_sizes = st.sampled_from([1, 3, 5, 64, None])
texts = st.sampled_from([None, "d", "ä\n"])
ttls = st.sampled_from([None, 3600])


@dataclass
class Entry:
    """What the model knows of one name."""

    revision: int
    content: bytes = b""
    chunk_size: int | None = None
    description: str | None = None
    headers: dict[str, list[str]] | None = None
    deleted: bool = False
    link: ObjectLink | None = None
    # Which put its chunks are of; a rename keeps it.
    version: int = 0
    # Whether it has a ttl; nothing expires while this runs.
    expires: bool = False

    @property
    def chunks(self) -> int:
        if self.deleted or self.link is not None:
            return 0
        return -(-len(self.content) // (self.chunk_size or 131072))


@dataclass
class Pinned:
    """A version that was seen once: the model's, and each store's."""

    name: str
    entry: Entry
    infos: list[ObjectInfo]


@dataclass
class Model:
    """A bucket as a dict."""

    bucket: str
    other: str
    sequence: int = 0
    versions: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)

    def entry(self, name: str) -> Entry:
        found = self.entries.get(name)
        if found is None:
            raise ObjectNotFoundError(name)
        if found.deleted:
            raise ObjectDeletedError(name)
        return found

    def content(self, name: str) -> Entry:
        """Through a link."""
        found = self.entry(name)
        if found.link is None:
            return found
        if found.link.name is None:
            raise LinkIsABucketError(name)
        target = self.entry(found.link.name)
        if target.link is not None:
            raise InvalidLinkError(name)
        return target

    def pinned(self, pin: Pinned) -> Entry:
        if pin.entry.link is not None:
            return self.content_of_link(pin.entry.link)
        now = self.entries.get(pin.name, None)
        alive = any(
            not one.deleted and one.version == pin.entry.version
            for one in self.entries.values()
        )
        # A renamed version still has its chunks; an empty one never needs any.
        if alive or not pin.entry.content:
            return pin.entry
        raise ObjectChangedError(str(now))

    def content_of_link(self, link: ObjectLink) -> Entry:
        if link.name is None:
            raise LinkIsABucketError(link.bucket)
        target = self.entry(link.name)
        if target.link is not None:
            raise InvalidLinkError(link.name)
        return target

    def put(
        self,
        name: str,
        content: bytes,
        chunk_size: int | None,
        description: str | None,
        headers: dict[str, list[str]] | None = None,
        *,
        expires: bool = False,
    ) -> Entry:
        self.versions += 1
        entry = Entry(0, content, chunk_size, description, headers, version=self.versions)
        entry.expires = expires
        self.sequence += entry.chunks + 1
        entry.revision = self.sequence
        self.entries[name] = entry
        return entry

    def write(self, name: str, entry: Entry) -> Entry:
        self.sequence += 1
        entry.revision = self.sequence
        self.entries[name] = entry
        return entry

    def layout(self) -> dict[str, int | str]:
        return {
            name: DELETED if one.deleted else LINK if one.link is not None else one.chunks
            for name, one in self.entries.items()
        }


def outcome_of(look: Callable[[T], Entry], of: T) -> tuple[Entry, Any]:
    """What the model finds, or the class of its error."""
    try:
        return look(of), None
    except ObjStoreError as error:
        return Entry(0), type(error)


class Stores(RuleBasedStateMachine):
    """The machine; `url` is set by the test."""

    url: ClassVar[str]
    transactions: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.client: Client | None = None
        self.backends: list[Backend] = []
        self.stores: list[ObjectStore] = []
        self.pins: list[Pinned] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, LIMIT))

    @initialize()
    def begin(self) -> None:
        bucket = f"model-{os.getpid()}-{next(_numbers)}"
        self.model = Model(bucket, f"{bucket}-other")

        async def connect() -> None:
            self.client = await nats.connect(self.url)
            servers: list[Server] = [MemoryServer(), JetStreamServer(self.client)]
            for server in servers:
                for name in (bucket, f"{bucket}-other"):
                    config = ObjectStoreConfig(
                        bucket=name,
                        storage="memory",
                        transactions=self.transactions,
                        object_ttl=1,
                    )
                    await server.create(name, wire.stream_config(config))
                self.backends.append(await server.open(bucket))
            self.stores = [ObjectStore.on(backend) for backend in self.backends]

        self.run(connect())
        # Something to work on: most operations on nothing are the same error.
        self.overwrite("a", bytes(range(40)), 3)
        self.overwrite("a/b", b"hello", None)

    def teardown(self) -> None:
        try:
            if self.client is not None:
                self.run(self._end(self.client))
        finally:
            self.loop.close()

    async def _end(self, client: Client) -> None:
        try:
            for backend, store in zip(self.backends, self.stores, strict=True):
                assert await layout(backend) == self.model.layout()
                assert (await backend.state()).last_sequence == self.model.sequence
                await self._check_all(store)
            reply = await client.request(
                f"$JS.API.CONSUMER.NAMES.OBJ_{self.model.bucket}", b""
            )
            assert b'"consumers":[]' in reply.data or b'"consumers":null' in reply.data
            server = JetStreamServer(client)
            await server.delete(self.model.bucket)
            await server.delete(self.model.other)
        finally:
            await client.close()

    async def _check_all(self, store: ObjectStore) -> None:
        for name in self.model.entries:
            try:
                expected: Any = self.model.content(name).content
            except ObjStoreError as error:
                expected = type(error)
            try:
                actual: Any = bytes(await store.get(name))
            except ObjStoreError as error:
                actual = type(error)
            assert actual == expected

    def both(self, verb: str, expected: Any, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
        """Try the same on both; each result, or the class of its error, is expected."""
        _tried[verb] += 1

        async def outcome(call: Coroutine[Any, Any, Any]) -> Any:
            try:
                return await call
            except ObjStoreError as error:
                return error

        results = [self.run(outcome(call)) for call in calls]
        if isinstance(expected, type):
            assert [type(one) for one in results] == [expected] * len(results), results
        else:
            for one in results:
                if isinstance(one, Exception):
                    raise one
        return results

    def check_info(self, info: ObjectInfo, name: str, entry: Entry) -> None:
        assert (info.name, info.bucket, info.revision) == (
            name,
            self.model.bucket,
            entry.revision,
        )
        assert (info.deleted, info.link) == (
            entry.deleted,
            None if entry.deleted else entry.link,
        ) or entry.deleted
        assert (info.size, info.chunks) == (
            (0, 0) if entry.deleted else (len(entry.content), entry.chunks)
        )
        assert (info.description, info.headers) == (entry.description, entry.headers)
        assert (info.expires is not None) == (entry.expires and not entry.deleted)

    def pin(self, name: str, entry: Entry, infos: list[ObjectInfo]) -> None:
        self.pins.append(Pinned(name, replace(entry), infos))

    # --- writes

    @rule(
        name=names,
        content=contents,
        chunk_size=chunk_sizes,
        description=texts,
        mode=st.sampled_from(["overwrite", "create", "pinned", "revision"]),
        index=st.integers(0, 1000),
        ttl=ttls,
    )
    def put_in_some_mode(self, **drawn: Any) -> None:
        self.put(**drawn)

    def put(
        self,
        name: str,
        content: bytes,
        chunk_size: int | None,
        description: str | None,
        mode: str,
        index: int,
        ttl: int | None = None,
    ) -> None:
        before = self.model.entries.get(name)
        modes: list[Any] = [mode, mode]
        expected: Any = None
        if mode == "create" and before is not None and not before.deleted:
            expected = ObjectAlreadyExists
        elif mode == "revision":
            # Right, off by one, or of another object.
            revision = (before.revision if before else 0) + (0, 0, 1, -1)[index % 4]
            revision = max(1, revision)
            modes = [revision, revision]
            if before is None or before.revision != revision:
                expected = RevisionMismatchError
        elif mode == "pinned":
            pins = [pin for pin in self.pins if pin.name == name]
            if not pins:
                return
            pin = pins[index % len(pins)]
            modes = list(pin.infos)
            if before is None or before.revision != pin.entry.revision:
                expected = RevisionMismatchError
        results = self.both(
            f"put {mode}",
            expected,
            *(
                store.put(
                    name,
                    content,
                    description=description,
                    chunk_size=chunk_size,
                    mode=how,
                    ttl=ttl,
                )
                for store, how in zip(self.stores, modes, strict=True)
            ),
        )
        if expected is None:
            entry = self.model.put(
                name, content, chunk_size, description, expires=ttl is not None
            )
            for info in results:
                self.check_info(info, name, entry)
            self.pin(name, entry, results)

    @rule(name=names, content=contents, chunk_size=chunk_sizes)
    def overwrite(self, name: str, content: bytes, chunk_size: int | None) -> None:
        self.put(name, content, chunk_size, None, "overwrite", 0)

    @rule(name=names, content=contents, chunk_size=st.sampled_from([1, 3]))
    def failing_put(self, name: str, content: bytes, chunk_size: int) -> None:
        def half() -> Iterator[bytes]:
            yield content
            raise UnicodeError

        async def attempt(store: ObjectStore) -> None:
            with pytest.raises(UnicodeError):
                await store.put(name, half(), chunk_size=chunk_size)

        self.both("put that fails", None, *(attempt(store) for store in self.stores))
        # Only full chunks have been sent by then.
        self.model.sequence += len(content) // chunk_size

    @rule(name=names)
    def delete(self, name: str) -> None:
        before = self.model.entries.get(name)
        expected = ObjectNotFoundError if before is None else None
        results = self.both("delete", expected, *(one.delete(name) for one in self.stores))
        if before is not None:
            assert results == [not before.deleted] * 2
            if not before.deleted:
                self.model.write(name, replace(before, deleted=True))

    @rule(name=names, description=texts, header=texts)
    def update_meta(self, name: str, description: str | None, header: str | None) -> None:
        headers = {"h": [header]} if header else None
        meta = ObjectMeta(description=description, headers=headers)
        before, expected = outcome_of(self.model.entry, name)
        results = self.both(
            "update_meta", expected, *(one.update_meta(name, meta) for one in self.stores)
        )
        if expected is None:
            entry = self.model.write(
                name, replace(before, description=description, headers=headers)
            )
            for info in results:
                self.check_info(info, name, entry)
            self.pin(name, entry, results)

    @rule(name=names, ttl=st.sampled_from([0, 3600]))
    def renew(self, name: str, ttl: int) -> None:
        before, expected = outcome_of(self.model.entry, name)
        results = self.both(
            "update_meta ttl",
            expected,
            *(one.update_meta(name, ttl=ttl) for one in self.stores),
        )
        if expected is None:
            expires = ttl > 0
            if before.link is not None:
                entry = self.model.write(name, replace(before, expires=expires))
            else:
                entry = self.model.put(
                    name,
                    before.content,
                    before.chunk_size,
                    before.description,
                    before.headers,
                    expires=expires,
                )
            for info in results:
                self.check_info(info, name, entry)
            self.pin(name, entry, results)

    @rule(name=names, to=names, by_meta=st.booleans())
    def rename(self, name: str, to: str, by_meta: bool) -> None:
        before, expected = outcome_of(self.model.entry, name)
        taken = self.model.entries.get(to)
        if expected is None and name != to and taken is not None and not taken.deleted:
            expected = ObjectAlreadyExists

        async def rename(store: ObjectStore) -> ObjectInfo:
            if not by_meta:
                return await store.rename(name, to)
            info = await store.get_info(name)
            return await store.update_meta(name, replace(info.meta, name=to))

        results = self.both("rename", expected, *(rename(store) for store in self.stores))
        if expected is None:
            if name != to and not self.transactions:
                # The note of the move, under the old name.
                self.model.sequence += 1
            entry = self.model.write(to, replace(before))
            if name != to:
                self.model.write(name, replace(before, deleted=True))
            for info in results:
                self.check_info(info, to, entry)
            self.pin(to, entry, results)

    @rule(name=names, to=names)
    def add_link(self, name: str, to: str) -> None:
        before = self.model.entries.get(name)
        expected: Any = None
        try:
            if name == to:
                raise InvalidLinkError(name)
            if self.model.entry(to).link is not None:
                raise InvalidLinkError(name)
            if before is not None and not before.deleted and before.link is None:
                raise ObjectAlreadyExists(name)
        except ObjStoreError as error:
            expected = type(error)
        results = self.both(
            "add_link", expected, *(one.add_link(name, to) for one in self.stores)
        )
        if expected is None:
            link = ObjectLink(self.model.bucket, to)
            entry = self.model.write(name, Entry(0, link=link))
            for info in results:
                self.check_info(info, name, entry)
            self.pin(name, entry, results)

    @rule(name=names)
    def add_bucket_link(self, name: str) -> None:
        before = self.model.entries.get(name)
        expected: Any = None
        if before is not None and not before.deleted and before.link is None:
            expected = ObjectAlreadyExists
        self.both(
            "add_bucket_link",
            expected,
            *(one.add_bucket_link(name, self.model.other) for one in self.stores),
        )
        if expected is None:
            self.model.write(name, Entry(0, link=ObjectLink(self.model.other)))

    @rule(name=names, to=names)
    def copy(self, name: str, to: str) -> None:
        source, expected = outcome_of(self.model.content, name)
        results = self.both("copy", expected, *(one.copy(name, to) for one in self.stores))
        if expected is None:
            entry = self.model.put(
                to,
                source.content,
                source.chunk_size,
                source.description,
                source.headers,
                expires=source.expires,
            )
            for info in results:
                self.check_info(info, to, entry)
            self.pin(to, entry, results)

    # --- reads

    @rule(name=names)
    def get(self, name: str) -> None:
        entry, expected = outcome_of(self.model.content, name)
        results = self.both("get", expected, *(one.get(name) for one in self.stores))
        if expected is None:
            assert results == [entry.content] * 2

    @rule(name=names, start=st.integers(0, 60), length=st.integers(0, 250))
    def get_range(self, name: str, start: int, length: int) -> None:
        entry, expected = outcome_of(self.model.content, name)
        results = self.both(
            "get_range",
            expected,
            *(one.get_range(name, start, start + length) for one in self.stores),
        )
        if expected is None:
            assert results == [entry.content[start : start + length]] * 2

    @rule(index=st.integers(0, 1000))
    def get_pinned(self, index: int) -> None:
        if not self.pins:
            return
        pin = self.pins[index % len(self.pins)]
        entry, expected = outcome_of(self.model.pinned, pin)
        results = self.both(
            "get pinned",
            expected,
            *(store.get(info) for store, info in zip(self.stores, pin.infos, strict=True)),
        )
        if expected is None:
            assert results == [entry.content] * 2

    @rule(name=names, size=st.sampled_from([1, 7, -1]))
    def read_opened(self, name: str, size: int) -> None:
        entry, expected = outcome_of(self.model.content, name)

        async def read(store: ObjectStore) -> bytes:
            async with store.open(name) as reader:
                return await reader.read(size)

        results = self.both("open", expected, *(read(store) for store in self.stores))
        if expected is None:
            whole = entry.content
            assert results == [whole if size < 0 else whole[:size]] * 2

    @rule(name=names, show_deleted=st.booleans())
    def get_info(self, name: str, show_deleted: bool) -> None:
        entry, expected = outcome_of(self.model.entry, name)
        if expected is ObjectDeletedError and show_deleted:
            entry, expected = self.model.entries[name], None
        results = self.both(
            "get_info", expected, *(one.get_info(name, show_deleted) for one in self.stores)
        )
        if expected is None:
            for info in results:
                self.check_info(info, name, entry)

    @rule(name=names)
    def exists(self, name: str) -> None:
        entry = self.model.entries.get(name)
        live = entry is not None and not entry.deleted
        assert self.both("exists", None, *(one.exists(name) for one in self.stores)) == [
            live,
            live,
        ]

    @rule(include_deleted=st.booleans(), prefix=st.sampled_from([None, "a", "a/"]))
    def list(self, include_deleted: bool, prefix: str | None) -> None:
        expected = sorted(
            name
            for name, entry in self.model.entries.items()
            if (include_deleted or not entry.deleted) and name.startswith(prefix or "")
        )
        for infos in self.both(
            "list",
            None,
            *(one.list(include_deleted=include_deleted, prefix=prefix) for one in self.stores),
        ):
            assert [info.name for info in infos] == expected
            for info in infos:
                self.check_info(info, info.name, self.model.entries[info.name])

    @rule()
    def status(self) -> None:
        count = sum(not entry.deleted for entry in self.model.entries.values())
        for status in self.both("status", None, *(one.status() for one in self.stores)):
            assert status.count == count

    @rule()
    def state_to_watch(self) -> None:
        async def state(store: ObjectStore) -> dict[str, int]:
            seen = {}
            watcher = await store.watch()
            try:
                while (info := await watcher.updates()) is not None:
                    assert info.name not in seen
                    seen[info.name] = info.revision
            finally:
                await watcher.stop()
            return seen

        expected = {name: entry.revision for name, entry in self.model.entries.items()}
        for seen in self.both("watch", None, *(state(store) for store in self.stores)):
            assert seen == expected
            assert [*seen.values()] == sorted(seen.values())

    @invariant()
    def one_of_the_backends_is_as_the_model(self) -> None:
        """The raw state of memory after each step; of the server's at the end."""
        if self.backends:
            assert self.run(layout(self.backends[0])) == self.model.layout()


changes = st.tuples(
    st.sampled_from(["put", "put", "delete", "rename", "update_meta"]), names, names, contents
)


class Transactions(Stores):
    """The same in buckets with transactions, and several changes in one."""

    transactions = True

    @rule(
        # Several: it is one rule of many.
        rounds=st.lists(st.lists(changes, min_size=1, max_size=5), min_size=4, max_size=8),
        failing=st.integers(0, 12),
    )
    def transact(self, rounds: list[list[tuple[str, str, str, bytes]]], failing: int) -> None:
        for number, changes in enumerate(rounds):
            self._transact(changes, fails=number == failing)

    def _transact(self, changes: list[tuple[str, str, str, bytes]], *, fails: bool) -> None:
        async def transact(store: ObjectStore) -> None:
            async with store.transaction() as tx:
                for verb, name, to, content in changes:
                    if verb == "put":
                        ttl = 3600 if len(content) > 5 else None
                        await tx.put(name, content, chunk_size=5, ttl=ttl)
                    elif verb == "delete":
                        await tx.delete(name)
                    elif verb == "rename":
                        await tx.rename(name, to)
                    else:
                        await tx.update_meta(name, ObjectMeta(description=to))
                if fails:
                    raise ObjStoreError("given up")

        expected: type[ObjStoreError] | None = ObjStoreError if fails else None
        now = dict(self.model.entries)
        changed: dict[str, None] = {}
        try:
            for change in changes:
                for name in self._changed(now, *change):
                    changed.pop(name, None)
                    changed[name] = None
        except ObjStoreError as error:
            expected = type(error)
        self.both("transaction", expected, *(transact(store) for store in self.stores))
        if expected is not None:
            return
        for name in changed:
            before = self.model.entries.get(name)
            if not now[name].deleted or (before is not None and not before.deleted):
                self.model.write(name, now[name])

    def _changed(
        self, now: dict[str, Entry], verb: str, name: str, to: str, content: bytes
    ) -> tuple[str, ...]:
        """Make a change in a dict; the names that it changes."""
        if verb == "put":
            self.model.versions += 1
            now[name] = Entry(0, content, 5, version=self.model.versions)
            now[name].expires = len(content) > 5
            # Sent at once, whatever becomes of the rest.
            self.model.sequence += now[name].chunks
            return (name,)
        before = now.get(name)
        if before is None:
            raise ObjectNotFoundError(name)
        if before.deleted and verb == "delete":
            return ()
        if before.deleted:
            raise ObjectDeletedError(name)
        if verb == "delete":
            now[name] = replace(before, deleted=True)
            return (name,)
        if verb == "update_meta":
            now[name] = replace(before, description=to, headers=None)
            return (name,)
        if name == to:
            now[name] = replace(before)
            return (name,)
        taken = now.get(to)
        if taken is not None and not taken.deleted:
            raise ObjectAlreadyExists(to)
        now[to], now[name] = replace(before), replace(before, deleted=True)
        return to, name


@pytest.mark.once
@pytest.mark.timeout(110)
def test_transactions_are_the_same_on_both_backends_and_a_dict(
    nats_server: NatsServer,
) -> None:
    Transactions.url = nats_server.url
    machine = Transactions.TestCase
    machine.settings = settings(
        max_examples=EXAMPLES // 3,
        stateful_step_count=STEPS,
        suppress_health_check=[*HealthCheck],
        database=None,
        print_blob=True,
    )
    _tried.clear()
    # Hypothesis leaves rules out of examples, so that a run may try no transaction at all.
    while _tried["transaction"] <= EXAMPLES / 2:
        machine().runTest()
    print(f"{_tried['transaction']} transactions")


@pytest.mark.once
@pytest.mark.timeout(110)
def test_both_backends_and_a_dict_agree_on_random_operations(
    nats_server: NatsServer, record_property: Any
) -> None:
    Stores.url = nats_server.url
    machine = Stores.TestCase
    machine.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        # Neither a slow machine nor a slow server is a finding.
        suppress_health_check=[*HealthCheck],
        database=None,
        print_blob=True,
    )
    _tried.clear()
    machine().runTest()
    total = sum(_tried.values())
    record_property("operations", total)
    print(f"{total} operations:", dict(sorted(_tried.items())))  # shown with -s

    assert total > EXAMPLES * STEPS / 2
    # Of 20; one that is rarely possible may be missing in an unlucky run.
    assert len(_tried) >= 17, sorted(_tried)
