import time

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.tracking.background import BackgroundWriter, finish


def failing_at_first(times):
    """A call that fails so many times, and the list of its tries."""
    tries = []

    def call():
        tries.append(1)
        if len(tries) <= times:
            raise ConnectionError("no server there\nand more")

    return call, tries


@pytest.fixture
def failing():
    """A call that fails until the test is over, so that no thread stays behind, and the list of its tries."""
    tries = []

    def call():
        if None not in tries:
            tries.append(1)
            raise ConnectionError("no server there\nand more")

    yield call, tries
    tries.append(None)


def test_calls_that_fail_are_repeated_and_the_error_is_kept(failing):
    call, tries = failing
    writer = BackgroundWriter(call, every=0.01)
    writer.start()
    while len(tries) < 3:
        pass
    assert not writer.stop(0.1), "it still tries"
    assert writer.error == "ConnectionError: no server there"


def test_a_call_that_fails_at_the_end_is_repeated_until_it_succeeds():
    call, tries = failing_at_first(3)
    writer = BackgroundWriter(call, every=0.01)
    writer.start()
    assert writer.stop(10)
    assert (len(tries), writer.error) == (4, None)


def test_a_listener_is_called_when_calls_begin_to_fail_and_when_they_succeed_again():
    call, _ = failing_at_first(3)
    writer, messages = BackgroundWriter(call, every=0.01), []
    writer.on_change = messages.append
    writer.start()
    assert writer.stop(10)
    assert messages == [
        "MLflow is behind, and catches up later: ConnectionError: no server there",
        "MLflow is up to date again",
    ]


def test_a_writer_that_was_never_started_can_be_stopped():
    assert BackgroundWriter(lambda: None).stop(0.1)


def test_the_last_call_is_made_once_the_writer_has_stopped_and_its_result_returned():
    order = []
    writer = BackgroundWriter(lambda: order.append("sync"), every=0.01)
    writer.start()
    assert finish(writer, lambda: order.append("last") or 7, 10) == (7, None)
    assert order[-1] == "last"
    assert order.count("last") == 1


def test_the_last_call_is_not_made_while_the_writer_still_fails(failing):
    call, _ = failing
    writer, last = BackgroundWriter(call, every=0.01), []
    writer.start()
    problem = "MLflow is not up to date (ConnectionError: no server there); `this` completes it"
    assert finish(writer, lambda: last.append(1), 0.1, "`this` completes it") == (None, problem)
    assert last == []


def test_a_last_call_that_takes_too_long_is_an_error(failing):
    call, _ = failing
    _, problem = finish(BackgroundWriter(lambda: None), call, 0.1)
    assert problem == "MLflow is not up to date (ConnectionError: no server there); try again later"


def test_an_error_that_does_not_go_away_is_not_waited_for():
    def refused():
        raise InputError("mlflow.db: is damaged; move it away")

    writer, before = BackgroundWriter(refused, every=0.01), time.monotonic()
    writer.start()
    assert finish(writer, lambda: 1, 60) == (None, "MLflow is not up to date: mlflow.db: is damaged; move it away")
    assert time.monotonic() - before < 10
