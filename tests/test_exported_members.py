"""What the package offers, and what importing it costs."""

import ast
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import faststream_objstore
from faststream_objstore import _faststream, exceptions, models, params, store, testing

LAZY = [faststream_objstore, _faststream, models, params, store]


@pytest.mark.parametrize("module", [*LAZY, exceptions, testing])
def test_all_names_what_is_there_in_order(module: ModuleType) -> None:
    # Constants come first.
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda name: (not name.isupper(), name)
    )
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_errors_that_services_catch_are_offered_at_the_top() -> None:
    offered = set(faststream_objstore.__all__) & set(exceptions.__all__)

    assert offered == {
        "BucketFullError",
        "BucketNotFoundError",
        "BucketReadOnlyError",
        "BucketSealedError",
        "BulkError",
        "CorruptObjectError",
        "InvalidObjectNameError",
        "NotConnectedError",
        "ObjStoreError",
        "ObjectAlreadyExists",
        "ObjectChangedError",
        "ObjectDeletedError",
        "ObjectLoadError",
        "ObjectNotFoundError",
        "ObjectTooLargeError",
        "RevisionMismatchError",
        "StoreTimeoutError",
    }


def test_every_error_stands_in_the_tree_that_errors_draws() -> None:
    assert exceptions.__doc__ is not None
    assert [name for name in exceptions.__all__ if name not in exceptions.__doc__] == []


@pytest.mark.parametrize("module", LAZY)
def test_names_are_imported_late_from_where_type_checkers_see_them(module: ModuleType) -> None:
    """The imports for type checkers and the table for the interpreter say the same."""
    (block,) = (
        one
        for one in ast.parse(inspect.getsource(module)).body
        if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"
    )
    seen: dict[str, str] = {}
    for one in block.body:
        assert isinstance(one, ast.ImportFrom)
        home = (one.module or "").removeprefix(f"{module.__name__}.")
        seen |= {each.name: home for each in one.names}
    (table,) = (one for one in ast.walk(block) if isinstance(one, ast.Dict))

    assert ast.literal_eval(table) == seen
    assert seen.keys() <= {*module.__all__}
    assert seen.keys() <= {*dir(module)}
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = module.Nonsense


DECLARE = """\
import sys, faststream.nats
before = set(sys.modules)
from faststream_objstore import Bucket, Buckets, FromBucket, ObjectInfo, ObjectStore
buckets = Buckets(broker := faststream.nats.NatsBroker(), Bucket("photos"))
"""
CONNECT = """
import asyncio
async def main():
    async with faststream.nats.TestNatsBroker(broker):
        pass
asyncio.run(main())
"""
PRINT = "print(*sorted(set(sys.modules) - before))"


def loaded_by(script: str) -> set[str]:
    """The modules of this package that a program imports, and those of others for it."""
    done = subprocess.run(
        [sys.executable, "-c", script + PRINT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {name.removeprefix("faststream_objstore.") for name in done.stdout.split()}


def test_declaring_buckets_loads_nothing_that_serving_them_takes() -> None:
    loaded = loaded_by(DECLARE)

    rooms = {name.split(".")[0] for name in loaded}
    assert {"bucket", "buckets", "store"} <= rooms
    assert set() == rooms & {
        *("connection", "declarations", "health", "live", "standing", "sweeping"),
        *("cli", "filesystem", "http", "middlewares", "observers", "publishers"),
        *("pytest_plugin", "testing"),
        *("email", "json", "tarfile"),
    }
    assert {name for name in loaded if name.startswith("backends.")} == {
        "backends.base",
        "backends.early",
        "backends.origins",
        "backends.transfers",
        "backends.values",
    }
    assert {name for name in loaded if name.startswith("changes.")} == {
        "changes.decorators",
        "changes.retry",
    }
    assert set() == loaded & {
        *("store.amend", "store.atomic", "store.batch", "store.declare", "store.dump"),
        "store.dumped",
        *("store.folders", "store.follow", "store.lag", "store.rename", "store.renew"),
        *("store.restore", "store.transaction"),
        *("models.sources", "models.status"),
        *("params.live", "params.objects"),
    }


def test_connecting_loads_what_the_first_change_of_an_object_takes() -> None:
    loaded = loaded_by(DECLARE + CONNECT)

    assert {"store.declare", "store.amend", "store.rename", "store.put"} <= loaded
