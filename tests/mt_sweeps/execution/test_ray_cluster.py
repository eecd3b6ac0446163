import os
import threading
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.execution import ray_cluster, ray_watch

NODES = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]


def test_the_token_is_of_this_process_alone_and_what_was_there_before_is_there_again(monkeypatch):
    import ray

    seen = []
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of a cluster")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(
        ray, "init", lambda **_: seen.append((os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]))
    )
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_watch, "dead_process", lambda: None)
    for _ in range(2):
        assert ray_cluster.start() == [{"CPU": 2.0}]
        ray_cluster.stop()
    (mode, first), (_, second) = seen
    assert mode == "token"
    assert first == second, "Ray keeps the first that a process gives it"
    assert len(first) == 64 and first != "of a cluster"
    assert (os.environ["RAY_AUTH_TOKEN"], "RAY_AUTH_MODE" in os.environ) == ("of a cluster", False)


def test_other_work_is_done_while_ray_starts_and_its_failure_changes_nothing(monkeypatch):
    import ray

    begun = threading.Event()

    def work():
        begun.set()
        raise ImportError("it is tried again where it is needed")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **_: begun.wait(10) or pytest.fail("nothing was done meanwhile"))
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_watch, "dead_process", lambda: None)
    assert ray_cluster.start(work) == [{"CPU": 2.0}]
    ray_cluster.stop()


def test_ray_ends_beside_other_work_and_the_end_waits_for_it(monkeypatch):
    import ray

    ended, may_end = [], threading.Event()
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(may_end.wait(10)))
    monkeypatch.setattr(ray_watch, "dead_process", lambda: None)
    ray_cluster.begin_to_stop()
    assert not ended, "this goes on meanwhile"
    threading.Timer(0.1, may_end.set).start()
    ray_cluster.stop()
    assert ended == [True], "once, and to its end"
    ray_cluster.stop()
    assert len(ended) == 2, "of the next sweep of this process"


def test_ray_gets_a_private_folder_that_goes_with_it_and_orders_of_others_are_dropped(monkeypatch):
    import ray

    seen = []

    def init(_temp_dir, **_):
        private = Path(_temp_dir).parent
        seen.append((private, private.stat().st_mode & 0o777))
        if len(seen) > 1 and len(seen) != 3:
            raise Exception("The current node timed out during startup")  # as where its raylet is killed

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", "/somebody/elses")
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_watch, "dead_process", lambda: None)
    ray_cluster.start()
    assert not {"RAY_TMPDIR", "TUNE_MAX_PENDING_TRIALS_PG"} & os.environ.keys()
    assert seen[0][0].is_dir()
    ray_cluster.stop()
    ray_cluster.start()  # the second try
    assert [path.is_dir() for path, _ in seen] == [False, False, True]
    ray_cluster.stop()
    with pytest.raises(Unfinished, match=r"Ray does not start .*timed out.* type the same command again"):
        ray_cluster.start()
    ray_cluster.stop()
    assert [(path.exists(), mode) for path, mode in seen] == [(False, 0o700)] * 5


def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"nothing answers at 127\.0\.0\.1:1"):
        ray_cluster.start()
