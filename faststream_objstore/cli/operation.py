"""The commands of who operates buckets: what happens in them, and how they stand."""

from socket import socket
from typing import Annotated, Any

import typer

from faststream_objstore.cli.output import as_json, emit, printable, size_of
from faststream_objstore.cli.session import Address, Session, age, fail, run, usage
from faststream_objstore.pattern import NamePattern
from faststream_objstore.standing import DurableStanding, durable_standing
from faststream_objstore.store import ObjectStore

__all__ = ("add_operation",)

Json = Annotated[bool, typer.Option("--json", help="JSON, a value on a line.")]
Bucket = Annotated[str, typer.Argument(help="The bucket.")]

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def watch(
    context: typer.Context,
    bucket: Bucket,
    pattern: Annotated[str | None, typer.Option(help="Only names that match.")] = None,
    updates_only: Annotated[
        bool, typer.Option("--updates-only", help="Leave out what is there now.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many.")] = None,
    json: Json = False,
) -> None:
    """Show what is there, then each change, until interrupted."""
    bucket = Address.of_bucket(bucket)

    async def work() -> None:
        wanted = None if pattern is None else NamePattern(pattern)
        seen = 0
        async with (
            context.obj.store(bucket) as store,
            store.watch(updates_only=updates_only) as watcher,
        ):
            context.obj.reconnect_for_ever()
            async for info in watcher:
                if wanted is not None and wanted.match(info.name) is None:
                    continue
                if json:
                    emit(as_json(info))
                else:
                    verb = "exp" if info.expired else "del" if info.deleted else "put"
                    print(verb, printable(info.name), flush=True)
                seen += 1
                if seen == count:
                    return

    run(work, until_interrupted=True)


def status(context: typer.Context, bucket: Bucket, json: Json = False) -> None:
    """Show a bucket's settings and size."""
    bucket = Address.of_bucket(bucket)

    async def work() -> None:
        async with context.obj.store(bucket) as store:
            found = await store.status()
        said: dict[str, Any] = {
            "bucket": found.bucket,
            "description": found.description,
            "objects": found.count,
            "size": found.size,
            "max_bytes": found.max_bytes,
            "ttl": found.ttl and found.ttl.total_seconds(),
            "keep_replaced": found.keep_replaced and found.keep_replaced.total_seconds(),
            "object_ttl": found.object_ttl and found.object_ttl.total_seconds(),
            "storage": found.storage,
            "replicas": found.replicas,
            "compressed": found.compressed,
            "sealed": found.sealed,
            "metadata": found.metadata,
            "origins": [{"bucket": one.bucket, "domain": one.domain} for one in found.origins],
            "lag": found.lag,
        }
        if json:
            emit(said)
            return
        said |= {"size": size_of(found.size), "ttl": found.ttl}
        said["max_bytes"] = None if found.max_bytes is None else size_of(found.max_bytes)
        said["keep_replaced"] = found.keep_replaced
        said["origins"] = " and ".join(map(str, found.origins)) or None
        said["lag"] = None if found.lag is None else f"{found.lag} messages"
        for key, value in said.items():
            if value not in (None, {}, False):
                print(f"{key + ':':<14} {printable(str(value))}")

    run(work)


def sweep(
    context: typer.Context,
    bucket: Bucket,
    older_than: Annotated[str, typer.Option(help="Younger chunks stay.")] = "1h",
    markers_older_than: Annotated[
        str | None, typer.Option(help="Remove delete markers of this age too.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove what no object refers to: chunks of writers that died."""
    bucket = Address.of_bucket(bucket)
    young = age(older_than)
    markers = None if markers_older_than is None else age(markers_older_than)

    async def work() -> None:
        async with context.obj.store(bucket) as store:
            freed = await store.sweep(young, markers_older_than=markers)
        if json:
            emit({"freed": freed})
        else:
            print(f"{size_of(freed)} freed")

    run(work)


def lag(
    context: typer.Context,
    bucket: Bucket,
    max_pending: Annotated[
        int | None, typer.Option(min=0, help="Fail if a consumer is further behind.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how far the consumers of a bucket are behind."""
    bucket = Address.of_bucket(bucket)
    session: Session = context.obj

    async def work() -> None:
        async with session.connected() as server:
            backend = await server.open(bucket)
            found: list[DurableStanding] = []
            for consumer in await backend.consumers():
                standing = await durable_standing(
                    server, bucket, consumer.name, timeout=session.timeout
                )
                if standing is not None:
                    found.append(standing)
        for one in found:
            if json:
                emit(
                    {
                        "consumer": one.durable,
                        "pending": one.pending,
                        "in_work": one.in_work,
                        "redelivered": one.redelivered,
                        "oldest_seconds": one.oldest,
                    }
                )
            else:
                said = f"{one.pending} pending, {one.in_work} in work"
                if one.pending or one.in_work:
                    said += f", the oldest for {one.oldest:.0f} s"
                if one.redelivered:
                    said += f", {one.redelivered} delivered again"
                print(printable(f"{one.durable}: {said}"))
        behind = [one.durable for one in found if one.pending > (max_pending or 0)]
        if max_pending is not None and behind:
            fail(f"more than {max_pending} pending: {', '.join(behind)}")

    run(work)


def serve(
    context: typer.Context,
    bucket: Bucket,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    writable: Annotated[
        bool, typer.Option("--writable", help="PUT and DELETE too; on this machine only.")
    ] = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="On a NATS server of its own, and a new bucket.")
    ] = False,
) -> None:
    """Serve a bucket over HTTP, with a listing."""
    bucket = Address.of_bucket(bucket)
    if writable and host not in _LOOPBACK:
        usage("--writable lets everybody write who reaches it; it needs --host 127.0.0.1")
    try:
        from faststream_objstore.cli.serving import (  # noqa: PLC0415 - of no other command
            listen,
            serve_until_told,
        )
        from faststream_objstore.http import make_bucket_asgi  # noqa: PLC0415 - an extra
    except ImportError:
        fail(
            "objstore serve needs the extra http and uvicorn: "
            "pip install 'faststream-objstore[http]' uvicorn."
        )
    session: Session = context.obj

    async def serve_store(store: ObjectStore, sockets: list[socket]) -> None:
        methods = ("GET", "HEAD", "PUT", "DELETE") if writable else ("GET", "HEAD")
        served = make_bucket_asgi(
            store,
            methods=methods,
            listing=True,
            # Refused above for all but this machine.
            authorize=(lambda *_: True) if writable else None,
        )
        await serve_until_told(served, sockets, grace=session.timeout)

    async def work() -> None:
        # Before a server or a connection is made for nothing.
        sockets = listen(host, port)
        if not embedded:
            async with session.store(bucket) as store:
                session.reconnect_for_ever()
                await serve_store(store, sockets)
            return
        from faststream_objstore.testing import NatsServer  # noqa: PLC0415 - an extra

        async with NatsServer() as nats_server:
            own = Session(nats_server.url, timeout=session.timeout)
            print(f"NATS_URL={nats_server.url}", flush=True)
            async with own.store(bucket, create=True) as store:
                await serve_store(store, sockets)

    run(work, until_interrupted=True)


def add_operation(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (watch, status, sweep, lag, serve):
        app.command()(command)
