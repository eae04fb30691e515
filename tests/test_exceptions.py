"""The exception tree: what its docstring draws is what it is."""

import copy
import pickle
import re

import nats.errors
import nats.js.errors
import pytest

from faststream_objstore import exceptions
from faststream_objstore.exceptions import ObjStoreError, StoreAPIError

CLASSES: list[type[ObjStoreError]] = [getattr(exceptions, name) for name in exceptions.__all__]


def drawn() -> dict[str, tuple[str | None, str]]:
    """Each class of the drawing: the class above it, and its note."""
    result: dict[str, tuple[str | None, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (exceptions.__doc__ or "").splitlines():
        found = re.fullmatch(r" {4}([│├└─ ]*)([A-Z]\w+)\s*(.*)", line)
        if found:
            depth, name, note = len(found[1]), found[2], found[3]
            while above and above[-1][0] >= depth:
                above.pop()
            result[name] = (above[-1][1] if above else None, note)
            above.append((depth, name))
    return result


def test_every_class_is_in_the_drawing_and_in_all() -> None:
    defined = {
        name
        for name, one in vars(exceptions).items()
        if isinstance(one, type) and issubclass(one, Exception)
    }

    assert set(drawn()) == set(exceptions.__all__) == defined
    assert list(exceptions.__all__) == sorted(exceptions.__all__)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_derives_from_what_it_is_drawn_under(cls: type[ObjStoreError]) -> None:
    above, _ = drawn()[cls.__name__]

    if above is None:
        assert cls is ObjStoreError
    else:
        ours = [one for one in cls.__bases__ if issubclass(one, ObjStoreError)]
        assert [one.__name__ for one in ours] == [above]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_also_what_its_note_says(cls: type[ObjStoreError]) -> None:
    _, note = drawn()[cls.__name__]

    for builtin in (ValueError, TypeError, LookupError):
        inherited = any(
            re.search(rf"\b{builtin.__name__}\b", drawn()[one.__name__][1])
            for one in cls.__mro__
            if one.__name__ in drawn()
        )
        assert issubclass(cls, builtin) == inherited
    if "nats-py's" in note:
        named = re.search(r"nats-py's (\w+)", note)
        name = named[1] if named and named[1][0].isupper() else cls.__name__
        theirs = getattr(nats.js.errors, name, None) or getattr(nats.errors, name)
        assert issubclass(cls, theirs)


def test_every_class_of_nats_py_with_the_same_name_is_mixed_in() -> None:
    for cls in CLASSES:
        theirs = getattr(nats.js.errors, cls.__name__, None)
        assert theirs is None or issubclass(cls, theirs), cls


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_carries_its_message_bucket_and_object(cls: type[ObjStoreError]) -> None:
    error = cls("What to do.", bucket="photos", name="cat.png")

    assert str(error) == "What to do."
    assert repr(error) == f"{cls.__name__}('What to do.')"
    assert (error.message, error.bucket, error.name) == ("What to do.", "photos", "cat.png")
    assert error.description == "What to do."
    assert error.args == ("What to do.",)
    bare = cls("What to do.")
    assert (bare.bucket, bare.name) == (None, None)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_pickle_and_copy(cls: type[ObjStoreError]) -> None:
    error = cls("What to do.", bucket="photos", name="cat.png")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is cls
        assert str(again) == "What to do."
        assert (again.bucket, again.name) == ("photos", "cat.png")
        assert again.args == error.args


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_can_be_raised_hashed_and_compared(cls: type[ObjStoreError]) -> None:
    one, two = cls("x"), cls("x")

    assert one == one  # noqa: PLR0124
    assert one != two
    assert len({one, two}) == 2
    with pytest.raises(cls, match="x") as caught:
        raise one from two
    assert caught.value.__cause__ is two


def test_an_api_error_has_the_servers_codes() -> None:
    error = StoreAPIError("x", bucket="b", code=400, err_code=10052)

    assert (error.code, error.err_code, error.stream, error.seq) == (400, 10052, None, None)
    assert pickle.loads(pickle.dumps(error)).err_code == 10052


def test_the_codes_are_the_servers() -> None:
    codes = {
        cls.__name__: (cls.code, cls.err_code)
        for cls in CLASSES
        if {"code", "err_code"} & vars(cls).keys() and cls is not ObjStoreError
    }

    assert codes == {
        "BucketNotFoundError": (404, 10059),
        "BucketSealedError": (400, 10109),
        "BucketFullError": (503, 10077),
        "ObjectNotFoundError": (404, 10037),
        "JetStreamNotEnabledError": (503, None),
    }
