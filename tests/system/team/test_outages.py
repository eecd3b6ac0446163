"""One sweep of a team, while nodes, its driver and the servers go away and come back.

A campaign, run where `MT_SWEEPS_OUTAGES` says how many of each; what they came to is printed. One node also leaves the
network for a minute so often, where root can have a network of its own.
"""

import os
import random
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.helpers.chaos import INTERVAL, STEPS, check_ledger, undisturbed
from tests.helpers.servers.network import Namespace
from tests.helpers.servers.postgres import Postgres
from tests.helpers.servers.proxy import Proxy
from tests.helpers.team import Team

TIMES = int(os.environ.get("MT_SWEEPS_OUTAGES", "0"))
SEED = int(os.environ.get("MT_SWEEPS_SEED", "0"))
TRIALS, CUT = 10 + 14 * TIMES, 60.0  # seconds
KINDS = ("node", "driver", "PostgreSQL", "object store", "MLflow")
NAME = "disturbed"
pytestmark = [
    pytest.mark.skipif(Postgres.binaries() is None, reason="needs PostgreSQL: apt-get install postgresql"),
    pytest.mark.skipif(not TIMES, reason="a campaign of minutes: set MT_SWEEPS_OUTAGES=1, or more"),
]


@pytest.mark.system
def test_a_sweep_whose_servers_and_nodes_go_away_comes_to_what_an_undisturbed_one_does(tmp_path):
    rng = random.Random(SEED)
    kinds = [kind for kind in KINDS for _ in range(TIMES)]
    rng.shuffle(kinds)
    done = Counter()
    with ExitStack() as stack:
        team = stack.enter_context(Team(tmp_path, seconds=0.3, nodes=2))
        cut = Cut(stack, team) if Namespace.is_possible() else None
        assert team.submit(NAME, TRIALS).returncode == 0
        for kind in kinds:
            if cut is not None and cut.begin():
                done["node cut off for a minute"] += 1
            team.until_reports(NAME, team.reports(NAME) + rng.randint(3, 12))
            print(f"{kind} goes away, {team.reports(NAME)} reports in", flush=True)
            away(team, kind, rng)
            done[kind] += 1
            if cut is not None:
                cut.mend_in_time()
        if cut is not None:
            cut.mend_in_time(wait=True)
        team.until(NAME, "finished", 60 + 20 * TRIALS)
        team.read("sync", NAME)  # MLflow may be behind: with accounts on it is slow
        again = check(team, undisturbed(tmp_path / "undisturbed", TRIALS))
    print(f"\n{TRIALS} trials; {dict(done)}; intervals computed again: {again} of {TRIALS * STEPS // INTERVAL}")


class Cut:
    """A third node, in a network of its own whose cable is pulled for a minute."""

    def __init__(self, stack, team):
        self._network = stack.enter_context(Namespace())
        store = Proxy(team.store.port, host=Namespace.gateway)
        stack.callback(store.close)
        team.cluster.add({"AWS_ENDPOINT_URL": store.uri}, self._network)
        self._left, self._since = TIMES, None

    def begin(self):
        if self._since is not None or not self._left:
            return False
        self._network.cut()
        self._left, self._since = self._left - 1, time.monotonic()
        return True

    def mend_in_time(self, wait=False):
        if self._since is None:
            return
        remaining = self._since + CUT - time.monotonic()
        if wait:
            time.sleep(max(0.0, remaining))
        elif remaining > 0:
            return
        self._network.mend()
        self._since = None


def away(team, kind, rng):
    """It is killed, and comes back after some seconds."""
    seconds = rng.uniform(1, 6)
    if kind == "node":
        team.cluster.kill(team.cluster.running[1])
        team.cluster.add()
    elif kind == "driver":
        assert team.kill_driver(NAME)
        resumed = team.resume(NAME)
        assert resumed.returncode == 0, resumed.stderr
    elif kind == "PostgreSQL":
        team.postgres.stop("immediate")
        time.sleep(seconds)
        team.postgres.start()
    else:
        server = team.store if kind == "object store" else team.mlflow
        server.kill()
        time.sleep(seconds)
        server.start()


def check(team, expected):
    """What must be true in the end, beside the sweep that nothing disturbed; the intervals that were computed again."""
    trials, computed = team.study(NAME), team.computed()
    check_ledger(trials, expected)
    steps = list(range(INTERVAL, STEPS + 1, INTERVAL))
    recorded, shown = team.recorded(NAME), team.shown(NAME)
    again = 0
    for trial in trials:
        attempts, last = recorded[trial.number]
        assert last == steps, "every evaluation is recorded once, in order"
        twice = sum(computed[trial.number, step] - 1 for step in steps)
        assert twice <= attempts - 1, "an attempt computes at most one interval again"
        again += twice
        assert shown[trial.number] == ("FINISHED", steps)
    return again
