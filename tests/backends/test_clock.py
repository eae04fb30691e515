"""The server's clock, told from its answers and this machine's clocks."""

import time

import pytest

from faststream_objstore.backends.jetstream.clock import ServerClock

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
# By the server's clock, by this machine's, and by its monotonic one.
SERVER, HERE, STARTED = 500 * HOUR, 499 * HOUR, 7 * HOUR


class Machine:
    """This machine's two clocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here, self.started = HERE, STARTED
        monkeypatch.setattr(time, "time_ns", lambda: self.here)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.started)

    def run(self, nanoseconds: int) -> None:
        self.here += nanoseconds
        self.started += nanoseconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def clock(machine: Machine) -> ServerClock:
    """A clock that was told an hour more than this machine's, an instant ago."""
    clock = ServerClock()
    clock.told(machine.started, SERVER)
    return clock


def test_until_it_is_told_it_is_this_machine_s(machine: Machine) -> None:
    clock = ServerClock()
    assert clock.now() == HERE
    assert not clock.is_fresh
    assert clock.latest() > 10**6 * HOUR


def test_it_goes_on_from_what_it_was_told(clock: ServerClock, machine: Machine) -> None:
    machine.run(10 * SECOND)
    assert clock.now() == SERVER + 10 * SECOND
    assert clock.is_fresh
    # A thousandth of ten seconds, and a second.
    assert clock.latest() == SERVER + 11 * SECOND + SECOND // 100


def test_it_is_asked_again_after_a_minute(clock: ServerClock, machine: Machine) -> None:
    machine.run(60 * SECOND)
    assert not clock.is_fresh
    assert clock.now() == SERVER + 60 * SECOND


def test_it_is_asked_again_after_the_machine_was_suspended(
    clock: ServerClock, machine: Machine
) -> None:
    # The monotonic clock stands still meanwhile.
    machine.here += HOUR
    assert not clock.is_fresh
    assert clock.now() == HERE + HOUR
    assert clock.latest() == SERVER + HOUR + HOUR // 1000 + SECOND
    clock.told(machine.started, SERVER + HOUR)
    assert clock.is_fresh
    assert clock.now() == SERVER + HOUR


def test_it_is_asked_again_after_the_machine_s_clock_was_set(
    clock: ServerClock, machine: Machine
) -> None:
    machine.here -= 2 * HOUR
    assert not clock.is_fresh
    assert clock.latest() == SERVER + SECOND
