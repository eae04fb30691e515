"""Every order in which the steps of a transaction and of another change can happen."""

from collections.abc import Callable
from typing import Any

import pytest

from faststream_objstore.models import ObjectMeta
from faststream_objstore.store import ObjectStore, Transaction, atomic, metadata
from tests.store.test_interleavings import (
    ACTS,
    ALL,
    Act,
    _nuid,
    broken_off_before,
    judge,
    moved_before,
    none_before,
    orders_of,
)

pytestmark = pytest.mark.timeout(3600 if ALL else 120)


class StepByStep:
    """A backend of a process that does not know yet that the bucket has transactions."""

    atomic = False

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def step_by_step(act: Act) -> Act:
    async def run(store: ObjectStore) -> object:
        backend: Any = StepByStep(await store._source())
        return await act(ObjectStore.on(backend))

    return run


def in_one(*changes: Callable[[Transaction], Any]) -> Act:
    async def run(store: ObjectStore) -> object:
        async with store.transaction() as tx:
            for change in changes:
                await change(tx)
        return None

    return run


# The judge knows by the first word whether content may go.
TRANSACTIONS: dict[str, Act] = {
    "rename a to b": ACTS["rename a to b"],
    "rename a to b by way of c": in_one(
        lambda tx: tx.update_meta("a", ObjectMeta(description="moved")),
        lambda tx: tx.rename("a", "c"),
        lambda tx: tx.rename("c", "b"),
    ),
    "put a where it was moved from": in_one(
        lambda tx: tx.rename("a", "b"),
        lambda tx: tx.put("a", b"put a", chunk_size=4),
    ),
    "put b and delete a": in_one(
        lambda tx: tx.put("b", b"put b", chunk_size=4),
        lambda tx: tx.delete("a"),
    ),
}
OTHERS: dict[str, Act] = {
    "rename a to b, step by step": step_by_step(ACTS["rename a to b"]),
    "rename b to c, step by step": step_by_step(ACTS["rename b to c"]),
    **{
        act: ACTS[act]
        for act in ("rename b to a", "put a", "put b", "delete b", "update a", "copy a to b")
    },
    **{f"{act} too": TRANSACTIONS[act] for act in TRANSACTIONS if act.startswith("put")},
}


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "token_hex", _nuid)
    # Another change comes between by its turn, not by luck.
    monkeypatch.setattr(atomic, "_PAUSE_SECONDS", 0.0)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(
    "before", [none_before, broken_off_before, moved_before], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("act", TRANSACTIONS)
async def test_a_transaction_against_any_change_in_every_order_keeps_each_object_whole(
    before: Act, act: str, other: str
) -> None:
    orders = await orders_of(
        before,
        [act, other],
        judge,
        None if ALL else 2,
        known_acts=TRANSACTIONS | OTHERS,
        atomic=True,
    )

    assert orders > 1
