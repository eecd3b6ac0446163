import threading

import pytest

from mt_sweeps.errors import Unfinished
from mt_sweeps.execution import ray_cluster, ray_private, ray_watch


@pytest.mark.parametrize(
    ("alive", "seconds", "why"),
    [(["raylet"], 180, "its gcs_server has died"), (["raylet", "gcs_server"], 0, "it has not within 0 s")],
)
def test_a_start_that_waits_for_what_does_not_come_ends_the_command_in_words(alive, seconds, why, monkeypatch, capsys):
    import ray

    exited = threading.Event()

    def leave(status):
        assert status == 1
        exited.set()

    def init(**_):
        monkeypatch.setattr(ray_private, "local_node", lambda: "node")
        assert exited.wait(5), "Ray waits in C++, where no signal reaches it"
        raise Exception("it would have exited")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray_private, "live_processes", lambda _: alive)
    monkeypatch.setattr(ray_private, "kill_all_processes", lambda _: None)
    monkeypatch.setattr(ray_watch, "_INTERRUPT_SECONDS", 0.05)
    monkeypatch.setattr(ray_cluster, "_STARTS", 1)
    monkeypatch.setattr(ray_watch, "_START_SECONDS", seconds)
    monkeypatch.setattr(ray_watch.os, "_exit", leave)
    with pytest.raises(Unfinished):
        ray_cluster.start()
    assert f"error: Ray does not start on this machine ({why})" in capsys.readouterr().err
