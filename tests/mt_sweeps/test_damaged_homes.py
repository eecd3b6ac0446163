"""A short form of `benchmarks/fuzz_homes.py`: no damaged home brings a traceback, or hides another sweep."""

from pathlib import Path

import pytest

from benchmarks.fuzz_homes import BROKEN, GOOD, Findings, fuzz
from mt_sweeps.storage.local import LocalHome
from tests.helpers.sweeps import Script, digits, swept


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A home of two sweeps, in a folder of its own."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    home = LocalHome(folder / "whole")
    for name in (GOOD, BROKEN):
        swept(home, digits("trials=2", f"name={name}", "finalists.baselines=[]"), Script())
    (home.path / "mlflow.db").write_bytes(b"")
    return home.path


@pytest.mark.parametrize("seed", range(8))
def test_what_is_broken_breaks_only_itself(whole, seed):
    findings = Findings()
    fuzz(whole, seed, findings, writes=False)
    problems = [text for text in findings.problems if not text.startswith("took ")]  # the machine may be busy
    assert not problems, problems
    assert sum(findings.commands.values()) == 3
