import subprocess
import sys

from mt_sweeps.home import Home
from mt_sweeps.spec import Tracking
from mt_sweeps.tracking import BackgroundWriter, Client


def test_a_window_that_fails_stops_nobody_and_tells_why():
    calls = []

    def broken():
        calls.append(1)
        raise ConnectionError("no server there\nand more")

    writer = BackgroundWriter(broken, every=0.01)
    writer.start()
    while len(calls) < 3:
        pass
    assert writer.stop(10)
    assert writer.trouble == "ConnectionError: no server there"


def test_a_writer_that_was_never_started_can_be_stopped():
    assert BackgroundWriter(lambda: None).stop(0.1)


DIES = """
import os, sys
from pathlib import Path
from alembic.runtime.migration import HeadMaintainer
from mt_sweeps.home import Home
from mt_sweeps.spec import Tracking
from mt_sweeps.tracking import Client
HeadMaintainer.update_to_step = lambda *_: os._exit(9)  # a change is made, and not yet written down
Client(Home(Path(sys.argv[1])), Tracking())
"""


def test_a_process_that_is_killed_as_it_makes_the_embedded_store_leaves_none_that_cannot_be_opened(tmp_path):
    assert subprocess.run([sys.executable, "-c", DIES, tmp_path], check=False).returncode == 9
    assert Client(Home(tmp_path), Tracking()).new_run({}, "a run", 1_700_000_000.0)
