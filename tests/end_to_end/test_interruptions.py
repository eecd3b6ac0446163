"""Whatever ends a driver, the sweep goes on from where it was."""

import json
import signal

import pytest

from tests.end_to_end.support import ALONE, DIGITS, as_json, gone, interrupted, mt_sweep

LONGER = (*ALONE, "--set", "trainer.steps=200", "--set", "trainer.evaluate_every=10", "--set", "trainer.model.width=4")
RUN = ("run", DIGITS, "--trials", 2, *LONGER, "--set", "sampler.name=random", "--set", "pruner.name=none")


@pytest.mark.slow
def test_a_sweep_whose_driver_is_killed_resumes_to_what_an_undisturbed_one_finds(tmp_path, undisturbed):
    """Real training; of the other ways to end one, see tests/chaos."""
    status, _ = interrupted(*RUN, folder=tmp_path, after=" step ", how=signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert gone(str(tmp_path)), "no process outlives the driver for long"
    assert as_json("status", folder=tmp_path)["state"] == "interrupted"

    mt_sweep("resume", "digits", folder=tmp_path)
    assert as_json("status", folder=tmp_path)["state"] == "finished"
    assert results(tmp_path) == undisturbed


def results(folder):
    """What every trial ended with, from the records of its last attempt."""
    found = {}
    for trial in sorted((folder / "sweeps" / "digits" / "trials").iterdir()):
        last = max(trial.glob("attempt-*"), key=lambda attempt: int(attempt.name.partition("-")[2]))
        lines = [json.loads(line) for line in (last / "records.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(10, 201, 10)), "every evaluation once, in order"
        found[trial.name] = [
            {name: value for name, value in line["metrics"].items() if not name.startswith(("time.", "memory."))}
            for line in lines
        ]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    mt_sweep(*RUN, folder=folder)
    return results(folder)
