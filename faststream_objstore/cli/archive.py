"""The commands for a bucket as a file."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from faststream_objstore.cli.output import bar, content_output, said_of, say
from faststream_objstore.cli.session import Address, Session, run, usage
from faststream_objstore.cli.stdin import reading_stdin
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.declare import bind_bucket
from faststream_objstore.store.dumped import config_of_dump
from faststream_objstore.store.modes import RestoreMode

__all__ = ("add_archive",)

Json = Annotated[bool, typer.Option("--json", help="JSON, a value on a line.")]


def dump(
    context: typer.Context,
    bucket: Annotated[str, typer.Argument(help="The bucket.")],
    file: Annotated[
        str, typer.Argument(help="A tar, compressed if it ends with .gz or .tgz; - is stdout.")
    ],
    json: Json = False,
) -> None:
    """Write a bucket to a tar archive: objects, their metadata, links and settings."""
    bucket = Address.of_bucket(bucket)
    if file == "-" and json:
        usage("stdout is for the dump then; leave --json out")

    async def work() -> None:
        async with context.obj.store(bucket) as store:
            with bar(bucket, objects=True, quiet=json) as progress:
                if file == "-":
                    output = content_output()
                    await store.dump(output, progress=progress)
                    output.flush()
                    return
                done = await store.dump(file, progress=progress)
        say(done, "dumped", json=json)

    run(work, failed=said_of if json else None)


def restore(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The dump; - is stdin.")],
    bucket: Annotated[str, typer.Argument(help="The bucket.")],
    create: Annotated[
        bool, typer.Option("--create", help="Make the bucket, with the settings of the dump.")
    ] = False,
    mode: Annotated[
        str,
        typer.Option(help="What is there: create fails, overwrite replaces, missing keeps."),
    ] = "create",
    json: Json = False,
) -> None:
    """Put the objects of a dump into a bucket, verified."""
    bucket = Address.of_bucket(bucket)
    modes: dict[str, RestoreMode] = {
        "create": "create",
        "overwrite": "overwrite",
        "missing": "missing",
    }
    if mode not in modes:
        usage(f"--mode must be create, overwrite or missing, got {mode}")
    if file == "-" and create:
        usage("the settings cannot be read from stdin; make the bucket first, or give a file")
    session: Session = context.obj

    async def put(store: ObjectStore) -> None:
        with (
            reading_stdin() if file == "-" else nullcontext(Path(file)) as source,
            bar(bucket, objects=True, quiet=json) as progress,
        ):
            done = await store.restore(source, mode=modes[mode], progress=progress)
        say(done, "restored", json=json)

    async def work() -> None:
        if not create:
            async with session.store(bucket) as store:
                await put(store)
            return
        config = await config_of_dump(file, bucket)
        async with session.connected() as server:
            await put(ObjectStore.on(await bind_bucket(server, config)))

    run(work, failed=said_of if json else None)


def add_archive(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (dump, restore):
        app.command()(command)
