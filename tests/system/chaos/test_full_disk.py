"""A disk that fills up ends the sweep in words; with room again it goes on to the same result."""

import errno
import shutil
import subprocess
import time

import pytest

from tests.helpers.chaos import NAME, Sweep, check

RESUME = f"mt-sweep resume {NAME}`"


@pytest.fixture
def small_disk(tmp_path):
    """A folder with 40 MB for sweeps."""
    home = tmp_path / "sweeps"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", home], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs root, to mount a small disk: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", home], check=True)


@pytest.mark.system
def test_a_sweep_whose_disk_fills_up_says_so_and_goes_on_to_the_same_result(small_disk, undisturbed):
    sweep = Sweep(small_disk, trials=5, seconds=0.4)
    ballast = sweep.home / "ballast"

    def ends_in_words(driver):
        while not driver.ended:  # what a finished trial frees is taken at once
            fill(ballast)
            time.sleep(0.1)
        status, out = driver.wait()
        assert status == 1, out
        assert "the disk is full" in out
        assert RESUME in out

    driver = sweep.drive()
    assert driver.until(" step "), driver.printed()
    ends_in_words(driver)  # a worker meets it, as it writes a checkpoint

    ends_in_words(sweep.drive())  # and the next driver, before it starts anything

    ballast.unlink()
    trials = sweep.path / "trials"
    shutil.move(trials, small_disk / "elsewhere")
    trials.symlink_to(small_disk / "elsewhere")
    driver = sweep.drive()
    assert driver.until(" step "), driver.printed()
    ends_in_words(driver)  # the ledger meets it: the trials have a disk of their own

    ballast.unlink()
    sweep.finish()
    check(sweep, undisturbed)


def fill(ballast):
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
