"""A sweep in MLflow. It shows what is in the ledger and the records, and can be made again from them at any time.

Metrics have the time stamps of their records, so that sending one twice changes nothing.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import cast

from pydantic import ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.results import finalists
from mt_sweeps.results.headline import headline_text
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.pruner import rungs
from mt_sweeps.study.trial import Trial, shown_state
from mt_sweeps.tracking import description
from mt_sweeps.tracking.client import MOST_TAG_CHARACTERS, Client, StoredRun
from mt_sweeps.tracking.mlflow_errors import permanent_errors
from mt_sweeps.tracking.numbers import ROUNDED, param_text, rounded
from mt_sweeps.tracking.pages import run_addresses
from mt_sweeps.tracking.shared_view import final_metric, tag_of, view_text
from trainers.report import Report, metric_of

_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}  # `mt.state` tells pruned ones apart
_COLOURS: dict[str, str] = {
    "sweep": "#1c2024",
    "search": "#0b62b8",
    "probe": "#8b6f00",
    "supervised": "#b4530a",
    "published": "#7a3fb0",
    "finalists": "#2f9e63",
}
_Progress = Callable[[list[Trial]], Iterable[Trial]]


class SweepRun:
    """One sweep in MLflow: a parent run, with one child run per trial.

    Args:
        home: holds the embedded store.
        sweep: the sweep.
        ledger: of the sweep; only read.
        connect: returns the client of the sweep's experiment.
    """

    def __init__(
        self, home: Home, sweep: SweepStore, ledger: Ledger, connect: Callable[[Home, Tracking], Client] = Client
    ) -> None:
        self._home = home
        self._sweep = sweep
        self._files = sweep.trials
        self._ledger = ledger
        self._spec = ledger.spec
        self._rungs = rungs(ledger.spec)
        self._connect_to = connect
        self._client: Client | None = None
        self._parent = ""
        self._children: dict[TrialId, str] = {}
        self._sent: dict[TrialId, int] = {}  # the last step that MLflow has
        self._stored: dict[TrialId, StoredRun] = {}  # those that are not closed, as MLflow has them
        self._exact: dict[TrialId, dict[str, str]] = {}  # tags of an earlier version's runs: numbers with all digits
        self._is_parent_exact = False
        self._closed: set[TrialId] = set()
        self._models: set[TrialId] = set()  # of finished trials, not yet uploaded or deleted
        self._counts: dict[str, int] = {}  # trials of the search by state, when they were last sent

    def sync(self, progress: _Progress = iter) -> int:
        """Send what is new since the last call. After an error, call it again.

        Args:
            progress: iterates over the trials, and may show how far it is.

        Returns:
            The number of runs.
        """
        if self._sweep.is_gone:
            raise InputError(self._sweep.gone_text)
        self._ledger.check_driver()  # a driver that was replaced would show what is no longer so
        with permanent_errors(self._home, self._spec.tracking):
            client = self._client or self._connect()
            try:
                for trial in progress(self._ledger.all_trials()):
                    self._sync_trial(client, trial)
                self._log_progress(client)
                self._upload_models(client)
            except Exception:
                self._client = None  # MLflow may have done the last call or not: the next one looks what is there
                raise
        return 1 + len(self._children)

    @property
    def pages(self) -> dict[str, str]:
        """The addresses of its pages, as `run_pages` has them, if it is connected to a server."""
        if self._client is None:
            return {}
        runs = {trial_id.slug: run for trial_id, run in list(self._children.items())}
        return run_addresses(self._spec.tracking, self._client.experiment, runs | {"": self._parent})

    def finish(self, status: str, summary: str, progress: _Progress = iter) -> int:
        """Send what is left, and the parent's description, winning parameters, files and status.

        Args:
            status: FINISHED, KILLED (it can be resumed) or FAILED.
            summary: of the sweep.
            progress: as in `sync`.

        Returns:
            The number of runs.
        """
        with permanent_errors(self._home, self._spec.tracking):
            return self._finish(status, summary, progress)

    def _finish(self, status: str, summary: str, progress: _Progress) -> int:
        self._client = None  # a call that seemed lost may have been done since: look what is there
        runs = self.sync(progress)
        client = self._client or self._connect()
        best = self._ledger.best()
        if status != "KILLED":
            self._upload_models(client, is_last=True)
        logged, tags_before = client.params_and_tags(self._parent)
        params, tags = None, {"mt.state": status, **self._description(client, summary, tags_before)}
        if best is not None and status == "FINISHED":
            wanted = self._param_texts(best, self._is_parent_exact)
            params = None if logged else wanted
            # MLflow lets nobody change a parameter.
            if logged and logged != wanted:
                tags["mt.params"] = "of an earlier best: more trials found a better one, see the description"
        for trial in self._ledger.all_trials():
            if trial.attempt and not trial.finished:  # its tag may still be that of a trial that is trained
                self._log(client, trial, {"mt.state": shown_state(trial, driven=False)})
        verdict = description.verdict_metrics(self._ledger, self._sweep.load_environment())
        client.log(self._parent, verdict, params, tags)
        for file in (self._sweep.best, self._sweep.report):
            if file.is_file():
                client.log_file(self._parent, file)
        client.set_status(self._parent, status)
        return runs

    def _connect(self) -> Client:
        client = self._connect_to(self._home, self._spec.tracking)
        environment = self._sweep.load_environment()
        own = {"mt.sweep": environment.id, "mt.arm": "sweep"}
        look = {"mlflow.runColor": _COLOURS["sweep"], ROUNDED: "true"}
        self._parent, tags = client.get_or_create_run(own, self._sweep.name, environment.started, look)
        self._is_parent_exact = ROUNDED not in tags
        client.log(self._parent, tags={"mt.state": "RUNNING"})
        client.set_status(self._parent, "RUNNING")
        client.log_text(self._parent, self._sweep.spec_text(), "spec.yaml")
        client.log_text(self._parent, json.dumps(asdict(environment), indent=2), "environment.json")
        client.log_dataset(self._parent, self._spec.sample_config(), environment.data_fingerprint, environment.images)
        client.set_experiment_tag(tag_of(environment.id), view_text(self._spec, self._parent))
        # One query for all children: one before each creation would cost more the more runs there are.
        children: dict[TrialId, list[StoredRun]] = {}
        for run in client.runs({"mlflow.parentRunId": self._parent}):
            trial_id = TrialId(cast(Arm, run.tags["mt.arm"]), int(run.tags["mt.trial"]))
            children.setdefault(trial_id, []).append(run)
        kept = {trial_id: client.deduplicate(runs) for trial_id, runs in children.items()}
        self._exact = {trial_id: run.tags for trial_id, run in kept.items() if ROUNDED not in run.tags}
        self._children = {trial_id: run.id for trial_id, run in kept.items()}
        self._closed &= self._children.keys()  # somebody removed the others: they are created again
        self._sent = {trial_id: step for trial_id, step in self._sent.items() if trial_id in self._children}
        self._stored = {trial_id: run for trial_id, run in kept.items() if trial_id not in self._closed}
        self._client = client
        return client

    def _sync_trial(self, client: Client, trial: Trial) -> None:
        if trial.id in self._closed:
            return
        if trial.id not in self._children:
            self._create_child(client, trial)
        if not self._is_whole(trial):
            self._send_new(client, trial)
        if trial.finished:
            if self._files.has_model(trial.id):
                self._models.add(trial.id)
            self._closed.add(trial.id)
            del self._stored[trial.id]

    def _is_whole(self, trial: Trial) -> bool:
        """Return True if MLflow has all of a trial. An earlier driver sent it: the status is what is sent last."""
        # A trial that was given up or ended by hand has a reason, and its worker may have written a record since.
        if not trial.finished or trial.reason or trial.id in self._exact:
            return False
        stored = self._stored[trial.id]
        return stored.status == _STATUS[trial.state] and self._state_tags(trial).items() <= stored.tags.items()

    def _send_new(self, client: Client, trial: Trial) -> None:
        is_exact, is_first = trial.id in self._exact, trial.id not in self._sent
        last_sent = self._sent.get(trial.id, 0)
        if not is_first and not trial.finished and trial.step <= last_sent:
            return
        if is_first:
            client.log_text(self._children[trial.id], self._config_text(trial), "config.json")
            if is_exact:
                self._bring_up_to_date(client, trial)
        params = self._param_texts(trial, is_exact) if is_first else None
        # While it runs, those of its own attempt: a worker that was given up may still write to the one before.
        recorded = self._files.records(trial.id, trial.attempt if trial.state == "running" else None)
        new = [report for report in recorded if report.step > last_sent]
        if is_first or new or trial.finished:
            reports = [*(new if is_exact else map(rounded, new)), *self._final_report(trial)]
            self._log(client, trial, self._state_tags(trial), reports, params)
            self._sent[trial.id] = max([report.step for report in new], default=last_sent)
        if trial.finished:
            last = trial.last.time if trial.last else None
            client.set_status(self._children[trial.id], _STATUS[trial.state], last)

    def _create_child(self, client: Client, trial: Trial) -> None:
        tags = {"mlflow.parentRunId": self._parent, "mt.arm": trial.arm, "mt.trial": str(trial.number)}
        tags |= {"mlflow.runColor": _COLOURS[trial.arm], ROUNDED: "true"}
        if trial.replicates is not None:
            tags["mt.of"] = f"{trial.replicates.arm}-{trial.replicates.number:04d}"
        tags |= self._state_tags(trial)  # they cost a transaction less here than later
        run = client.create_run(tags, _name(trial), trial.started)
        self._children[trial.id] = run
        self._stored[trial.id] = StoredRun(run, tags, "RUNNING", len(tags))

    def _config_text(self, trial: Trial) -> str:
        try:
            return self._spec.config(trial.values, trial.arm).model_dump_json(indent=2)
        except ValidationError:  # it is refused, and FAILED
            return json.dumps(self._spec.trainer_settings(trial.values, trial.arm), indent=2)

    def _log(
        self,
        client: Client,
        trial: Trial,
        tags: dict[str, str],
        reports: Iterable[Report] = (),
        params: dict[str, str] | None = None,
    ) -> None:
        """Send metrics, parameters, and those tags that MLflow has not got yet."""
        stored = self._stored[trial.id]
        new = {key: value for key, value in tags.items() if stored.tags.get(key) != value}
        client.log(stored.id, reports, params, new)
        stored.tags.update(new)

    def _bring_up_to_date(self, client: Client, trial: Trial) -> None:
        """Give the run of an earlier version its name and its colour, unless a person has given it others."""
        run, tags = self._children[trial.id], self._exact[trial.id]
        old_name = f"trial-{trial.id.slug}" if trial.arm == "search" else trial.id.slug
        if tags.get("mlflow.runName") == old_name:
            client.rename(run, _name(trial))
        if "mlflow.runColor" not in tags:
            client.log(run, tags={"mlflow.runColor": _COLOURS[trial.arm]})

    def _param_texts(self, trial: Trial, is_exact: bool) -> dict[str, str]:
        # MLflow refuses some characters that the name of a class may have; config.json has the weights of classes.
        return {
            key: str(value) if is_exact else param_text(value)
            for key, value in trial.values.items()
            if not key.startswith("class_weights.")
        }

    def _final_report(self, trial: Trial) -> list[Report]:
        """Return the error by which a completed trial of the search is ranked, under the name that others lack."""
        if trial.arm != "search" or trial.state != "complete" or trial.last is None:
            return []
        metrics = {final_metric(self._spec.metric): trial.objective(self._spec.metric)}
        return [rounded(Report(trial.last.step, trial.last.time, metrics))]

    def _state_tags(self, trial: Trial) -> dict[str, str]:
        seed = trial.values.get("seed", self._spec.trainer.get("seed", 0))
        rungs_passed = sum(rung <= trial.step for rung in self._rungs) if trial.arm == "search" else 0
        tags = {
            "mt.state": trial.state,
            "mt.attempt": str(trial.attempt),
            "mt.seed": str(seed),
            "mt.rung": str(rungs_passed),
        }
        message = trial.message[:MOST_TAG_CHARACTERS]
        return tags | ({"mt.reason": trial.reason, "mt.message": message} if trial.reason else {})

    def _upload_models(self, client: Client, is_last: bool = False) -> None:
        """Upload the best weights of finished trials, or delete those that are not wanted. None is kept twice.

        Args:
            client: connected to MLflow.
            is_last: True if no trial follows that may be among the best.
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
                if isinstance(models, int) and not is_last:
                    continue
                last = wanted[trial_id].last
                has_teacher = last is not None and "validation.teacher_error" in last.metrics
                with self._files.model(trial_id) as model:
                    client.log_file(self._children[trial_id], model, "teacher" if has_teacher else "student")
            self._files.drop_model(trial_id)
            self._models.remove(trial_id)

    def _log_progress(self, client: Client) -> None:
        """Log on the parent how many trials of the search ended, and the best errors so far.

        The best errors are a curve over the completed trials.
        """
        searched, best = self._ledger.trials("search"), self._ledger.best()
        counts = {state: sum(trial.state == state for trial in searched) for state in _STATUS}
        ended = [trial for trial in searched if trial.finished]
        if not ended or counts == self._counts:
            return
        newest = max(trial.last.time if trial.last else trial.attempt_started for trial in ended)
        reports = [Report(len(ended), newest, {f"trials.{state}": float(count) for state, count in counts.items()})]
        tags = {}
        if best is not None and best.last is not None:
            completed = max(trial.last.time for trial in ended if trial.state == "complete" and trial.last)
            errors = [metric_of(self._spec.metric, network) for network in ("teacher", "student")]
            # The run of an earlier version has the points of one metric: of others, it would have the last alone.
            names = [self._spec.metric] if self._is_parent_exact else errors
            metrics = {name: best.last.metrics[name] for name in names if name in best.last.metrics}
            reports.append(Report(counts["complete"], completed, metrics))
            tags = {"mt.best": str(best.number)}
        client.log(self._parent, reports if self._is_parent_exact else map(rounded, reports), tags=tags)
        self._counts = counts

    def _description(self, client: Client, summary: str, tags: dict[str, str]) -> dict[str, str]:
        """Return the tags that describe the sweep: not the note, if a person wrote or changed it."""
        environment = self._sweep.load_environment()
        headline = headline_text(self._sweep, self._ledger, environment)
        files = [file.name for file in (self._sweep.report, self._sweep.best) if file.is_file()]
        note = description.text(
            self._ledger, environment, headline, summary, description.links(client, environment.id, self._parent, files)
        )
        written = description.tags_of(note) if description.is_ours(tags, self._sweep.name) else {}
        return {"mt.verdict": headline, **written}


def _name(trial: Trial) -> str:
    """Return the name of a trial's run: `trial 12`, `supervised 0`; of finalists, `trial 12, seed 3`."""
    if trial.replicates is None:
        return trial.id.label
    return f"{finalists.contender_name(trial.replicates)}, seed {int(trial.values['seed']) - finalists.FIRST_SEED}"
