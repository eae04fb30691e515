"""What the package offers, and what importing it costs."""

import subprocess
import sys
from types import ModuleType

import pytest

import faststream_objstore
from faststream_objstore import exceptions, models, testing


@pytest.mark.parametrize("module", [faststream_objstore, exceptions, models, testing])
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


def test_import_does_not_load_the_test_tools() -> None:
    script = (
        "import sys, faststream.nats\n"
        "before = set(sys.modules)\n"
        "import faststream_objstore\n"
        "print([name for name in set(sys.modules) - before if 'testing' in name])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
