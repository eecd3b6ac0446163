"""What a registered model is, in Markdown: its images, settings and test error, and how it was found."""

import json

from mt_sweeps.formatting import error_text, percent, value_text
from mt_sweeps.results.best_file import BestFile, TrainingRequest
from mt_sweeps.results.training_result import TestError, TrainingResult
from mt_sweeps.spec.arms import BASELINES
from mt_sweeps.spec.dotted import dotted
from trainers.config.compatibility import ONLY_LABELS
from trainers.report import error_name


def card_text(request: TrainingRequest, result: TrainingResult, sweep_page: str | None) -> str:
    """Return the description of a model version.

    Args:
        request: what was trained.
        result: of the training.
        sweep_page: of the sweep in MLflow, behind `#/`; None: it is not there.
    """
    best = request.best
    sweep = f"[{best.sweep}](#/{sweep_page})" if sweep_page else f"`{best.sweep}`"
    parts = [
        _test_text(result),
        f"{_origin(best, sweep)} {_selection(best)}",
        _data_text(result),
        _settings_text(best),
        *(f"**Not as exported:** {', '.join(f'`{key}`' for key in request.changed)}." for _ in request.changed[:1]),
        *(f"**Caution:** {caution}." for caution in result.cautions),
    ]
    return "\n\n".join(parts)


def _origin(best: BestFile, sweep: str) -> str:
    label = best.trial_id.label
    if best.arm == "search":
        return f"**How it was found.** {label.capitalize()} of the sweep {sweep} was the best of its search."
    chosen = ", the best trial of its arm" if best.searched else ""
    return (
        f"**A baseline, not the best of the search.** It is there to compare the best with: {BASELINES[best.arm]}. "
        f"It is {label} of the sweep {sweep}{chosen}."
    )


def _test_text(result: TrainingResult) -> str:
    error = result.test.get(result.network)
    if error is None:
        return "**Test error:** none, as the data set has no test images."
    lines = [f"**Test error of the {result.network}: {_with_interval(error)}.** The test images were read once."]
    if error.balanced_error is not None:
        balanced = error.balanced_error, error.balanced_standard_error or 0.0
        lines.append(f"Mean over the classes (balanced error): {error_text(balanced)}, with its standard error.")
    return " ".join(lines)


def _with_interval(error: TestError) -> str:
    low, high = error.interval
    return f"{percent(error.error)}, 95 % interval {100 * low:.1f} to {percent(high)}, on {error.images:,} images"


def _selection(best: BestFile) -> str:
    found, again = best.validation, best.finalists
    chosen = "which chose it" if best.searched else "which did not choose it"
    text = (
        f"Its validation {error_name(found.metric)} was {error_text((found.error, found.standard_error))} on "
        f"{found.images:,} images, {chosen}."
    )
    if again is None:
        return f"{text} It was not trained again on fresh seeds, so how much of this is luck is not known."
    others = "".join(f"; {name} {percent(error)}" for name, error in again.others.items())
    return (
        f"{text} Trained again on {again.seeds} fresh seeds: mean {percent(again.error)}, 95 % interval "
        f"{100 * again.low:.1f} to {percent(again.high)}{others}."
    )


def _data_text(result: TrainingResult) -> str:
    classes = f" of {len(result.classes)} classes" if result.classes else ""
    others = "no others" if result.trainer.method in ONLY_LABELS else f"{result.images['unlabeled']:,} without"
    return (
        f"**Data.** `{result.trainer.dataset.name}`: {result.images['labeled']:,} images with labels{classes}, "
        f"{others}; fingerprint `{result.data_fingerprint[:16]}`."
    )


def _settings_text(best: BestFile) -> str:
    settings = dotted(best.trainer.model_dump(exclude_none=True))
    shown = {key: settings.get(key, value) for key, value in best.searched.items()}
    shown |= {key: settings[key] for key in ("method", "model.name", "steps", "batch_size", "seed") if key in settings}
    rows = [
        f"| `{key}` | `{value_text(value) if not isinstance(value, list) else json.dumps(value)}` |"
        for key, value in shown.items()
    ]
    return "\n".join(
        ["**Settings** (`config.json` of its run has all):", "", "| setting | value |", "|---|---|", *rows]
    )
