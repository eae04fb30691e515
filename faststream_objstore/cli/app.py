"""The commands: thin, each one verb of a store."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from faststream_objstore.cli.archive import add_archive
from faststream_objstore.cli.operation import add_operation
from faststream_objstore.cli.options import add_options
from faststream_objstore.cli.output import (
    as_json,
    bar,
    content_output,
    emit,
    line_of,
    printable,
    reasons_in,
    said_of,
    say,
    size_of,
)
from faststream_objstore.cli.session import Address, Session, run, usage
from faststream_objstore.cli.stdin import reading_stdin
from faststream_objstore.models import BulkResult
from faststream_objstore.store.files import unwritten

__all__ = ("app",)

app: typer.Typer = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The objects of NATS Object Store buckets. Exit codes: 0, 1 for what failed, "
    "2 for an invalid command line.",
)

Json = Annotated[bool, typer.Option("--json", help="JSON, a value on a line.")]
Create = Annotated[bool, typer.Option("--create", help="Make the bucket if it is missing.")]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many objects at a time: 64 if not given; of over 128 KiB, 16.",
        show_default=False,
    ),
]


@app.command()
def ls(
    context: typer.Context,
    address: Annotated[str, typer.Argument(help="bucket, or bucket/folder/")] = "",
    pattern: Annotated[
        str | None, typer.Option(help="Only names that match, such as '**/*.png'.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r")] = False,
    json: Json = False,
) -> None:
    """List buckets, or the objects and folders of one."""
    session: Session = context.obj

    async def buckets() -> None:
        async with session.connected() as server:
            for name in await server.buckets():
                if json:
                    emit({"bucket": name})
                else:
                    print(name)

    async def objects() -> None:
        at = Address.of(address)
        async with session.store(at.bucket) as store:
            if recursive or pattern is not None:
                infos = await store.list(prefix=at.name, pattern=pattern)
                folders = []
            else:
                page = await store.list(prefix=at.name, delimiter="/")
                infos, folders = page.objects, page.folders
            for folder in folders:
                if json:
                    emit({"bucket": at.bucket, "folder": folder})
                else:
                    print(f"{'':>12}  {'':<16}  {printable(folder)}")
            for info in infos:
                if json:
                    emit(as_json(info))
                else:
                    print(line_of(info))

    run(objects if address else buckets)


@app.command()
def info(
    context: typer.Context,
    address: Annotated[str, typer.Argument(help="bucket/name")],
    json: Json = False,
) -> None:
    """Show what is known of an object."""
    at = Address.of_object(address)

    async def work() -> None:
        async with context.obj.store(at.bucket) as store:
            found = as_json(await store.get_info(at.name))
        if json:
            emit(found)
            return
        for key, value in found.items():
            if value not in (None, {}, False):
                print(f"{key + ':':<12} {printable(str(value))}")

    run(work)


@app.command()
def get(
    context: typer.Context,
    address: Annotated[str, typer.Argument(help="bucket/name, or bucket/folder/")],
    file: Annotated[
        str, typer.Argument(help="Where to; - is stdout. The object's own name if not given.")
    ] = "",
    concurrency: Concurrency = None,
    json: Json = False,
) -> None:
    """Write an object to a file, or a folder of a bucket to a folder."""
    at = Address.of(address)
    if at.is_folder and file in {"", "-"}:
        usage(f"{address!r} is a folder; say which folder to write it to")
    if file == "-" and json:
        usage("stdout is for the content then; leave --json out")
    last = at.name.rpartition("/")[2]
    if last in {".", ".."} and (not file or Path(file).is_dir()):
        usage(f"{last!r} cannot be the name of a file; say which file to write {address!r} to")
    session: Session = context.obj

    async def folder() -> None:
        async with session.store(at.bucket) as store:
            with bar(at.name or at.bucket, objects=True, quiet=json) as progress:
                done = await store.get_dir(
                    at.name, file, **_at_once(concurrency), progress=progress
                )
        say(done, "fetched", json=json)

    async def one() -> None:
        async with session.store(at.bucket) as store:
            if file == "-":
                output = content_output()
                async with store.open(at.name) as reader:
                    async for chunk in reader:
                        rest = memoryview(chunk)
                        while rest:
                            rest = unwritten(output, rest, output.write(rest))
                output.flush()
                return
            path = Path(file or last)
            if path.is_dir():
                path /= last
            with bar(at.name, quiet=json) as progress:
                found = await store.get_file(at.name, path, progress=progress)
        if json:
            emit(as_json(found))
        else:
            print(f"{printable(str(path))}: {size_of(found.size)}")

    run(folder if at.is_folder else one, failed=said_of if json else None)


@app.command()
def put(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file, a folder, or - for stdin.")],
    address: Annotated[str, typer.Argument(help="bucket/name, or bucket/folder/")],
    create: Create = False,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Fail if there is an object of that name.")
    ] = False,
    description: Annotated[str | None, typer.Option()] = None,
    ttl: Annotated[
        float | None,
        typer.Option(help="Seconds that each object lives, in a bucket with object_ttl."),
    ] = None,
    concurrency: Concurrency = None,
    json: Json = False,
) -> None:
    """Store a file, or the files of a folder."""
    at = Address.of(address)
    source = Path(file)
    session: Session = context.obj
    is_dir = file != "-" and source.is_dir()
    if is_dir and not at.is_folder:
        usage(f"{file!r} is a folder; end {address!r} with / to store what is in it")
    if file == "-" and at.is_folder:
        usage("what comes from stdin needs a name; give bucket/name")

    async def folder() -> None:
        async with session.store(at.bucket, create=create) as store:
            with bar(file, objects=True, quiet=json) as progress:
                done = await store.put_dir(
                    source, at.name, **_at_once(concurrency), progress=progress, ttl=ttl
                )
        say(done, "stored", json=json)

    async def one() -> None:
        name = at.name + source.name if at.is_folder else at.name
        if file != "-" and not source.exists():
            # Before the bucket is made.
            raise FileNotFoundError(2, os.strerror(2), file)
        async with session.store(at.bucket, create=create) as store:
            with (
                reading_stdin() if file == "-" else nullcontext(source) as content,
                bar(name, quiet=json) as progress,
            ):
                stored = await store.put(
                    name,
                    content,
                    filename=None if file == "-" else source.name,
                    description=description,
                    mode="create" if if_absent else "overwrite",
                    progress=progress,
                    ttl=ttl,
                )
        if json:
            emit(as_json(stored))
        else:
            said = f"{at.bucket}/{stored.name}: {size_of(stored.size)}"
            print(printable(f"{said}, revision {stored.revision}"))

    run(folder if is_dir else one, failed=said_of if json else None)


@app.command()
def cp(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="bucket/name, or bucket/folder/")],
    to: Annotated[str, typer.Argument(help="bucket/name, or bucket/folder/")],
    concurrency: Concurrency = None,
    json: Json = False,
) -> None:
    """Copy an object, or a folder, within a server."""
    at, target = Address.of(source), Address.of(to)
    if at.is_folder and not target.is_folder:
        usage(f"{source!r} is a folder; end {to!r} with /")

    async def work() -> None:
        async with context.obj.store(at.bucket) as store:
            if at.is_folder:
                with bar(source, objects=True, quiet=json) as progress:
                    done = await store.copy_all(
                        prefix=at.name,
                        to=target.name,
                        bucket=target.bucket,
                        **_at_once(concurrency),
                        progress=progress,
                    )
                say(done, "copied", json=json)
                return
            name = _named(target, at)
            copied = await store.copy(at.name, name, bucket=target.bucket)
        if json:
            emit(as_json(copied))

    run(work, failed=said_of if json else None)


@app.command()
def mv(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="bucket/name")],
    to: Annotated[str, typer.Argument(help="bucket/name, or bucket/folder/")],
    json: Json = False,
) -> None:
    """Rename an object, which moves no content; or move it to another bucket."""
    at, target = Address.of_object(source), Address.of(to)

    async def work() -> None:
        name = _named(target, at)
        async with context.obj.store(at.bucket) as store:
            if target.bucket == at.bucket:
                moved = await store.rename(at.name, name)
            else:
                # The version that was copied is the one that goes.
                found = await store.get_info(at.name)
                moved = await store.copy(found, name, bucket=target.bucket)
                await store.delete(found)
        if json:
            emit(as_json(moved))

    run(work)


@app.command()
def rm(
    context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(help="bucket/name ...; bucket for many")],
    prefix: Annotated[
        str | None, typer.Option(help="All objects whose names begin with it.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="All objects whose names match; '**' is all.")
    ] = None,
    concurrency: Concurrency = None,
    json: Json = False,
) -> None:
    """Delete objects: by their names, or all with a prefix or a pattern."""
    session: Session = context.obj

    async def many() -> None:
        async with session.store(Address.of_bucket(addresses[0])) as store:
            with bar("rm", objects=True, quiet=json) as progress:
                deleted = await store.delete_all(
                    prefix=prefix, pattern=pattern, **_at_once(concurrency), progress=progress
                )
        if json:
            emit({"deleted": deleted, "failed": {}})
        else:
            print(f"{deleted} deleted")

    async def named() -> None:
        for at in targets:
            async with session.store(at.bucket) as store:
                was_live = await store.delete(at.name)
            if json:
                emit({"bucket": at.bucket, "name": at.name, "deleted": was_live})
            elif not was_live:
                print(printable(f"{at.bucket}/{at.name} had been deleted before"))

    if prefix is None and pattern is None:
        targets = [Address.of_object(one) for one in addresses]
        run(named)
        return
    if len(addresses) > 1:
        usage("a prefix or a pattern is of one bucket")
    if not prefix and not pattern:
        usage("an empty prefix would be all; --pattern '**' says so")
    Address.of_bucket(addresses[0])
    run(many, failed=_count_deleted if json else None)


@app.command()
def sync(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder.")],
    address: Annotated[str, typer.Argument(help="bucket, or bucket/folder/")],
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete objects that have no file.")
    ] = False,
    create: Create = False,
    concurrency: Concurrency = None,
    json: Json = False,
) -> None:
    """Store the files of a folder that are new or that differ."""
    at = Address.of(address)
    if not at.is_folder:
        usage(f"{address!r} is an object; end it with / for a folder")
    session: Session = context.obj

    async def work() -> None:
        if not folder.is_dir():
            raise NotADirectoryError(20, os.strerror(20), str(folder))
        async with session.store(at.bucket, create=create) as store:
            with bar(str(folder), objects=True, quiet=json) as progress:
                done = await store.sync(
                    folder, at.name, delete=delete, **_at_once(concurrency), progress=progress
                )
        say(done, "stored", json=json)

    run(work, failed=said_of if json else None)


def _at_once(concurrency: int | None) -> dict[str, Any]:
    """The option of a verb, which has a default of its own."""
    return {} if concurrency is None else {"concurrency": concurrency}


def _count_deleted(result: BulkResult) -> dict[str, Any]:
    return {"deleted": len(result.deleted), "failed": reasons_in(result)}


def _named(target: Address, source: Address) -> str:
    """The name of a copy; in a folder it keeps its last segment."""
    return target.name + source.name.rpartition("/")[2] if target.is_folder else target.name


add_options(app)
add_archive(app)
add_operation(app)
