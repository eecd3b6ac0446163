"""Gather the findings of a report from the ledger, the records and the environment of a sweep."""

import math
import warnings

from mt_sweeps.plugins import modules_in
from mt_sweeps.report.axes import Axis, axes
from mt_sweeps.report.findings import (
    STATES,
    BaselineFinding,
    BestFinding,
    ClassFinding,
    Cost,
    FailureFinding,
    Findings,
    Reproduction,
    SweepFinding,
)
from mt_sweeps.report.search_findings import (
    Curve,
    Curves,
    GoodChoice,
    GoodRange,
    GoodRegion,
    Importance,
    Parameter,
    Progress,
    TrialFinding,
)
from mt_sweeps.report.thinning import spread
from mt_sweeps.results import class_errors, finalists, pictures, training_result
from mt_sweeps.results.cautions import cautions
from mt_sweeps.results.pictures import PictureSet
from mt_sweeps.results.probe import unbeaten_in_validation
from mt_sweeps.results.summary import search_sentences
from mt_sweeps.results.unstarted import unstarted_text
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study import pruner
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import State, Trial, best_of, shown_state
from trainers.config.compatibility import ONLY_LABELS
from trainers.confusion import Confusion
from trainers.report import Report, metric_of

_MOST_POINTS = 40  # per learning curve
_MOST_PICTURE_BYTES = 120_000  # of all pictures
_FIFTH = 5  # the good region is where the best fifth lies
_FEWEST = 6  # completed trials, below which a best fifth says nothing


def gather(sweep: SweepStore, ledger: Ledger, state: str) -> Findings:
    """Return everything there is to say about a sweep.

    Args:
        sweep: the sweep.
        ledger: of the sweep; only read.
        state: running, interrupted or finished.
    """
    spec, environment, gpus = ledger.spec, sweep.load_environment(), sweep.load_environment().gpus_per_trial
    driven = state == "running"
    searched, best, good = ledger.trials("search"), ledger.best(), best_fifth(ledger)
    baselines = {arm: best_of(ledger.trials(arm), spec.metric) for arm in spec.finalists.baselines}
    verdict = finalists.compare_finalists(ledger, environment.images, environment.groups)
    probe = unbeaten_in_validation(ledger, verdict.comparisons if verdict else [])
    guessing = class_errors.guessing_error(sweep, ledger)
    return Findings(
        sweep=SweepFinding(
            name=sweep.name,
            state=state,
            metric=spec.metric,
            error_name=spec.error_name,
            network=spec.network,
            method=spec.trainer.get("method", "mean_teacher"),
            steps=spec.total_steps,
            started=environment.started,
            seconds=ledger.active_seconds,
            images=environment.images,
            states={name: sum(shown_state(trial, driven) == name for trial in searched) for name in STATES},
            total=ledger.total("search"),
            finalists=spec.finalists.top,
            ended=ledger.ended if state == "finished" else "",
            unstarted=unstarted_text(sweep, ledger) if state == "finished" else "",
        ),
        verdict=verdict,
        cautions=cautions(ledger, environment.images, guessing, environment.cautions, probe),
        best=None if best is None else _best(best, spec),
        search=search_sentences(ledger, environment.images),
        baselines={arm: BaselineFinding(*_errors(trial, spec)) for arm, trial in baselines.items() if trial},
        trained=training_result.final_models(sweep.home.trained, environment.id),
        classes=_classes(sweep, ledger),
        pictures=_pictures(sweep, best),
        trials=[_trial(trial, spec, shown_state(trial, driven)) for trial in searched],
        progress=_progress(searched, spec, gpus),
        curves=_curves(sweep, ledger),
        parameters=[_parameter(axis, good) for axis in axes(spec)],
        good=[trial.number for trial in good],
        importance=_importance(ledger, good),
        rungs=ledger.correlations(),
        failures=_failures(ledger),
        ended_by_hand=[trial.id for trial in ledger.all_trials() if trial.is_ended_by_hand],
        finalists=finalists.errors_by_seed(ledger),
        cost=_cost(ledger, gpus, driven),
        reproduction=_reproduction(sweep, environment),
    )


def best_fifth(ledger: Ledger) -> list[Trial]:
    """Return the best fifth of the completed trials of the search, at least three, or none if too few completed."""
    complete = _by_error(ledger)
    return complete[: max(3, math.ceil(len(complete) / _FIFTH))] if len(complete) >= _FEWEST else []


def _by_error(ledger: Ledger) -> list[Trial]:
    complete = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    return sorted(complete, key=lambda trial: trial.objective(ledger.spec.metric))


