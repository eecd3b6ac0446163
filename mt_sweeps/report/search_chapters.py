"""The chapters on the search: how it went, and what it shows about each parameter."""

from collections.abc import Mapping, Sequence

from mt_sweeps.formatting import counted, percent, value_text
from mt_sweeps.program import program
from mt_sweeps.report import search_figures
from mt_sweeps.report.axes import Axis
from mt_sweeps.report.components import Chapter, Figure, Table, hours_text, searched, small
from mt_sweeps.report.findings import Findings
from mt_sweeps.report.search_findings import Curve, DrawnTrial, Parameter, TrialFinding
from mt_sweeps.report.thinning import MOST_DOTS, MOST_LINES, spread
from mt_sweeps.spec.arms import TrialId

_SHOWN_TRIALS = 20  # rows of the table of trials that are not folded away
_SLICE_DOTS = 2400  # in all slices together
_MOST_TRIALS = 500  # rows of it; more would make a page that a phone loads slowly


def progress(findings: Findings, complete: list[DrawnTrial]) -> Chapter:
    """Return the chapter on the best error so far.

    Args:
        findings: the findings.
        complete: the completed trials, the best first.
    """
    rows, title, name = findings.progress, "Best so far", findings.sweep.error_name
    if len(complete) < 2:
        return Chapter(title, text=[_too_few(complete, "a curve")])
    on_gpus = bool(findings.reproduction.gpus_per_trial)
    hours = "gpu_hours" if on_gpus else "hours"
    spent_as = "GPU time" if on_gpus else "time of all workers together"
    bests = [(i + 1, row, row.error) for i, row in enumerate(rows) if row.error is not None and row.error == row.best]
    improvements = [one for n, one in enumerate(bests) if n == 0 or one[2] < bests[n - 1][2]]
    numbers = Table(
        "Every improvement",
        ["trial", "trials ended", spent_as, f"validation {name}"],
        [
            [str(row.trial), str(ended), hours_text(getattr(row, hours)), percent(error)]
            for ended, row, error in improvements
        ],
    )
    last_ended, last, last_error = improvements[-1]
    change = _change(improvements[0][2], last_error)
    over_trials = (
        f"The best validation {name} {change}, which was reached after {last_ended} of {len(rows)} trials. Dots are "
        f"trials that completed.{_hollow(findings)}"
    )
    spent, total = hours_text(getattr(last, hours)), hours_text(getattr(rows[-1], hours))
    over_hours = f"The same over the {spent_as}: it {change}, after {spent} of {total}."
    return Chapter(
        title,
        figures=[
            Figure("Over trials", search_figures.progress(rows, name=name), over_trials, small(numbers)),
            Figure(f"Over {'GPU ' if on_gpus else ''}time", search_figures.progress(rows, hours, name), over_hours),
        ],
    )


def curves(findings: Findings) -> Chapter:
    """Return the chapter on the learning curves of both networks."""
    curves, title, name = findings.curves, "Learning curves", findings.sweep.error_name
    lines = [line for line in curves.lines if line.arm == "search"]
    if not lines:
        return Chapter(title, text=["No records of a trial's evaluations are there."])
    shown = (
        f"{len(lines)} of {curves.of} trials, evenly over their ranks, are"
        if len(lines) < curves.of
        else "All trials are"
    )
    marks = [f"trials were ranked at {_steps(curves.rungs)}"] if curves.rungs else ["no trial was ended early"]
    if curves.ramp_up:
        marks.append(f"the consistency ramp-up of the best ends at {_steps([curves.ramp_up])}")
    figures = []
    for network in ("student", "teacher"):
        drawn = [line for line in lines if any(error is not None for error in line.errors(network))]
        if not drawn:
            continue
        best = [line for line in drawn if line.trial == curves.best]
        marked = ""
        if best:
            marked = f"the best (trial {best[0].trial}) strong, from {_ends(best[0], network)}; "
        base = [line for line in curves.lines if line.arm == "supervised" and network == "student"]
        if base:
            marked += f"the supervised baseline dotted, from {_ends(base[0], network)}; "
        caption = f"Validation {name} of the {network} over optimiser steps. {shown} light; {marked}{'; '.join(marks)}."
        pruned = [trial.trial for trial in findings.pruned]
        plot = search_figures.curves(curves, network, findings.sweep.steps, pruned, name)
        figures.append(Figure(f"The {network}", plot, caption))
    return Chapter(title, figures=figures)


