"""The chapters of a report: its findings in words, tables and figures.

If there is nothing to show, a sentence says so instead of the figure.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mt_sweeps.formatting import counted, duration, error_text, percent, value_text
from mt_sweeps.report import class_chapter, figures, search_chapters
from mt_sweeps.report.axes import Axis
from mt_sweeps.report.components import Chapter, Figure, Link, Table, hours_text, searched
from mt_sweeps.report.findings import Cost, Findings
from mt_sweeps.results.finalists import Verdict
from mt_sweeps.results.statistics import Comparison, Interval

_BASELINES = {
    "probe": "logistic regression on frozen features",
    "supervised": "the labeled images alone",
    "published": "the authors' values",
}
_METHODS = {"mean_teacher": "Mean Teacher", "pi_model": "Pi-model", "temporal_ensembling": "temporal ensembling"}


def state_line(findings: Findings) -> str:
    """Return the state of the sweep in one line."""
    sweep = findings.sweep
    states = ", ".join(f"{count} {name}" for name, count in sweep.states.items() if count) or "none started"
    started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(sweep.started))
    version = findings.reproduction.versions["mt-sweeps"]
    number = len(findings.trials)
    of_all = f"{number} of {counted(sweep.total, 'trial')}" if number < sweep.total else counted(number, "trial")
    unstarted = f" {_sentence(sweep.unstarted)}" if sweep.unstarted else ""
    return (
        f"{sweep.state.capitalize()}. {of_all} searched: {states}. {duration(sweep.seconds)} of work in all."
        f"{unstarted} Started {started}, mt-sweeps {version}."
    )


def all_chapters(
    findings: Findings, axes: Sequence[Axis], pages: Mapping[str, str], dashboard: str, inspect: str
) -> list[Chapter]:
    """Return all chapters, in order.

    Args:
        findings: the findings.
        axes: of the search.
        pages: addresses in MLflow: of each trial by `TrialId.slug`, and of the sweep by an empty text.
        dashboard: the command that shows the sweep in MLflow.
        inspect: the command that makes pictures.
    """
    complete = findings.completed
    return [
        _verdict(findings),
        _best(findings),
        _final_models(findings),
        search_chapters.trials(findings, pages),
        class_chapter.class_errors(findings),
        class_chapter.images(findings, inspect),
        search_chapters.progress(findings, complete),
        search_chapters.curves(findings),
        search_chapters.slices(findings, axes, complete),
        search_chapters.parallel(findings, axes, complete),
        search_chapters.importance(findings),
        search_chapters.rungs(findings),
        _failures(findings),
        _finalists(findings),
        _cost(findings),
        _mlflow(pages.get("", ""), dashboard),
        _reproduction(findings),
    ]


def _mlflow(page: str, dashboard: str) -> Chapter:
    """Return the chapter that leads to MLflow."""
    text = [f"Curves, settings and weights of every trial: `{dashboard}` opens them."]
    return Chapter("In MLflow", text=text, links=[Link("The sweep there:", page, page)] if page else [])


def _verdict(findings: Findings) -> Chapter:
    verdict, cautions = findings.verdict, findings.cautions
    if verdict is None:
        return Chapter("Verdict", lead=[*_why_all_failed(findings), _no_verdict(findings)], cautions=cautions)
    first = next(iter(verdict.means))
    lead = [_sentence(verdict.probe)] if verdict.probe else []
    lead += [_sentence(str(one)) for one in verdict.comparisons]
    lead += [_sentence(verdict.not_compared)] if verdict.not_compared else []
    lead = lead or [f"Nothing was compared with {first}."]
    lead += [_sentence(verdict.ended)] if verdict.ended else []
    if verdict.gain is not None:
        over, points = "ain over the supervised baseline", verdict.gain.absolute.text("points")
        lead.append(f"G{over}: {verdict.gain}." if verdict.gain.is_shown else f"No g{over} is shown: {points}.")
    lead += [f"Of {name}, {count} trainings failed, and are in no mean." for name, count in verdict.failed.items()]
    scored_on = f"{verdict.images} images that chose nothing"
    if not verdict.kept_back:
        scored_on = (
            f"{verdict.images} images, redrawn for every seed; selection and verdict share images, so that the "
            "intervals are those of the corrected resampled t-test (Nadeau and Bengio 2003)"
        )
    text = (
        "The best of the search and the baselines were trained again on fresh seeds and label draws, and scored "
        f"on {scored_on}. Differences are paired by seed; p-values and intervals are corrected for the looks after "
        "each seed and for the comparisons made (Holm)."
    )
    if findings.sweep.error_name != "error":
        text += f" All errors are {findings.sweep.error_name}s: the mean of the errors of the classes."
    errors = _scored_errors(findings)
    tables, plots = [_means_table(verdict, errors)], [_means_figure(verdict, findings.finalists, errors)]
    if verdict.comparisons:
        tables.append(_differences_table(verdict.comparisons, first, findings.sweep.method, errors))
        plots.append(_differences_figure(verdict, first, findings.sweep.method, errors))
    return Chapter("Verdict", lead=lead, cautions=cautions, text=[text], tables=tables, figures=plots)


def _means_table(verdict: Verdict, errors: str) -> Table:
    rows = [[_contender(name), percent(one.mean), _range(one), str(one.seeds)] for name, one in verdict.means.items()]
    title = f"Mean errors of the contenders: {errors}"
    return Table(title, ["contender", "mean", "95 % interval", "seeds"], rows)


def _means_figure(verdict: Verdict, by_seed: dict[str, dict[int, float]], errors: str) -> Figure:
    means = "; ".join(f"{name} {mean}" for name, mean in verdict.means.items())
    caption = f"Mean {errors}, with its 95 % interval; the dots are single seeds. {means}."
    return Figure("Mean errors", figures.means(verdict, by_seed, errors), caption)


def _differences_table(comparisons: Sequence[Comparison], first: str, method: str, errors: str) -> Table:
    rows = [
        [
            _minus(one, method),
            f"{100 * one.difference.mean:z.1f} points",
            _range(one.difference, "points"),
            f"{one.p:.2g}",
            str(one.seeds),
            f"{one.winner} is better" if one.winner else "cannot be told apart",
        ]
        for one in comparisons
    ]
    title = f"Paired differences of the {errors}; below 0, {first} is better"
    return Table(title, ["errors", "difference", "interval", "p", "seeds", "so"], rows)


def _differences_figure(verdict: Verdict, first: str, method: str, errors: str) -> Figure:
    names = [_minus(one, method) for one in verdict.comparisons]
    pairs = zip(names, verdict.comparisons, strict=True)
    differences = "; ".join(f"{name} {one.difference.text('points')}" for name, one in pairs)
    caption = (
        f"{_capitalized(errors)} of {first}, the best of the search, minus that of another, seed by seed, with the "
        f"intervals of the test; left of 0, {first} is better: {differences}."
    )
    return Figure("Paired differences", figures.differences(verdict, names, errors), caption)


def _minus(one: Comparison, method: str) -> str:
    """Return what was subtracted from what: `Mean Teacher (trial 3) minus supervised`."""
    return (
        f"{_METHODS.get(method, method)} ({one.a}) minus {one.b}"
        if one.a.startswith("trial ")
        else f"{one.a} minus {one.b}"
    )


def _why_all_failed(findings: Findings) -> list[str]:
    """Return the reason first, where every trial of the search that ended has failed."""
    states = findings.sweep.states
    if not states.get("failed") or states.get("complete") or states.get("pruned"):
        return []
    count = states["failed"]
    reasons = "; ".join(f"{one.reason}: {_first_line(one.message)}" for one in findings.failures)
    which = "The only trial failed" if count == 1 else f"All {count} trials that ended failed"
    return [f"{which}. {reasons}"]


def _no_verdict(findings: Findings) -> str:
    state = findings.sweep.state
    if findings.best is None:
        ended = "No trial has completed" + ("." if state in ("finished", "failed") else " yet.")
        return f"{ended} So there is no best configuration, and no verdict."
    if not any(row.arm == "finalists" for row in findings.cost):
        return (
            f"No verdict: no finalists have been trained{_why_no_finalists(findings)}. One run of each configuration, "
            "on the images that chose the best, proves nothing."
        )
    if findings.sweep.ended:
        return f"No verdict: no contender has been trained on two seeds, and {findings.sweep.ended}."
    return "No verdict yet: no contender has been trained on two seeds."


def _why_no_finalists(findings: Findings) -> str:
    sweep = findings.sweep
    if not sweep.finalists:
        return ", since the file asks for none (finalists.top: 0)"
    reasons = {"running": "the search has not ended", "interrupted": "the sweep was interrupted"}
    reason = sweep.ended or reasons.get(sweep.state, "")
    return f", since {reason}" if reason else ""


def _best(findings: Findings) -> Chapter:
    best, sweep = findings.best, findings.sweep
    if best is None:
        return Chapter("The best configuration", text=["No trial has completed."])
    baselines = [
        f"{arm} ({_BASELINES[arm]}) {error_text((one.error, one.standard_error))}"
        for arm, one in findings.baselines.items()
    ]
    rows = []
    for key, value in best.values.items():
        branches = [one for one in findings.parameters if one.key == key]
        ranges = [searched(one) + (f" where {one.where}" if one.where else "") for one in branches]
        rows.append([key, value_text(value), "; ".join(ranges) or "tied to another key"])
    return Chapter(
        "The best configuration",
        text=[
            f"Trial {best.trial}: validation {sweep.error_name} of the {sweep.network} "
            f"{error_text((best.error, best.standard_error))} (standard error, "
            f"{sweep.images['validation']} images)."
            + " These images chose it, so this error is likely to be too low."
            + (f" For comparison, the best trial of each baseline: {'; '.join(baselines)}." if baselines else ""),
            " ".join(map(_sentence, findings.search)),
        ],
        tables=[Table("Its searched values", ["key", "value", "searched"], rows)],
    )


def _final_models(findings: Findings) -> Chapter:
    title = "Final models"
    if not findings.trained:
        text = (
            "None is trained: `export` writes the best values, and `train` trains with them and reads the test images."
        )
        return Chapter(title, text=[text])
    rows = [[one.title, one.error_text, one.network, f"trained/{Path(one.folder).name}"] for one in findings.trained]
    text = (
        "Each was trained with the values of one trial, and read the test images once, at its end. The intervals "
        "show how far the error depends on which images are tested. Another training seed changes it further."
    )
    head = ["model", "test error [95 %]", "network", "folder, in the home of the sweep"]
    return Chapter(title, text=[text], tables=[Table("Test errors", head, rows)])


def _failures(findings: Findings) -> Chapter:
    failures = findings.failures
    labels = ", ".join(trial.label for trial in findings.ended_by_hand)
    by_hand = [f"Ended by hand, which is no failure: {labels}."] if labels else []
    if not failures:
        return Chapter("Failures", text=["No trial failed.", *by_hand])
    rows = []
    for one in failures:
        names = [trial.label for trial in one.trials]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        rows.append([one.reason, str(len(names)), ", ".join(names[:8]) + more, _first_line(one.message)])
    return Chapter(
        "Failures", text=by_hand, tables=[Table("By reason", ["reason", "trials", "which", "the first says"], rows)]
    )


def _finalists(findings: Findings) -> Chapter:
    by_seed = findings.finalists
    if not by_seed:
        return Chapter("Finalists", text=["No finalist has completed."])
    errors = _scored_errors(findings)
    order = sorted({seed for of_one in by_seed.values() for seed in of_one})
    numbers = Table(
        f"{_capitalized(errors)} by seed",
        ["contender", *map(str, order)],
        [[name, *(percent(of_one.get(seed)) for seed in order)] for name, of_one in by_seed.items()],
    )
    ranges = "; ".join(
        f"{name} {percent(min(of_one.values()))} to {percent(max(of_one.values()))}" for name, of_one in by_seed.items()
    )
    caption = (
        f"{_capitalized(errors)} of each contender by seed; a seed draws the same labels for all. "
        f"Over {counted(len(order), 'seed')}: {ranges}."
    )
    first = next(iter(by_seed))
    return Chapter(
        "Finalists",
        figures=[Figure("Seed by seed", figures.seeds(by_seed, first, errors), caption, numbers)],
    )


def _cost(findings: Findings) -> Chapter:
    cost, on_gpus = findings.cost, bool(findings.reproduction.gpus_per_trial)
    if not cost:
        return Chapter("Cost", text=["Nothing has been spent."])
    rows = []
    for arm in dict.fromkeys(row.arm for row in cost):
        of_arm = [row for row in cost if row.arm == arm]
        rows += [_cost_row(arm, row.state, [row], on_gpus) for row in of_arm]
        if len(of_arm) > 1:
            rows.append(_cost_row(arm, "together", of_arm, on_gpus))
    rows.append(_cost_row("all", "", cost, on_gpus))
    head = ["arm", "state", "trials", "steps", "time of workers", *(["GPU time"] if on_gpus else [])]
    gpus = f", {findings.reproduction.gpus_per_trial:g} GPUs per trial" if on_gpus else ", without a GPU"
    text = f"Up to {counted(findings.reproduction.concurrent, 'trial')} at once{gpus}."
    return Chapter("Cost", text=[text], tables=[Table("By arm and state", head, rows)])


def _reproduction(findings: Findings) -> Chapter:
    how, sweep = findings.reproduction, findings.sweep
    facts = [
        ["versions", ", ".join(f"{name} {version}" for name, version in how.versions.items())],
        ["platform", how.platform],
        ["seeds", ", ".join(f"{name} {seed}" for name, seed in how.seeds.items())],
        ["images", ", ".join(f"{count:,} {purpose}" for purpose, count in sweep.images.items())],
        ["fingerprint of the images", how.data_fingerprint],
    ]
    return Chapter(
        "Reproduction",
        text=[
            "Save the file below as spec.yaml, put the same images in their place, and run it with these versions. "
            "What a sampler suggests depends on the order in which trials end: with more than one at once, a second "
            "search may try other values."
        ],
        tables=[Table("What it was run with", [], facts)],
        code=[how.command, how.spec],
    )


def _cost_row(arm: str, state: str, rows: Sequence[Cost], on_gpus: bool) -> list[str]:
    trials, steps, hours = (sum(getattr(row, name) for row in rows) for name in ("trials", "steps", "hours"))
    cells = [arm, state, f"{trials:,}", f"{steps:,}", hours_text(hours)]
    return [*cells, hours_text(sum(row.gpu_hours for row in rows))] if on_gpus else cells


def _contender(name: str) -> str:
    return f"{name} ({_BASELINES[name]})" if name in _BASELINES else f"{name} (of the search)"


def _range(interval: Interval, unit: str = "%") -> str:
    return f"{100 * interval.low:z.1f} to {100 * interval.high:z.1f} {unit}".replace(" ", "\N{NO-BREAK SPACE}")


def _scored_errors(findings: Findings) -> str:
    """Return what the errors of finalists are, and of which images: `error on the verdict images`."""
    name = findings.sweep.error_name
    return f"{name} on the verdict images" if findings.sweep.images.get("verdict") else f"validation {name}"


def _capitalized(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _sentence(text: str) -> str:
    return f"{_capitalized(text)}."


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0][:300]