def _trial(trial: Trial, spec: SweepSpec, state: State) -> TrialFinding:
    error = trial.objective(spec.metric) if trial.state == "complete" else None
    return TrialFinding(trial.number, state, trial.step, error, _last_error(trial, spec), trial.reason, trial.values)


def _last_error(trial: Trial, spec: SweepSpec) -> float | None:
    """Return the error at the last report, or None if there is none that is a number."""
    errors = trial.error(spec.metric)
    return errors[0] if errors is not None and math.isfinite(errors[0]) else None


def _best(best: Trial, spec: SweepSpec) -> BestFinding:
    error, standard_error = _errors(best, spec)
    return BestFinding(best.number, best.state, best.step, error, best.values, standard_error)


def _errors(trial: Trial, spec: SweepSpec) -> tuple[float, float]:
    """Return the error of a completed trial and its standard error."""
    errors = trial.error(spec.metric)
    assert errors is not None  # a completed trial has its last report
    return errors


def _classes(sweep: SweepStore, ledger: Ledger) -> list[ClassFinding]:
    """Return the errors by class of the best trial and of the final trainings of the sweep that are in this home."""
    found = []
    best, confusion, environment = ledger.best(), class_errors.of_best(sweep, ledger), sweep.load_environment()
    if best is not None and confusion is not None:
        evaluation = f"at its last evaluation, step {best.step}"
        title = f"Trial {best.number}, the best of the search, on the validation images {evaluation}"
        found.append(_class_finding(title, confusion, environment.classes))
    for result in training_result.of_sweep(sweep.home.trained, environment.id):
        test = result.test.get(result.network)
        if test is not None and test.confusion is not None:
            title = f"The final training of {result.trial_id.label} with seed {result.trainer.seed}, on the test images"
            found.append(_class_finding(title, Confusion.from_json(test.confusion), result.classes))
    return found


def _pictures(sweep: SweepStore, best: Trial | None) -> list[PictureSet]:
    """Return the sets of pictures that the page has room for: of the best trial, of `inspect`, of final trainings."""
    kept: list[PictureSet] = []
    size = 0
    content = None if best is None else sweep.trials.pictures(best.id)
    of_sweep = training_result.folders_of_sweep(sweep.home.trained, sweep.load_environment().id)
    folders = (sweep.path / "inspect", *of_sweep)
    for sets in ([] if content is None else pictures.parse(content), *map(pictures.load, folders)):
        for one in sets:
            size += sum(len(picture.jpeg) for picture in one.pictures)
            if size <= _MOST_PICTURE_BYTES:
                kept.append(one)
    return kept


def _class_finding(title: str, confusion: Confusion, classes: list[str]) -> ClassFinding:
    return ClassFinding(
        title=title,
        classes=class_errors.class_names(confusion, classes),
        errors=confusion.class_errors,
        balanced_error=confusion.balanced_error,
        balanced_standard_error=confusion.balanced_standard_error,
        macro_f1=confusion.macro_f1,
        macro_f1_standard_error=confusion.macro_f1_standard_error,
        confusion=confusion.as_json(),
    )


def _progress(searched: list[Trial], spec: SweepSpec, gpus: float) -> list[Progress]:
    rows: list[Progress] = []
    seconds = 0.0
    best: float | None = None
    ended = [trial for trial in searched if trial.finished]
    for trial in sorted(ended, key=lambda t: (t.last.time if t.last else t.attempt_started, t.number)):
        seconds += trial.seconds
        error = trial.objective(spec.metric) if trial.state == "complete" else None
        best = error if best is None or (error is not None and error < best) else best
        hours, last_error = seconds / 3600, _last_error(trial, spec)
        rows.append(Progress(trial.number, trial.state, hours, gpus * hours, error, last_error, best))
    return rows


def _curves(sweep: SweepStore, ledger: Ledger) -> Curves:
    spec, metric = ledger.spec, ledger.spec.metric
    begun = [trial for trial in ledger.trials("search") if trial.step]
    # Those that ended early come after those that reached the end, by their last report.
    begun.sort(key=lambda t: (t.state != "complete", (t.error(metric) or (1.0, 0.0))[0]))
    baseline = best_of(ledger.trials("supervised"), metric) if "supervised" in spec.arms() else None
    lines = [_curve(sweep, trial, metric) for trial in [*spread(begun), *([baseline] if baseline else [])]]
    best = ledger.best()
    config = spec.config(best.values) if best else None
    return Curves(
        of=len(begun),
        rungs=pruner.rungs(spec),
        ramp_up=config.consistency_ramp_end if config is not None and config.method not in ONLY_LABELS else None,
        best=None if best is None else best.number,
        lines=[line for line in lines if line.step],
    )


