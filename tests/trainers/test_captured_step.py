"""The order of calls and the way out of a capture that fails; a stand-in is captured, as there may be no GPU."""

import gc
import logging
import weakref
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from trainers.captured_step import CapturedStep

STREAM = SimpleNamespace(wait_stream=lambda _: None)


class Graph:
    """What it captured is not called again: it changes what was returned, as a replay does."""

    replays = 0

    def register_generator_state(self, generator):
        self.generator = generator

    def replay(self):
        Graph.replays += 1


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    """Whether something is captured just now."""
    state = SimpleNamespace(is_capturing=False)

    @contextmanager
    def capture(graph, capture_error_mode):
        assert (type(graph), capture_error_mode) == (Graph, "thread_local")
        assert not gc.isenabled()
        state.is_capturing = True
        try:
            yield
        except RuntimeError:
            raise RuntimeError("the capture ended badly")  # noqa: B904 (as torch does)
        finally:
            state.is_capturing = False

    Graph.replays = 0
    monkeypatch.setattr(torch.cuda, "Stream", lambda: STREAM)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: STREAM)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return state


def test_the_fourth_step_is_captured_and_replayed_and_returns_the_same_tensors(cuda):
    captured, take = [], CapturedStep(["generator"], pytest.fail)

    def step():
        captured.append(cuda.is_capturing)
        return {"norm": torch.zeros(())}

    returned = [take(step) for _ in range(6)]
    assert captured == [False, False, False, True]
    assert (Graph.replays, take.is_captured, take._graph.generator) == (3, True, "generator")
    assert returned[3]["norm"] is returned[5]["norm"]
    assert gc.isenabled()


def test_a_step_that_cannot_be_captured_is_called_and_the_cause_logged_once(cuda, caplog):
    taken, dropped = [], []
    take = CapturedStep([], lambda: dropped.append(True))

    def step():
        if cuda.is_capturing:
            raise RuntimeError("operation not permitted when stream is capturing")
        taken.append(True)
        return len(taken)

    with caplog.at_level(logging.WARNING):
        assert [take(step) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert dropped == [True]
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "operation not permitted when stream is capturing"
    ]
    assert not take.is_captured
    assert gc.isenabled()


def test_an_object_that_takes_its_steps_so_is_gone_when_nobody_has_it():
    class Owner:
        def __init__(self):
            self.take = CapturedStep([], list)

        def step(self):
            return torch.zeros(())

    owner = Owner()
    for _ in range(5):
        owner.take(owner.step)
    assert owner.take.is_captured
    gone = weakref.ref(owner)
    gc.disable()
    try:
        del owner
        assert gone() is None
    finally:
        gc.enable()
