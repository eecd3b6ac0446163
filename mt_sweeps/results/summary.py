"""The summary of a sweep: its trials, the best, the baselines and the verdict in words, and what to type next."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from mt_sweeps.formatting import counted, duration, error_text, values_text
from mt_sweeps.results import class_errors, finalists
from mt_sweeps.results.cautions import cautions, nothing_learned
from mt_sweeps.results.outlook import outlook
from mt_sweeps.results.probe import unbeaten_in_validation
from mt_sweeps.results.search_gain import search_gain
from mt_sweeps.spec.arms import BASELINES
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.home import SweepStore, command_line
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial, best_of, shown_state

_WIDTH = 110  # characters per line: MLflow's page cuts off longer ones


def summary_text(sweep: SweepStore, ledger: Ledger, environment: Environment) -> str:
    """Return the summary of a sweep that has ended or was interrupted: none of its trials runs.

    Args:
        sweep: the sweep.
        ledger: of the sweep; only read.
        environment: recorded when the sweep started.
    """
    images, groups = environment.images, environment.groups
    trials, verdict = ledger.all_trials(), finalists.compare_finalists(ledger, images, groups)
    guessing = class_errors.guessing_error(sweep, ledger)
    learned_nothing = nothing_learned(ledger, images, guessing)
    probe = unbeaten_in_validation(ledger, verdict.comparisons if verdict else [])
    doubts = cautions(ledger, images, guessing, environment.cautions, probe)
    lines = [
        _trials_line(ledger),
        *(["", _wrapped("verdict", learned_nothing)] if learned_nothing else []),
        *(["", _wrapped("verdict", verdict.probe)] if verdict is not None and verdict.probe else []),
        *(["", _wrapped("caution", probe)] if probe else []),
        *_best_lines(ledger, images),
        *_search_lines(ledger, images),
        *_class_lines(sweep, ledger),
        *_baseline_lines(ledger, trials),
        *finalists.text(ledger, images, groups).splitlines(),
        *(_wrapped("pruning", str(correlation)) for correlation in ledger.correlations()),
        *(_wrapped("caution", one) for one in doubts if one not in (learned_nothing, probe)),
        *_failure_lines(trials),
        *_by_hand_lines(trials),
    ]
    if ledger.best() is not None:
        lines += ["", *_next_lines(sweep, is_to_train=learned_nothing is None)]
    return "\n".join(lines)


def _trials_line(ledger: Ledger) -> str:
    states = [shown_state(trial, driven=False) for trial in ledger.trials("search")]
    counts = ", ".join(
        f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed", "waiting") if state in states
    )
    of_all = f"{len(states)} of {counted(ledger.total('search'), 'trial')}" if ledger.ended else ""
    done = f"{of_all or counted(len(states), 'trial')} in {duration(ledger.active_seconds)}"
    ended = f" ({ledger.ended})" if ledger.ended else ""
    return f"{ledger.spec.name}: {done}: {counts or 'none started'}{ended}"


def _best_lines(ledger: Ledger, images: dict[str, int]) -> list[str]:
    best, spec = ledger.best(), ledger.spec
    if best is None:
        return []
    error = f"validation {spec.error_name} of the {spec.network} {error_text(best.error(spec.metric))}"
    return [
        "",
        f"best       trial {best.number}: {error} (standard error, {images['validation']} images)",
        f"           {values_text(best.values)}",
    ]


def _search_lines(ledger: Ledger, images: dict[str, int]) -> list[str]:
    text = " ".join(f"{sentence}." for sentence in search_sentences(ledger, images))
    return [_wrapped("search", text)] if text else []


def search_sentences(ledger: Ledger, images: dict[str, int]) -> list[str]:
    """Return what the search gained, and whether more trials would help, in sentences without their full stops.

    Args:
        ledger: of the sweep; only read.
        images: number of images by purpose.
    """
    gain = search_gain(ledger, images["validation"])
    if gain is None:
        return []
    is_cautioned = gain.within_noise > max(1, ledger.spec.finalists.top)  # then a caution counts them
    sentences = gain.where_from(), "" if is_cautioned else gain.as_good(), outlook(ledger)
    return [sentence for sentence in sentences if sentence]


def _class_lines(sweep: SweepStore, ledger: Ledger) -> list[str]:
    """Return how the errors of the best are distributed over the classes; nothing if an earlier version ran it."""
    confusion = class_errors.of_best(sweep, ledger)
    if confusion is None:
        return []
    worst = class_errors.worst_text(confusion, sweep.load_environment().classes)
    return [_wrapped("classes", f"{class_errors.balance_text(confusion)}; the worst: {worst}")]


def _baseline_lines(ledger: Ledger, trials: Sequence[Trial]) -> list[str]:
    metric = ledger.spec.metric
    lines = []
    for arm, description in BASELINES.items():
        trial = best_of([trial for trial in trials if trial.arm == arm], metric)
        if trial is not None:
            lines.append(_wrapped(arm, f"{error_text(trial.error(metric))}: {description}{_how_searched(ledger, arm)}"))
    if lines and "finalists" not in ledger.spec.arms():
        lines.append("           (no claim: one run each, on the images that chose the best)")
    return lines


def _how_searched(ledger: Ledger, arm: str) -> str:
    """Return how far the supervised baseline was searched: a baseline that was not is easier to beat."""
    if arm != "supervised" or not ledger.spec.space("search").entries:
        return ""
    if not ledger.spec.space("supervised").entries:
        return "; not searched, since the file searches no key that concerns it: it could be better"
    return f"; the best of {counted(len(ledger.trials('supervised')), 'trial')}"


def _failure_lines(trials: Sequence[Trial]) -> list[str]:
    lines = []
    for reason in sorted({trial.reason for trial in trials if trial.state == "failed"}):
        failed = [trial for trial in trials if trial.reason == reason]
        lines.append(_wrapped("failed", f"{len(failed)} with {reason}: {failed[0].message.splitlines()[0]}"))
    return lines


def _by_hand_lines(trials: Sequence[Trial]) -> list[str]:
    labels = [trial.id.label for trial in trials if trial.is_ended_by_hand]
    return (
        [_wrapped("by hand", f"{counted(len(labels), 'trial')} ended by hand: {', '.join(labels)}")] if labels else []
    )


def _next_lines(sweep: SweepStore, is_to_train: bool) -> list[str]:
    train = [
        f"next       {sweep.command('export', sweep.name, '-o', 'best.yaml')}",
        f"           {sweep.command('train', 'best.yaml')}",
    ]
    return [
        *([f"report     {_relative(sweep.report)}"] if sweep.report.exists() else []),
        f"dashboard  {command_line(sweep.home, 'dashboard', sweep.name)}",
        *(train if is_to_train else []),
    ]


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=f"{label:10} ", subsequent_indent=" " * 11)


def _relative(path: Path) -> Path:
    """Return a path relative to the working directory, if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
