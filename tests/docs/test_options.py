"""The pages of `docs/` name every option of what they describe."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from faststream_objstore import Bucket, ClaimCheckMiddleware, ObjectStore
from faststream_objstore.cli.app import app
from faststream_objstore.health import make_health_asgi
from faststream_objstore.http import DownloadResponse, make_bucket_asgi
from faststream_objstore.observers.prometheus import PrometheusObserver
from faststream_objstore.testing import NatsServer
from tests.docs.page import DOCS

CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def code_in(page: str) -> str:
    return "\n".join(CODE.findall((DOCS / page).read_text()))


@pytest.mark.parametrize(
    "described, page",
    [
        (Bucket, "buckets.md"),
        (Bucket.on_put, "changes.md"),
        (Bucket.publisher, "results.md"),
        (ClaimCheckMiddleware, "claim-check.md"),
        (DownloadResponse, "http.md"),
        (NatsServer, "testing.md"),
        (ObjectStore.open, "store.md"),
        (ObjectStore.put, "store.md"),
        (ObjectStore.put_dir, "bulk.md"),
        (PrometheusObserver, "operating.md"),
        (make_bucket_asgi, "http.md"),
        (make_health_asgi, "operating.md"),
    ],
    ids=lambda one: getattr(one, "__qualname__", one),
)
def test_page_names_each_keyword_option(described: Callable[..., Any], page: str) -> None:
    options = [
        one.name
        for one in inspect.signature(described).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    ]
    assert options
    code = code_in(page)

    assert [one for one in options if not re.search(rf"\b{one}\b", code)] == []


def flags(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """Each command of the command line, with each of its options."""
    for option in command.params:
        yield from ((name, one) for one in option.opts if one.startswith("--"))
    for key, one in getattr(command, "commands", {}).items():
        yield key, key
        yield from flags(one, key)


def test_page_on_the_command_line_names_each_command_and_option() -> None:
    code = code_in("cli.md")
    ours = {
        (command, one)
        for command, one in flags(typer.main.get_command(app), "objstore")
        if not one.endswith("-completion")
    }

    assert ("put", "--if-absent") in ours
    missing = {pair for pair in ours if not re.search(rf"(?<![\w-]){pair[1]}(?![\w-])", code)}
    assert missing == set()