def slices(findings: Findings, axes: Sequence[Axis], complete: list[DrawnTrial]) -> Chapter:
    """Return the chapter on the error over each parameter; arguments as for `progress`, and the axes of the search."""
    title, good, error_name = "Each searched parameter", findings.good, findings.sweep.error_name
    if len(complete) < 2:
        return Chapter(title, text=[_too_few(complete, "slices")])
    drawn = [*complete, *findings.pruned]
    text = [
        f"Validation {error_name} over each parameter, of the {len(complete)} trials that completed."
        f"{_hollow(findings)} A range is drawn on the scale on which it was searched, each trial at its value."
    ]
    most = min(MOST_DOTS, max(50, _SLICE_DOTS // len(axes)))
    if len(drawn) > most:
        text.append(f"At most {most} trials are drawn in a figure, evenly over their ranks.")
    if good:
        text.append(
            f"Marked is where the best fifth lies: the {len(good)} best of {len(complete)} completed trials (a fifth, "
            "at least three), without a tenth of them at either end. It shows where good configurations were found, "
            "not that others are bad: the search looked more often where it was good before. Choices are marked that "
            "have their even share of the best fifth or more."
        )
    else:
        text.append("No good region is marked: fewer than six trials completed.")
    shown, left_out, errors = [], [], [trial.error for trial in drawn]
    for axis, parameter in zip(axes, findings.parameters, strict=True):
        points = [trial for trial in complete if axis.holds(trial.values)]
        name = axis.key + (f" where {axis.where}" if axis.where else "")
        if len(axis.choices) == 1:
            left_out.append(f"{name}: there was nothing to choose but {value_text(axis.choices[0])}.")
        elif not points:
            left_out.append(f"{name}: no trial with it completed.")
        else:
            hollow = [trial for trial in findings.pruned if axis.holds(trial.values)]
            plot = search_figures.slice_of(
                axis, parameter.good, spread([*points, *hollow], most), good, errors, error_name
            )
            shown.append(
                Figure(name, plot, _region(parameter, len(points), len(good)), _points(points, axis, error_name))
            )
    return Chapter(title, text=text + left_out, figures=shown, small=True)


def parallel(findings: Findings, axes: Sequence[Axis], complete: list[DrawnTrial]) -> Chapter:
    """Return the chapter with all parameters in one figure; arguments as for `slices`."""
    title, keys = "All parameters together", list(dict.fromkeys(axis.key for axis in axes))
    if len(keys) < 2:
        return Chapter(title, text=[f"Only {keys[0]} was searched: its slice above shows it all."])
    if len(complete) < 2:
        return Chapter(title, text=[_too_few(complete, "lines")])
    best = findings.best
    assert best is not None  # two trials completed
    values = ", ".join(f"{key} {value_text(value)}" for key, value in best.values.items())
    shown = min(len(complete), MOST_LINES)
    caption = (
        f"Each line is one of {shown} completed trials{'' if shown == len(complete) else f' of {len(complete)}'}. "
        "From top to bottom, it crosses each axis at the trial's value, and the last one at its error "
        f"({percent(complete[0].error)} to {percent(complete[-1].error)}). It has a gap where the trial has no value. "
        "An axis is the range that was searched, on its scale. "
        + (f"Dashed: {counted(len(findings.pruned), 'pruned trial')}. " if findings.pruned else "")
        + (f"Coloured are the {len(findings.good)} best. " if findings.good else "")
        + f"The strongest line is the best, trial {best.trial}: {values}."
    )
    plot = search_figures.parallel(axes, complete, findings.good, findings.pruned, findings.sweep.error_name)
    return Chapter(title, figures=[Figure("Parallel coordinates", plot, caption)])


def trials(findings: Findings, pages: Mapping[str, str]) -> Chapter:
    """Return the chapter with all trials of the search, the best first.

    Args:
        findings: the findings.
        pages: addresses of their runs in MLflow, by `TrialId.slug`.
    """
    title = "All trials"
    if not findings.trials:
        return Chapter(title, text=["No trial has started."])
    states = ("complete", "pruned", "running", "waiting", "failed")
    ranked = sorted(
        findings.trials,
        key=lambda t: (states.index(t.state), 1.0 if t.last_error is None else t.last_error, t.trial),
    )
    shown = ranked[:_MOST_TRIALS]
    keys = list(dict.fromkeys(parameter.key for parameter in findings.parameters))
    keys += [key for key in dict.fromkeys(key for trial in shown for key in trial.values) if key not in keys]
    rows = [[*_of_trial(trial), *(_cell(trial, key) for key in keys)] for trial in shown]
    table = Table(
        f"Trials of the search, the best first; validation {findings.sweep.error_name} at the last evaluation",
        ["trial", "state", findings.sweep.error_name, "step", *keys],
        rows,
        trials=[trial.trial for trial in shown],
        links=[pages.get(TrialId("search", trial.trial).slug, "") for trial in shown] if pages else [],
        shown=_SHOWN_TRIALS,
    )
    text = []
    if len(ranked) > len(shown):
        command = f"{program()} trials {findings.sweep.name} --csv"
        text = [f"These are the first {len(shown)} of {len(ranked):,} trials; `{command}` writes them all."]
    return Chapter(title, text=text, tables=[table])


def importance(findings: Findings) -> Chapter:
    """Return the chapter on the importance of each parameter."""
    title, importance = "Importance", findings.importance
    if importance is None:
        keys = {parameter.key for parameter in findings.parameters}
        why = "only one parameter was searched" if len(keys) < 2 else "fewer than six trials completed"
        if len(keys) > 1 and findings.good:  # which takes six
            why = "the trials that completed are too much alike"
        return Chapter(title, text=[f"Cannot be computed: {why}."])
    shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in importance.shares.items())
    hint = " Five good trials or more make it stable: with these few it is a hint." if importance.good < 5 else ""
    caption = (
        f"How much each parameter decides whether a trial is among the best fifth ({importance.good} of "
        f"{importance.complete} that completed), by Optuna's PED-ANOVA (Watanabe et al. 2023); branches of a parameter "
        f"are added up, shares sum to 100 %: {shares}.{hint}"
    )
    return Chapter(
        title, figures=[Figure("Importance of parameters", search_figures.importance(importance.shares), caption)]
    )


def rungs(findings: Findings) -> Chapter:
    """Return the chapter on how well early results predicted late ones."""
    title, rungs = "Rung correlation", findings.rungs
    if not findings.curves.rungs:
        return Chapter(title, text=["Nothing was pruned: there are no rungs."])
    if not rungs:
        return Chapter(
            title,
            text=["Not stated: fewer than six trials reached both a rung and the end, or their errors are all alike."],
        )
    rows = [
        [
            str(rung.rung),
            f"{rung.spearman:z.2f}",
            str(rung.trials),
            "pruning there was guessing" if rung.is_guessing else "it was informed",
        ]
        for rung in rungs
    ]
    text = (
        "How well the ranking of trials at a rung predicted their final ranking (Spearman's rank correlation, 1: "
        "exactly, 0: not at all), over those that went on to the end."
    )
    return Chapter(title, text=[text], tables=[Table("By rung", ["step", "correlation", "trials", "so"], rows)])


def _of_trial(trial: TrialFinding) -> list[str]:
    state = f"{trial.state}: {trial.reason}" if trial.reason else trial.state
    return [str(trial.trial), state, percent(trial.last_error), f"{trial.step:,}"]


def _cell(trial: TrialFinding, key: str) -> str:
    return value_text(trial.values[key]) if key in trial.values else ""


def _hollow(findings: Findings) -> str:
    """Return a sentence, with a blank before it, on what hollow dots are, if there are any."""
    count = len(findings.pruned)
    return f" Hollow dots: {counted(count, 'pruned trial')}, at the last error." if count else ""


def _region(parameter: Parameter, points: int, good: int) -> str:
    """Return the caption of a slice."""
    trials, region = counted(points, "trial"), parameter.good
    if not good:
        return f"{trials}, searched {searched(parameter)}."
    if region is None:
        return f"{trials}, searched {searched(parameter)}; none of the best fifth."
    if isinstance(region, list):
        counts = ", ".join(f"{one.trials} have {value_text(one.choice)}" for one in region)
        return f"{trials}; of the best fifth {counts}."
    lies = f"from {value_text(region.low)} to {value_text(region.high)}"
    if region.low == region.high:
        lies = f"at {value_text(region.low)}"
    which = "the best fifth lies" if parameter.good_trials == good else f"{parameter.good_trials} of {good} lie"
    return f"{trials}, searched {searched(parameter)}; {which} {lies}."


def _change(first: float, last: float) -> str:
    """Return how the best error changed from the first trial that completed to the last improvement."""
    if last == first:
        return f"did not change from the {percent(first)} of the first trial that completed"
    if percent(last) == percent(first):
        return f"fell by less than 0.1 points, to {percent(last)}"
    return f"fell from {percent(first)} to {percent(last)}"


def _points(points: list[DrawnTrial], axis: Axis, error_name: str) -> Table | None:
    rows = [[str(t.trial), value_text(axis.value(t.values)), percent(t.error)] for t in points]
    return small(Table("The best first", ["trial", axis.key, error_name], rows))


def _too_few(complete: list[DrawnTrial], figure: str) -> str:
    return f"{counted(len(complete), 'trial')} completed: too few for {figure}."


def _ends(line: Curve, network: str) -> str:
    errors = [error for error in line.errors(network) if error is not None]
    return f"{percent(errors[0])} to {percent(errors[-1])}"


def _steps(steps: list[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {', '.join(map(str, steps))}"
