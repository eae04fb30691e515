"""The ledger of pull requests: what was asked for and has not come."""

import math

from faststream_objstore.backends.jetstream.pulling import PullRequests


def test_messages_settle_the_oldest_request_first() -> None:
    requests = PullRequests()
    first, second = requests.add(2, math.inf), requests.add(3, math.inf)
    assert (requests.missing, len(requests), requests.oldest) == (5, 2, first)

    requests.settle()
    requests.settle()
    assert first not in requests
    assert (requests.missing, requests.oldest) == (3, second)
    # More than was asked for: nothing to settle.
    for _ in range(4):
        requests.settle()
    assert (requests.missing, len(requests)) == (0, 0)


def test_a_request_that_ends_early_tells_what_it_was_short_of() -> None:
    requests = PullRequests()
    first, second = requests.add(2, math.inf), requests.add(3, math.inf)
    requests.settle()

    assert requests.end(first) == 1
    assert requests.end(first) == 0
    assert requests.end("unknown") == 0
    assert (requests.missing, requests.oldest) == (3, second)


def test_what_the_server_must_have_forgotten_is_no_longer_waited_for() -> None:
    requests = PullRequests()
    requests.add(2, 10.0)
    late = requests.add(3, 20.0)

    requests.end_overdue(10.5)
    assert (requests.missing, requests.oldest) == (3, late)
    requests.clear()
    assert (requests.missing, len(requests)) == (0, 0)
