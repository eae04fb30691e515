"""A bucket as a tar: whole, verified, readable by any tar; and back."""

import asyncio
import io
import json
import subprocess
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pytest

from faststream_objstore import BulkError, BulkResult, ObjectMeta, ObjectStore
from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.memory import MemoryServer
from faststream_objstore.exceptions import (
    BucketSealedError,
    DigestMismatchError,
    InvalidDumpError,
    InvalidOptionError,
    NotConnectedError,
    ObjectAlreadyExists,
)
from faststream_objstore.models import ObjectLink, ObjectStoreConfig
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.store.dumped import config_of_dump
from faststream_objstore.testing import NatsServer
from tests.store.conftest import CreateBucket
from tests.store.support import MIB, Audit, layout, pattern_bytes, soon, spied, write_chunks


async def memory_bucket(name: str) -> ObjectStore:
    backend = await bind_bucket(MemoryServer(), ObjectStoreConfig(bucket=name))
    return ObjectStore.on(backend)


async def test_bucket_comes_back_as_it_was(
    create_bucket: CreateBucket, bucket_name: str, other_store: ObjectStore, tmp_path: Path
) -> None:
    store = ObjectStore.on(
        await create_bucket(bucket_name, ttl=timedelta(days=7), description="text")
    )
    await store.put(
        "a/large",
        pattern_bytes(5 * MIB),
        description="described",
        headers={"k": ["v", "w"]},
        metadata={"key": "täxt"},
        chunk_size=100_000,
    )
    await store.put("empty", b"")
    await store.put("gone", b"x")
    await store.delete("gone")
    await store.add_link("link", "empty")
    await store.update_meta("link", ObjectMeta(description="of the link"))
    await store.add_bucket_link("bucket", other_store.bucket)

    dumped = await soon(store.dump(tmp_path / "b.tar"))
    expected = ["a/large", "bucket", "empty", "link"]
    assert dumped == BulkResult(done=expected, size=5 * MIB)
    assert [one.name for one in tmp_path.iterdir()] == ["b.tar"]

    target = ObjectStore.on(await create_bucket(f"{bucket_name}-restored"))
    assert await soon(target.restore(tmp_path / "b.tar")) == dumped
    for name in ("a/large", "empty", "link"):
        before, after = await store.get_info(name), await target.get_info(name)
        for said in ("size", "chunks", "digest", "description", "headers", "metadata"):
            assert getattr(after, said) == getattr(before, said), (name, said)
    assert await target.get("a/large") == pattern_bytes(5 * MIB)
    assert (await target.get_info("link")).link == ObjectLink(target.bucket, "empty")
    assert (await target.get_info("bucket")).link == ObjectLink(other_store.bucket)
    assert not await target.exists("gone")

    config = await config_of_dump(tmp_path / "b.tar", "new")
    assert (config.bucket, config.ttl, config.description) == (
        "new",
        timedelta(days=7),
        "text",
    )


