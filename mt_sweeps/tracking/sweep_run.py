"""The window: MLflow shows what the ledger and the records say. A projection: it can be made again at any time.

Everything is sent with the records' own time stamps, so that sending twice changes nothing.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import cast

from mt_sweeps.errors import SweepError
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.pruner import rungs
from mt_sweeps.study.trial import Trial
from mt_sweeps.tracking.client import Client, first_line, raise_if_permanent
from trainers.report import Report

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class SweepRun:
    """One sweep in MLflow: a parent run, and a child run a trial.

    Args:
        home: holds the embedded store.
        directory: of the sweep.
        ledger: of the sweep; only read.
    """

    def __init__(self, home: Home, directory: SweepStore, ledger: Ledger) -> None:
        self._home = home
        self._directory = directory
        self._files = directory.trials
        self._ledger = ledger
        self._spec = ledger.spec
        self._rungs = rungs(ledger.spec)
        self._client: Client | None = None
        self._parent = ""
        self._children: dict[TrialId, str] = {}
        self._sent: dict[TrialId, int] = {}  # the last step of what is there
        self._closed: set[TrialId] = set()
        self._models: set[TrialId] = set()  # of finished trials, not yet sent or removed
        self._best: tuple[int, int] | None = None

    def sync(self, progress: Callable[[list[Trial]], Iterable[Trial]] = iter) -> int:
        """Send what is new since the last time; after a failure, simply call it again.

        Args:
            progress: goes through the trials, and may show how far it is.

        Returns:
            How many runs there are.
        """
        client = self._client or self._connected()
        try:
            for trial in progress(self._ledger.all_trials()):
                self._sync_trial(client, trial)
            self._show_best(client)
            self._upload_models(client)
        except Exception:
            self._client = None  # what was asked for last may have been done or not: looked up anew
            raise
        return 1 + len(self._children)

    def finish(self, status: str, summary: str, progress: Callable[[list[Trial]], Iterable[Trial]] = iter) -> int:
        """The sweep has ended: its description, its winning parameters, its status.

        Args:
            status: FINISHED, KILLED (it can go on) or FAILED.
            summary: of the sweep.
            progress: as in `sync`.

        Returns:
            How many runs there are.
        """
        self._client = None  # looked up once more: what was late is there by now
        runs = self.sync(progress)
        client = self._client or self._connected()
        best = self._ledger.best()
        if status != "KILLED":
            self._upload_models(client, ended=True)
        params, tags = None, {"mt.state": status, "mlflow.note.content": f"```\n{summary}\n```"}
        if best is not None and status == "FINISHED":
            told = client.params(self._parent)
            params = None if told else best.values
            if told and told != {
                key: str(value) for key, value in best.values.items()
            }:  # which MLflow lets nobody change
                tags["mt.params"] = "of an earlier best: more trials found a better one, see the description"
        client.log(self._parent, params=params, tags=tags)
        for file in (self._directory.best, self._directory.report):
            if file.exists():
                client.log_file(self._parent, file)
        client.set_status(self._parent, status)
        return runs

    def _connected(self) -> Client:
        client = Client(self._home, self._spec.tracking)
        environment = self._directory.load_environment()
        self._parent = client.get_or_create_run(
            {"mt.sweep": environment.id, "mt.arm": "sweep"}, self._directory.name, environment.started
        )
        client.log(self._parent, tags={"mt.state": "RUNNING"})
        client.set_status(self._parent, "RUNNING")
        client.log_text(self._parent, self._directory.spec_text(), "spec.yaml")
        client.log_text(self._parent, json.dumps(asdict(environment), indent=2), "environment.json")
        # Asked for once: to look for each run before it is made would cost more the more there are.
        found: dict[TrialId, list[tuple[str, dict[str, str]]]] = {}
        for run, tags in client.runs({"mlflow.parentRunId": self._parent}):
            found.setdefault(TrialId(cast(Arm, tags["mt.arm"]), int(tags["mt.trial"])), []).append((run, tags))
        self._children = {trial_id: client.deduplicate(runs) for trial_id, runs in found.items()}
        self._closed &= self._children.keys()  # the others were removed by somebody, and are made again
        self._sent = {trial_id: step for trial_id, step in self._sent.items() if trial_id in self._children}
        self._client = client
        return client

    def _sync_trial(self, client: Client, trial: Trial) -> None:
        trial_id = trial.id
        if trial_id in self._closed:
            return
        reports = self._files.records(trial_id)
        if trial_id not in self._children:
            name = f"trial-{trial.id.slug}" if trial.arm == "search" else trial.id.slug
            tags = {"mlflow.parentRunId": self._parent, "mt.arm": trial.arm, "mt.trial": str(trial.number)}
            if trial.replicates is not None:
                tags["mt.of"] = f"{trial.replicates[0]}-{trial.replicates[1]:04d}"
            self._children[trial_id] = client.create_run(tags, name, trial.started)
            config = self._spec.config(trial.values, trial.arm)
            client.log_text(self._children[trial_id], config.model_dump_json(indent=2), "config.json")
        run, params = self._children[trial_id], trial.values if trial_id not in self._sent else None
        new = [report for report in reports if report.step > self._sent.get(trial_id, 0)]
        if params or new or trial.finished:
            client.log(run, new, params, self._tags(trial))
            self._sent[trial_id] = max([report.step for report in new], default=self._sent.get(trial_id, 0))
        if trial.finished:
            client.set_status(run, _STATUS[trial.state], trial.last.time if trial.last else None)
            if self._files.has_model(trial_id):
                self._models.add(trial_id)
            self._closed.add(trial_id)

    def _tags(self, trial: Trial) -> dict[str, str]:
        seed = trial.values.get("seed", self._spec.trainer.get("seed", 0))
        passed = sum(rung <= trial.step for rung in self._rungs) if trial.arm == "search" else 0
        tags = {"mt.state": trial.state, "mt.attempt": str(trial.attempt), "mt.seed": str(seed), "mt.rung": str(passed)}
        return tags | ({"mt.reason": trial.reason, "mt.message": trial.message} if trial.reason else {})

    def _upload_models(self, client: Client, ended: bool = False) -> None:
        """The best weights of finished trials go into the window, or away: nowhere are they kept twice.

        Args:
            client: to send them by.
            ended: whether no trial follows that may yet be among the best.
        """
        if not self._models:
            return
        models = self._spec.tracking.models
        complete = [trial for trial in self._ledger.all_trials() if trial.state == "complete"]
        if isinstance(models, int):
            searched = [trial for trial in complete if trial.arm == "search"]
            complete = sorted(searched, key=lambda trial: trial.objective(self._spec.metric))[:models]
        wanted = {} if models == "none" else {trial.id: trial for trial in complete}
        for trial_id in list(self._models):
            if trial_id in wanted:
                if isinstance(models, int) and not ended:
                    continue
                last = wanted[trial_id].last
                has_teacher = last is not None and "validation.teacher_error" in last.metrics
                with self._files.model(trial_id) as model:
                    client.log_file(self._children[trial_id], model, "teacher" if has_teacher else "student")
            self._files.drop_model(trial_id)
            self._models.remove(trial_id)

    def _show_best(self, client: Client) -> None:
        """The best so far on the parent, as a curve over completed trials: the runs table shows only parents."""
        complete = [
            trial for trial in self._ledger.trials("search") if trial.state == "complete" and trial.last is not None
        ]
        best = self._ledger.best()
        if best is None or best.last is None or self._best == (len(complete), best.number):
            return
        metric: str = self._spec.metric
        newest = max(trial.last.time for trial in complete if trial.last)
        shown = {metric: (best.error(metric) or (1.0, 0.0))[0]}
        client.log(self._parent, [Report(len(complete), newest, shown)], tags={"mt.best": str(best.number)})
        self._best = (len(complete), best.number)


def send_report(home: Home, directory: SweepStore) -> None:
    """Put a report that was written anew on the sweep's parent run, where there is one.

    Raises:
        SweepError: MLflow does not answer.
    """
    tracking = directory.load_spec().tracking
    if tracking.uri is None and not home.mlflow_db.exists():
        return
    try:
        client = Client(home, tracking)
        sweep = directory.load_environment().id
        for run, _ in client.runs({"mt.sweep": sweep, "mt.arm": "sweep"}):
            client.log_file(run, directory.report)
    except Exception as error:  # of MLflow's client, its store or the network
        raise_if_permanent(error, tracking)
        raise SweepError(
            f"MLflow has not got the report ({first_line(error)}); the same command sends it again"
        ) from None
