"""Whatever ends a driver, the sweep goes on from where it was, and comes to what each trial does by itself."""

import signal

import pytest

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.command_line import ALONE, DIGITS, IN_PROCESS, as_json, gone, interrupted, mt_sweep
from trainers import Trainer

SETTINGS = ("trainer.steps=240", "trainer.evaluate_every=10", "trainer.model.width=4", "finalists.baselines=[]")
SETTINGS += ("sampler.name=random", "pruner.name=none")
RUN = ("run", DIGITS, "--trials", 3, *ALONE, *(word for one in SETTINGS for word in ("--set", one)))


@pytest.mark.system
def test_a_sweep_that_every_signal_ends_resumes_to_what_an_undisturbed_one_finds(tmp_path):
    command = RUN
    # The first with Ray, whose processes must not be left behind; the others without, since it takes long to start.
    for how, engine in ((signal.SIGKILL, ()), (signal.SIGINT, (IN_PROCESS,)), (signal.SIGTERM, (IN_PROCESS,))):
        status, out = interrupted(*command, *engine, folder=tmp_path, after=" step ", how=how)
        if how == signal.SIGKILL:
            assert status == -signal.SIGKILL
        else:
            assert status == 130
            assert "mt-sweep resume digits" in out
        assert gone(str(tmp_path)), "no process outlives the driver for long"
        assert as_json("status", folder=tmp_path)["state"] == "interrupted"
        command = ("resume", "digits")

    mt_sweep("resume", "digits", IN_PROCESS, folder=tmp_path)
    assert as_json("status", folder=tmp_path)["state"] == "finished"
    sweep = LocalHome(tmp_path / "sweeps").sweep("digits")
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    attempts = [trial.attempt for trial in ledger.trials("search")]
    assert max(attempts) == 4, "one of them went through all"
    for trial in ledger.trials("search"):
        found = sweep.trials.records(TrialId("search", trial.number))
        undisturbed = Trainer(ledger.spec.config(trial.values, "search"), None).run()
        assert [(report.step, learned(report)) for report in found] == [
            (report.step, learned(report)) for report in undisturbed
        ], "every evaluation once, in order"


def learned(report):
    """What does not depend on how long it took."""
    return {name: value for name, value in report.metrics.items() if not name.startswith(("time.", "memory."))}