def _curve(sweep: SweepStore, trial: Trial, metric: str) -> Curve:
    reports = spread(sweep.trials.records(trial.id), _MOST_POINTS)
    metrics = [metric_of(metric, network) for network in ("student", "teacher")]
    student, teacher = ([_error(report, metric) for report in reports] for metric in metrics)
    return Curve(trial.arm, trial.number, [report.step for report in reports], student, teacher)


def _error(report: Report, metric: str) -> float | None:
    error = report.metrics.get(metric)
    return round(error, 5) if error is not None and math.isfinite(error) else None


def _parameter(axis: Axis, good: list[Trial]) -> Parameter:
    values = [axis.value(trial.values) for trial in good if axis.holds(trial.values)]
    region: GoodRegion = None
    if values and axis.choices:
        counts = {choice: values.count(choice) for choice in axis.choices}
        even = len(values) / len(counts)
        region = [GoodChoice(choice, count, count >= even) for choice, count in counts.items()]
    elif values:
        ranked, tenth = sorted(values, key=axis.fraction_of), len(values) // 10
        region = GoodRange(ranked[tenth], ranked[-1 - tenth])
    return Parameter(
        key=axis.key,
        name=axis.name,
        where=axis.where,
        scale=axis.scale,
        range=axis.choices or list(axis.ends),
        good=region,
        good_trials=len(values),
    )


def _importance(ledger: Ledger, good: list[Trial]) -> Importance | None:
    """Return the importance of each key, or None if it cannot be computed.

    It is Optuna's PED-ANOVA (Watanabe et al. 2023), which knows conditional branches; those of one key are added up.
    """
    every_axis, complete = axes(ledger.spec), _by_error(ledger)
    keys = list(dict.fromkeys(axis.key for axis in every_axis))
    if not good or len(keys) < 2:
        return None
    import optuna  # takes its time to load
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator

    study = optuna.create_study()
    for trial in complete:
        held = [axis for axis in every_axis if axis.holds(trial.values)]
        study.add_trial(
            optuna.create_trial(
                value=trial.objective(ledger.spec.metric),
                params={axis.name: axis.fraction_of(axis.value(trial.values)) for axis in held},
                distributions={
                    axis.name: CategoricalDistribution([axis.fraction_of(choice) for choice in axis.choices])
                    if axis.choices
                    else FloatDistribution(0.0, 1.0)
                    for axis in held
                },
            )
        )
    with warnings.catch_warnings(action="ignore"):  # the caption says that there are few trials
        by_name = PedAnovaImportanceEvaluator(target_quantile=len(good) / len(complete)).evaluate(study)
    shares = {key: sum(by_name.get(axis.name, 0.0) for axis in every_axis if axis.key == key) for key in keys}
    total = sum(shares.values())
    if not total:
        return None
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return Importance("PED-ANOVA", len(complete), len(good), {key: share / total for key, share in ranked})


def _failures(ledger: Ledger) -> list[FailureFinding]:
    by_reason: dict[str, list[Trial]] = {}
    for trial in ledger.all_trials():
        if trial.state == "failed":
            by_reason.setdefault(trial.reason, []).append(trial)
    ranked = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return [FailureFinding(reason, [trial.id for trial in trials], trials[0].message) for reason, trials in ranked]


def _cost(ledger: Ledger, gpus: float, driven: bool) -> list[Cost]:
    rows = []
    for arm in ledger.spec.arms():
        for state in STATES:
            trials = [trial for trial in ledger.trials(arm) if shown_state(trial, driven) == state]
            hours = sum(trial.seconds for trial in trials) / 3600
            if trials:
                rows.append(Cost(arm, state, len(trials), sum(trial.step for trial in trials), hours, gpus * hours))
    return rows


def _reproduction(sweep: SweepStore, environment: Environment) -> Reproduction:
    return Reproduction(
        command=" ".join(
            ["mt-sweep run spec.yaml", *(f"--plugin {name}" for name in modules_in(environment.versions))]
        ),
        spec=sweep.spec_text(),
        versions=environment.versions,
        seeds=environment.seeds,
        data_fingerprint=environment.data_fingerprint,
        platform=environment.platform,
        id=environment.id,
        gpus_per_trial=environment.gpus_per_trial,
        concurrent=environment.concurrent,
    )