async def test_settings_of_a_bucket_are_those_of_the_dumped_one(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    settings: dict[str, Any] = {
        "description": "text",
        "ttl": timedelta(days=7),
        "max_bytes": 10_000_000,
        "storage": "memory",
        "replicas": 1,
        "compression": True,
        "metadata": {"team": "photos"},
        "keep_replaced": timedelta(minutes=2),
        "transactions": True,
        "object_ttl": timedelta(minutes=5),
    }
    store = ObjectStore.on(await create_bucket(bucket_name, **settings))
    file = io.BytesIO()
    await soon(store.dump(file))
    file.seek(0)

    config = await config_of_dump(file, "new")
    assert {key: getattr(config, key) for key in settings} == settings


async def test_dump_of_a_server_is_a_fixture_in_memory(
    store: ObjectStore, tmp_path: Path
) -> None:
    await store.put("x", b"content")
    await soon(store.dump(tmp_path / "b.tgz"))

    memory = await memory_bucket("fixture")
    await memory.restore(tmp_path / "b.tgz")
    assert await memory.get("x") == b"content"


async def test_any_tar_reads_it_and_nothing_lands_outside(
    store: ObjectStore, tmp_path: Path
) -> None:
    for name in ("good/name", "../../up", "/abs", "a", "a/b", "Case", "case", "nul\0", "x/"):
        await store.put(name, name)
    await soon(store.dump(tmp_path / "b.tar"))

    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    done = await asyncio.to_thread(
        subprocess.run,
        ["tar", "-xPf", str(tmp_path / "b.tar")],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "objects" / "good" / "name").read_text() == "good/name"
    apart = [one.read_text() for one in (folder / "objects-by-number").iterdir()]
    assert sorted(apart) == sorted(
        ["../../up", "/abs", "a", "a/b", "Case", "case", "nul\0", "x/"]
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.tar", "deep"]

    again = await memory_bucket("again")
    await again.restore(tmp_path / "b.tar")
    assert [info.name for info in await again.list()] == [i.name for i in await store.list()]


async def test_small_objects_are_read_together_and_come_back_with_the_others(
    backend: Backend, create_bucket: CreateBucket, bucket_name: str, tmp_path: Path
) -> None:
    plain = ObjectStore.on(backend)
    wanted = {f"{number:03}": f"content {number}".encode() for number in range(70)}
    wanted |= {"empty": b"", "large": pattern_bytes(MIB)}
    for name, data in wanted.items():
        await plain.put(name, data, metadata={"of": name})
    store, spy = spied(backend)

    dumped = await soon(store.dump(tmp_path / "b.tar"))
    # Metadata and contents of 64, and of the rest; all but the large one.
    assert [one for one in spy.calls if "last" in one] == [
        *["last_messages"] * 4,
        "last_message",
    ]

    target = ObjectStore.on(await create_bucket(f"{bucket_name}-restored"))
    assert await soon(target.restore(tmp_path / "b.tar")) == dumped
    assert {one.info.name: one async for one in target.get_many(target.iter())} == wanted
    assert all(one.metadata == {"of": one.name} for one in await target.list())


async def test_small_object_that_is_replaced_while_it_is_dumped_is_whole(
    backend: Backend, create_bucket: CreateBucket, bucket_name: str, tmp_path: Path
) -> None:
    store, spy = spied(backend)
    for name in "abc":
        await store.put(name, b"old")

    async def then_replace() -> None:
        async def replace_it() -> None:
            await ObjectStore.on(backend).put("b", b"newer", description="newer")

        # Between the metadata and the contents.
        spy.before["last_messages"] = replace_it

    spy.before["last_messages"] = then_replace
    await soon(store.dump(tmp_path / "b.tar"))

    target = ObjectStore.on(await create_bucket(f"{bucket_name}-restored"))
    assert (await soon(target.restore(tmp_path / "b.tar"))).done == ["a", "b", "c"]
    assert [await target.get(name) for name in "abc"] == [b"old", b"newer", b"old"]
    assert (await target.get_info("b")).description == "newer"


async def test_object_that_is_replaced_while_it_is_dumped_is_whole(
    backend: Backend, tmp_path: Path
) -> None:
    store, spy = spied(backend)
    await store.put("x", pattern_bytes(MIB))
    new = bytes(MIB)
    replaced = asyncio.Event()

    async def replace() -> None:
        await ObjectStore.on(backend).put("x", new)
        replaced.set()

    inner = store.get_info

    async def get_info(name: str, show_deleted: bool = False) -> Any:
        info = await inner(name, show_deleted)
        if not replaced.is_set():
            await replace()
        return info

    store.get_info = get_info  # type: ignore[method-assign]
    await soon(store.dump(tmp_path / "b.tar"))
    assert spy.calls

    memory = await memory_bucket("again")
    await memory.restore(tmp_path / "b.tar")
    assert await memory.get("x") == new


async def test_damaged_object_is_named_and_the_rest_is_dumped(
    backend: Backend, store: ObjectStore, audit: Audit, tmp_path: Path
) -> None:
    audit.orphans = True
    info = await store.put("bad", pattern_bytes(MIB))
    await store.put("good", b"1")
    await write_chunks(backend, info.nuid, b"one chunk too many")

    with pytest.raises(BulkError, match="1 objects could not be dumped: 'bad'"):
        await soon(store.dump(tmp_path / "b.tar"))
    memory = await memory_bucket("again")
    assert (await memory.restore(tmp_path / "b.tar")).done == ["good"]


async def test_mode_says_what_happens_to_what_is_there(
    store: ObjectStore, tmp_path: Path
) -> None:
    await store.put("a", b"dumped")
    await store.put("b", b"dumped")
    file = io.BytesIO()
    await soon(store.dump(file))
    await store.put("a", b"newer")
    await store.delete("b")

    def dumped() -> io.BytesIO:
        return io.BytesIO(file.getvalue())

    assert await store.restore(dumped(), mode="missing") == BulkResult(
        done=["b"], unchanged=["a"], size=6
    )
    assert await store.get("a") == b"newer"
    with pytest.raises(BulkError) as raised:
        await store.restore(dumped())
    assert {type(one) for one in raised.value.result.failed.values()} == {ObjectAlreadyExists}
    assert (await store.restore(dumped(), mode="overwrite")).done == ["a", "b"]
    assert await store.get("a") == b"dumped"
    with pytest.raises(InvalidOptionError, match="got 'all'"):
        await store.restore(dumped(), mode="all")  # type: ignore[arg-type]


async def dump_of(**objects: bytes) -> bytes:
    store = await memory_bucket("source")
    for name, content in objects.items():
        await store.put(name, content)
    file = io.BytesIO()
    await store.dump(file)
    return file.getvalue()


async def test_content_that_is_not_what_the_dump_says_is_not_put(
    backend: Backend, store: ObjectStore
) -> None:
    dump = await dump_of(a=b"as it was put", b=b"another one!!")
    file = io.BytesIO(dump.replace(b"as it was put", b"as it was not"))

    with pytest.raises(BulkError) as raised:
        await store.restore(file)
    assert type(raised.value.result.failed["a"]) is DigestMismatchError
    assert raised.value.result.done == ["b"]
    assert await layout(backend) == {"b": 1}


async def test_dump_that_is_cut_off_is_told_from_a_whole_one(store: ObjectStore) -> None:
    dump = await dump_of(a=bytes(10_000), b=bytes(10_000))

    for size in (0, 100, 3000, 8000, 16_000, 25_000):
        with pytest.raises(InvalidDumpError):
            await store.restore(io.BytesIO(dump[:size]), mode="overwrite")
    # After a whole member, tar itself takes it for the end.
    with tarfile.open(fileobj=io.BytesIO(dump)) as tar:
        end = tar.getmember("end.json").offset
    with pytest.raises(InvalidDumpError, match="cut off behind 2 objects"):
        await store.restore(io.BytesIO(dump[:end] + bytes(1024)), mode="overwrite")


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    file.seek(0)
    return file


def member_of(name: str, content: object, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content if isinstance(content, bytes) else json.dumps(content).encode()


HEADER = member_of("bucket.json", {"format": "faststream-objstore-dump", "version": 1})
SAID = {
    "name": "x",
    "path": "../../x",
    "size": 3,
    "sha256": None,
    "chunk_size": None,
    "description": None,
    "headers": None,
    "metadata": None,
    "link": None,
}


@pytest.mark.parametrize(
    "members, said",
    [
        ([], "no dump"),
        ([member_of("../../etc/passwd", b"root")], "does not begin with bucket.json"),
        ([member_of("bucket.json", b"not json")], "no JSON object"),
        (
            [member_of("bucket.json", {"format": "faststream-objstore-dump", "version": 2})],
            "version 2",
        ),
        ([HEADER, member_of("/x", b"", type=tarfile.SYMTYPE, linkname="/etc")], "no file"),
        (
            [HEADER, member_of("x", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
            "no file",
        ),
        ([HEADER, member_of("x", b"", type=tarfile.CHRTYPE)], "no file"),
        (
            [HEADER, member_of("metadata/1.json", {"name": 5})],
            "does not say what an object is",
        ),
        (
            [HEADER, member_of("metadata/1.json", SAID), member_of("y", b"abc")],
            "no content of",
        ),
        (
            [HEADER, member_of("metadata/1.json", SAID), member_of("../../x", b"abcd")],
            "no content of",
        ),
        ([HEADER, member_of("end.json", {"objects": 1})], "says that it has 1 objects"),
        ([member_of("bucket.json", b'{"a":' * 100_000)], "no JSON object"),
        (
            [HEADER, member_of("metadata/1.json", SAID | {"size": float("inf")})],
            "does not say what an object is",
        ),
        (
            [HEADER, member_of("metadata/1.json", SAID | {"chunk_size": float("inf")})],
            "does not say what an object is",
        ),
        (
            [
                HEADER,
                member_of(
                    "x",
                    b"abc",
                    pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
                ),
            ],
            "cut off or damaged",
        ),
        (
            [HEADER, member_of("x", b"abc", pax_headers={"comment": "x" * 2 * 1024**2})],
            "a header of 2097[0-9]{3} bytes",
        ),
        ([HEADER, member_of("x" * 2 * 1024**2, b"abc")], "a header of 2097[0-9]{3} bytes"),
        # Each of the ways in which a tar may say that a file is sparse.
        ([HEADER, member_of("x", b"", type=tarfile.GNUTYPE_SPARSE)], "sparse"),
        *(
            ([HEADER, member_of("x", b"0\n", pax_headers=fields)], "sparse")
            for fields in (
                {"GNU.sparse.size": "0", "GNU.sparse.map": "0,0"},
                {"GNU.sparse.map": "999999999999,0", "GNU.sparse.size": "999999999999"},
                {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
            )
        ),
    ],
)
async def test_hostile_dump_is_refused_and_nothing_is_written(
    members: list[tuple[tarfile.TarInfo, bytes]],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    store = await memory_bucket("target")

    with pytest.raises(InvalidDumpError, match=said):
        await store.restore(tar_of(*members))
    assert await store.list() == []
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
async def test_header_that_claims_a_huge_size_is_not_read(kind: bytes) -> None:
    store = await memory_bucket("target")
    claim = tarfile.TarInfo("x")
    claim.type, claim.size = kind, 2**40
    block = claim.tobuf(tarfile.GNU_FORMAT)

    with pytest.raises(InvalidDumpError, match="a header of 1099511627776 bytes"):
        await store.restore(io.BytesIO(block + b"x" * 1024))


async def test_endless_chain_of_headers_is_refused() -> None:
    store = await memory_bucket("target")
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 512
    block = header.tobuf(tarfile.GNU_FORMAT) + b"11 key=abc\n".ljust(512, b"\0")

    with pytest.raises(InvalidDumpError, match="cut off or damaged"):
        await store.restore(io.BytesIO(block * 10_000))


async def test_what_is_no_file_to_restore_from_is_refused() -> None:
    store = await memory_bucket("target")

    for file in (5, io.StringIO("text")):
        with pytest.raises(InvalidOptionError, match="neither a path nor a binary file"):
            await store.restore(file)  # type: ignore[arg-type]
        with pytest.raises(InvalidOptionError, match="neither a path nor a binary file"):
            await store.dump(file)  # type: ignore[arg-type]


async def test_path_that_leads_outside_is_only_where_the_content_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    store = await memory_bucket("target")

    file = tar_of(
        HEADER,
        member_of("metadata/1.json", SAID),
        member_of("../../x", b"abc"),
        member_of("end.json", {"objects": 1}),
    )
    await store.restore(file)
    assert await store.get("x") == b"abc"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


async def test_dump_that_fails_leaves_the_old_one(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_text("old")
    await store.put("x", b"1")

    def fail(done: int, total: int | None) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await store.dump(path, progress=fail)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["b.tar"]


async def test_objects_of_a_dump_expire_when_they_would_have(
    create_bucket: CreateBucket,
    bucket_name: str,
    audit: Audit,
    caplog: pytest.LogCaptureFixture,
) -> None:
    audit.orphans = True
    store = ObjectStore.on(await create_bucket(bucket_name, object_ttl=1))
    await soon(store.put("stays", b"1"))
    await soon(store.put("later", b"2", ttl=3600))
    await soon(store.add_link("link", "stays"))
    await soon(store.update_meta("link", ttl=3600))
    await soon(store.put("soon", b"3", ttl=1))
    dumped = {info.name: info.expires for info in await soon(store.list())}
    file = io.BytesIO()
    await soon(store.dump(file))
    async with store.watch() as watcher:
        async for info in watcher:
            if info.expired:
                break

    again = ObjectStore.on(await create_bucket(f"{bucket_name}-again", object_ttl=1))
    file.seek(0)
    result = await soon(again.restore(file))

    assert result.done == ["later", "link", "stays"]
    restored = {info.name: info.expires for info in await soon(again.list())}
    assert restored == {name: dumped[name] for name in ("later", "link", "stays")}
    assert "1 objects of the dump have expired since and are not restored" in caplog.text


async def test_objects_that_cannot_expire_where_they_are_restored_are_told_of(
    create_bucket: CreateBucket,
    bucket_name: str,
    audit: Audit,
    caplog: pytest.LogCaptureFixture,
) -> None:
    audit.orphans = True
    store = ObjectStore.on(await create_bucket(bucket_name, object_ttl=1))
    await soon(store.put("a", b"1"))
    await soon(store.put("later", b"2", ttl=3600))
    await soon(store.add_link("link", "a"))
    await soon(store.update_meta("link", ttl=3600))
    await soon(store.put("soon", b"3", ttl=1))
    file = io.BytesIO()
    await soon(store.dump(file))
    async with store.watch() as watcher:
        async for info in watcher:
            if info.expired:
                break

    plain = ObjectStore.on(await create_bucket(f"{bucket_name}-plain"))
    file.seek(0)
    result = await soon(plain.restore(file))

    # What has expired does not come to life again.
    assert result.done == ["a", "later", "link"]
    assert [info.expires for info in await soon(plain.list())] == [None, None, None]
    gone, kept = [one.getMessage() for one in caplog.records]
    assert "1 objects of the dump have expired since and are not restored" in gone
    assert (
        f"Bucket '{bucket_name}-plain': 2 objects of the dump expire at a time of their own, "
        "the first one 'later', and stay here, because this bucket has no object_ttl. Declare "
        "it with object_ttl=True and update=True"
    ) in kept


async def test_dumps_to_one_path_do_not_disturb_each_other(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "b.tar"
    for name in ("a", "b", "c"):
        await store.put(name, name.encode())

    async def dump_again(done: int, total: int | None) -> None:
        if done == 1:
            await store.dump(path)

    result = await soon(store.dump(path, progress=dump_again))

    assert result.done == ["a", "b", "c"]
    assert [one.name for one in tmp_path.iterdir()] == ["b.tar"]
    assert (await (await memory_bucket("copy")).restore(path)).done == ["a", "b", "c"]


async def test_dump_to_a_file_that_takes_a_part_at_a_time_is_whole(store: ObjectStore) -> None:
    class Pipe(io.RawIOBase):
        """As a raw pipe, after a signal."""

        taken = bytearray()

        def write(self, data: Any) -> int:
            part = bytes(data[:1000])
            self.taken += part
            return len(part)

    await store.put("a", pattern_bytes(100_000))
    pipe = Pipe()
    await soon(store.dump(pipe))  # type: ignore[arg-type]

    copy = await memory_bucket("copy")
    await copy.restore(io.BytesIO(pipe.taken))
    assert await copy.get("a") == pattern_bytes(100_000)


async def test_link_that_leads_nowhere_is_restored_as_it_was(
    store: ObjectStore, create_bucket: CreateBucket, bucket_name: str
) -> None:
    await create_bucket(f"{bucket_name}-elsewhere")
    elsewhere = await soon(store.beside(f"{bucket_name}-elsewhere"))
    for at in (store, elsewhere):
        await soon(at.put("target", b"1"))
    await soon(store.add_link("within", "target"))
    await soon(store.add_link("across", await elsewhere.get_info("target")))
    await soon(store.add_bucket_link("bucket", elsewhere))
    for at in (store, elsewhere):
        await soon(at.delete("target"))
    file = io.BytesIO()
    await soon(store.dump(file))
    file.seek(0)

    # A server that has no other bucket.
    copy = await memory_bucket("copy")
    assert (await copy.restore(file)).done == ["across", "bucket", "within"]
    assert {info.name: info.link for info in await copy.list()} == {
        "across": ObjectLink(elsewhere.bucket, "target"),
        "bucket": ObjectLink(elsewhere.bucket),
        "within": ObjectLink("copy", "target"),
    }


async def test_link_of_a_dump_is_put_in_one_step(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    store = ObjectStore.on(await create_bucket(bucket_name, object_ttl=1))
    await soon(store.put("target", b"1"))
    await soon(store.add_link("link", "target"))
    await soon(store.update_meta("link", ObjectMeta(description="text", headers={"k": "v"})))
    await soon(store.update_meta("link", ttl=3600))
    expires = (await soon(store.get_info("link"))).expires
    file = io.BytesIO()
    await soon(store.dump(file))
    file.seek(0)

    again = ObjectStore.on(await create_bucket(f"{bucket_name}-again", object_ttl=1))
    async with again.watch(updates_only=True) as watcher:
        await soon(again.restore(file))
        seen = [await soon(watcher.updates()) for _ in range(2)]
    assert [info and (info.name, info.description, info.expires) for info in seen] == [
        ("target", None, None),
        ("link", "text", expires),
    ]
    # Nothing more was written than these two and a chunk.
    assert (await soon(again.get_info("link"))).revision == 3


async def test_overwriting_replaces_an_object_by_the_link_of_a_dump(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    file = io.BytesIO()
    dumped = await memory_bucket("dumped")
    await dumped.put("target", b"1")
    await dumped.add_link("x", "target")
    await dumped.dump(file)

    backend = await create_bucket(bucket_name)
    store = ObjectStore.on(backend)
    await soon(store.put("x", b"content"))
    file.seek(0)
    kept = await soon(store.restore(file, mode="missing"))
    assert (kept.done, kept.unchanged) == (["target"], ["x"])
    assert await soon(store.get("x")) == b"content"
    file.seek(0)
    assert (await soon(store.restore(file, mode="overwrite"))).done == ["target", "x"]
    assert await soon(store.get("x")) == b"1"
    # The chunks of what was replaced are gone.
    assert await soon(layout(backend)) == {"target": 1, "x": "link"}


async def test_link_that_has_expired_since_is_not_restored(
    create_bucket: CreateBucket, bucket_name: str
) -> None:
    store = ObjectStore.on(await create_bucket(bucket_name, object_ttl=1))
    await soon(store.put("target", b"1"))
    await soon(store.add_link("link", "target"))
    await soon(store.update_meta("link", ttl=3600))
    file = io.BytesIO()
    await soon(store.dump(file))
    raw = file.getvalue()
    year = str((await store.get_info("link")).expires)[:4].encode()
    # The dump of the year before.
    expired = raw.replace(b'"expires": "' + year, b'"expires": "2024')
    assert expired != raw

    again = ObjectStore.on(await create_bucket(f"{bucket_name}-again", object_ttl=1))
    assert (await soon(again.restore(io.BytesIO(expired)))).done == ["target"]
    assert [info.name for info in await soon(again.list())] == ["target"]


async def test_small_objects_of_a_dump_are_put_several_at_a_time(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = await dump_of(**{f"n{number:03}": b"%d" % number for number in range(100)})
    waiting = 0
    enough = asyncio.Event()
    put = store.put

    async def held(*arguments: Any, **options: Any) -> Any:
        nonlocal waiting
        waiting += 1
        if waiting == 64:
            enough.set()
        await soon(enough.wait())
        return await put(*arguments, **options)

    monkeypatch.setattr(store, "put", held)
    told: list[tuple[int, int | None]] = []
    await store.restore(io.BytesIO(dump), progress=lambda *done: told.append(done))
    assert told == [(count, None) for count in range(1, 101)]
    assert [await store.get(f"n{number:03}") for number in (0, 63, 64, 99)] == [
        b"0",
        b"63",
        b"64",
        b"99",
    ]


async def test_name_that_a_dump_has_twice_is_put_in_order(store: ObjectStore) -> None:
    members = [HEADER]
    for number in range(20):
        said = {**SAID, "path": f"objects/{number}", "size": 2}
        members.append(member_of(f"metadata/{number}.json", said))
        members.append(member_of(f"objects/{number}", b"%02d" % number))
    end = member_of("end.json", {"objects": 20})

    await store.restore(tar_of(*members, end), mode="overwrite")
    assert await store.get("x") == b"19"
    await store.delete("x")
    with pytest.raises(BulkError):
        await store.restore(tar_of(*members, end))
    assert await store.get("x") == b"00"


async def test_objects_before_the_end_of_a_dump_that_is_cut_off_are_put(
    store: ObjectStore,
) -> None:
    dump = await dump_of(a=b"1", b=b"2", c=bytes(10_000))
    with tarfile.open(fileobj=io.BytesIO(dump)) as tar:
        cut = tar.getmember("objects/c").offset_data + 5000

    with pytest.raises(InvalidDumpError):
        await store.restore(io.BytesIO(dump[:cut]))
    assert [info.name for info in await store.list()] == ["a", "b"]


async def test_sealed_bucket_stops_a_restore_with_its_own_error(store: ObjectStore) -> None:
    dump = await dump_of(**{f"n{number}": b"1" for number in range(5)})
    await store.seal()
    with pytest.raises(BucketSealedError):
        await store.restore(io.BytesIO(dump))


async def test_dump_whose_connection_ends_leaves_the_old_one(
    nats_server: NatsServer, bucket_name: str, tmp_path: Path
) -> None:
    client = await nats.connect(nats_server.url)
    store = await ObjectStore.bind(client, bucket_name, declare=True)
    for number in range(4):
        await store.put(f"n{number}", bytes(200_000))
    old = tmp_path / "bucket.tar"
    old.write_bytes(b"the old one")

    async def disconnect(*_: object) -> None:
        await client.close()

    with pytest.raises(NotConnectedError):
        await soon(store.dump(old, progress=disconnect))
    assert old.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [old]


async def test_object_that_is_renamed_while_a_dump_is_written_is_in_it(
    store: ObjectStore,
) -> None:
    content = pattern_bytes(200_000)
    for name in ("b", "y", "z"):
        await store.put(name, content)
    await store.put("deleted", content)
    told: list[tuple[int, int | None]] = []

    async def move(done: int, total: int | None) -> None:
        told.append((done, total))
        if done == 1:
            # To where the dump has been, to where it has not, and to one that differs from
            # one that it has in nothing but case.
            await store.rename("z", "a")
            await store.rename("y", "B")
            await store.delete("deleted")

    file = io.BytesIO()
    dumped = await soon(store.dump(file, progress=move))
    assert sorted(dumped.done) == ["B", "a", "b"]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4), (5, 6), (6, 6)]
    file.seek(0)
    again = await memory_bucket("again")
    assert (await again.restore(file)).done == ["B", "a", "b"]
    assert [await again.get(name) for name in ("B", "a", "b")] == [content] * 3
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        paths = [name for name in tar.getnames() if name.startswith("objects")]
    assert paths == ["objects/b", "objects-by-number/5", "objects/a"]


async def test_folder_is_no_dump_and_is_named(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        await store.restore(tmp_path)
    assert raised.value.filename == str(tmp_path)
