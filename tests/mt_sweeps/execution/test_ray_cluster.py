import os
import threading
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.execution import ray_cluster, ray_private
from mt_sweeps.execution.resources import Share, allocate
from mt_sweeps.spec.sweep_spec import Resources


@pytest.mark.parametrize(
    ("asked", "found", "given"),
    [
        ({}, {"CPU": 2.0}, Share(gpus=0, cpus=1, concurrent=2)),
        ({}, {"CPU": 16.0, "GPU": 2.0}, Share(gpus=1, cpus=8, concurrent=2)),
        ({"gpus_per_trial": 0.5}, {"CPU": 8.0, "GPU": 1.0}, Share(gpus=0.5, cpus=4, concurrent=2)),
        ({"gpus_per_trial": 0.6}, {"CPU": 9.0, "GPU": 3.0}, Share(gpus=0.6, cpus=3, concurrent=3)),
        ({"gpus_per_trial": 0.0}, {"CPU": 8.0, "GPU": 1.0}, Share(gpus=0, cpus=1, concurrent=8)),
        ({"gpus_per_trial": 1.0}, {"CPU": 8.0, "GPU": 4.0}, Share(gpus=1, cpus=2, concurrent=4)),
        ({"cpus_per_trial": 2}, {"CPU": 5.0}, Share(gpus=0, cpus=2, concurrent=2)),
        ({"max_concurrent": 1}, {"CPU": 8.0}, Share(gpus=0, cpus=1, concurrent=1)),
        ({}, {"CPU": 1.0, "GPU": 4.0}, Share(gpus=1, cpus=1, concurrent=1)),
    ],
)
def test_what_a_trial_gets_of_what_there_is(asked, found, given):
    assert allocate(Resources(**asked), found, "auto") == given


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"gpus_per_trial": 1.0}, "asks for 1 and there are 0 GPUs"),
        ({"cpus_per_trial": 4}, "asks for 4 and there are 2"),
    ],
)
def test_what_is_not_there_is_refused_at_once(asked, told):
    with pytest.raises(ValueError, match=told):
        allocate(Resources(**asked), {"CPU": 2.0}, "auto")


def test_the_device_that_the_file_names_decides_what_auto_means():
    there = {"CPU": 8.0, "GPU": 1.0}
    assert allocate(Resources(), there, "cpu").gpus == 0
    with pytest.raises(ValueError, match="asks for 1 and there are 0 GPUs"):
        allocate(Resources(), {"CPU": 8.0}, "cuda")
    with pytest.raises(ValueError, match=r"cuda is set and resources\.gpus_per_trial is 0"):
        allocate(Resources(gpus_per_trial=0.0), there, "cuda")


def test_the_token_is_of_this_process_alone_and_what_was_there_before_is_there_again(monkeypatch):
    import ray

    seen = []
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of a cluster")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(
        ray, "init", lambda **_: seen.append((os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]))
    )
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster, "dead_process", lambda: None)
    for _ in range(2):
        assert ray_cluster.start() == {"CPU": 2.0}
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
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster, "dead_process", lambda: None)
    assert ray_cluster.start(work) == {"CPU": 2.0}
    ray_cluster.stop()


def test_ray_ends_beside_other_work_and_the_end_waits_for_it(monkeypatch):
    import ray

    ended, may_end = [], threading.Event()
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(may_end.wait(10)))
    monkeypatch.setattr(ray_cluster, "dead_process", lambda: None)
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
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster, "dead_process", lambda: None)
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
    monkeypatch.setattr(ray_cluster, "_INTERRUPT_SECONDS", 0.05)
    monkeypatch.setattr(ray_cluster, "_STARTS", 1)
    monkeypatch.setattr(ray_cluster, "_START_SECONDS", seconds)
    monkeypatch.setattr(ray_cluster.os, "_exit", leave)
    with pytest.raises(Unfinished):
        ray_cluster.start()
    assert f"error: Ray does not start on this machine ({why})" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["ray://u:SECRET@h:10001", "http://h:8265/?token=SECRET"])
def test_the_address_of_a_cluster_holds_no_password(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="RAY_ADDRESS: holds credentials") as error:
        ray_cluster.cluster_address()
    assert "SECRET" not in str(error.value)


def test_a_cluster_that_does_not_answer_is_told_at_once(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"nothing answers at 127\.0\.0\.1:1"):
        ray_cluster.start()
