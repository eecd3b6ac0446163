"""How a sweep stands or ended, in words."""

import textwrap
from pathlib import Path

from mt_sweeps.formatting import counted, duration, error_text, values_text
from mt_sweeps.results import finalists
from mt_sweeps.results.cautions import cautions
from mt_sweeps.storage.home import SweepStore, command_line
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import best_of

_WIDTH = 110  # of a line: MLflow's page cuts longer ones off
_BASELINES = {
    "supervised": "the same network and steps without the unlabeled images",
    "published": "the authors' values, as many steps, nothing searched",
}


def summary_text(sweep: SweepStore, ledger: Ledger, images: dict[str, int]) -> str:
    """How a sweep stands or ended: counts, the best, the baseline beside it, and what to type next.

    Args:
        sweep: of which it is.
        ledger: of it.
        images: how many serve which purpose.
    """
    spec, home, trials = ledger.spec, sweep.home, ledger.all_trials()
    searched = [trial for trial in trials if trial.arm == "search"]
    counts = ", ".join(
        f"{sum(trial.state == state for trial in searched)} {state}"
        for state in ("complete", "pruned", "failed", "running", "waiting")
        if any(trial.state == state for trial in searched)
    )
    done = f"{counted(len(searched), 'trial')} in {duration(ledger.active_seconds)}"
    lines = [f"{spec.name}: {done}: {counts or 'none asked for'}"]
    metric = spec.metric
    network = "student" if "student" in metric else "teacher"
    best = ledger.best()
    if best is not None:
        lines += [
            "",
            f"best       trial {best.number}: validation error of the {network} {error_text(best.error(metric))}"
            f" (standard error, {images['validation']} images)",
            f"           {values_text(best.values)}",
        ]
    baselines = {arm: best_of([trial for trial in trials if trial.arm == arm], metric) for arm in _BASELINES}
    told = [(arm, trial) for arm, trial in baselines.items() if trial is not None]
    lines += [f"{arm:10} {error_text(trial.error(metric))}: {_BASELINES[arm]}" for arm, trial in told]
    if told and "finalists" not in spec.arms():
        lines.append("           (no claim: one run each, on the images that chose the best)")
    lines += finalists.text(ledger, images)
    lines += [f"pruning    {correlation}" for correlation in ledger.correlations()]
    lines += [_wrapped("caution", caution) for caution in cautions(ledger, images)]
    reasons = sorted({trial.reason for trial in trials if trial.state == "failed"})
    for reason in reasons:
        failed = [trial for trial in trials if trial.reason == reason]
        lines.append(f"failed     {len(failed)} with {reason}: {failed[0].message.splitlines()[0]}")
    if best is not None:
        lines += [
            "",
            *([f"report     {_from_here(sweep.report)}"] if sweep.report.exists() else []),
            f"dashboard  {command_line('dashboard', spec.name, home)}",
            f"next       {command_line('export', f'{spec.name} -o best.yaml', home)}",
            f"           {command_line('train', 'best.yaml', home)}",
        ]
    return "\n".join(lines)


def _wrapped(what: str, told: str) -> str:
    return textwrap.fill(told, _WIDTH, initial_indent=f"{what:10} ", subsequent_indent=" " * 11)


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
