"""The description of a sweep's run in MLflow: the verdict first, links to what shows more, then the whole summary."""

import hashlib
from collections.abc import Sequence

from mt_sweeps.formatting import metric_text, percent, value_text
from mt_sweeps.results.finalists import compare_finalists
from mt_sweeps.storage.environment import Environment
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.tracking.client import MOST_TAG_CHARACTERS, Client
from mt_sweeps.tracking.numbers import rounded
from mt_sweeps.tracking.shared_view import run_page, view_page
from trainers.report import Report

_NOTE = "mlflow.note.content"
_DIGEST = "mt.note"  # of the note that mt-sweeps wrote: another one is a person's
_FILES = {"report.html": "report", "best.yaml": "best values"}


def links(client: Client, sweep: str, parent: str, files: Sequence[str]) -> str:
    """Return links in Markdown to the sweep's trials, charts and files, for any server that shows the store.

    Args:
        client: connected to MLflow.
        sweep: the id of the sweep.
        parent: the id of its run.
        files: names of the files that are stored with the run.
    """
    pages = {
        "all trials, best first": view_page(client.experiment, sweep),
        "charts": view_page(client.experiment, sweep, charts=True),
    }
    pages |= {_FILES[file]: run_page(client.experiment, parent, file) for file in files}
    return " · ".join(f"[{text}](#/{page})" for text, page in pages.items())


def text(ledger: Ledger, environment: Environment, headline: str, summary: str, linked: str) -> str:
    """Return the description, in Markdown.

    Args:
        ledger: of the sweep; only read.
        environment: recorded when the sweep started.
        headline: the verdict in a sentence.
        summary: of the sweep, as text of fixed width.
        linked: what `links` returns.
    """
    parts = [f"**{headline}.**", linked, _best(ledger, environment), _means(ledger, environment)]
    head = "\n\n".join(part for part in parts if part)
    left = MOST_TAG_CHARACTERS - len(head) - len("\n\n```\n\n```")
    return f"{head}\n\n```\n{summary[:left]}\n```"


def verdict_metrics(ledger: Ledger, environment: Environment) -> list[Report]:
    """Return what the finalists show, as metrics of the sweep's run; they change only if a finalist ends.

    Args:
        ledger: of the sweep; only read.
        environment: recorded when the sweep started.
    """
    verdict = compare_finalists(ledger, environment.images, environment.groups)
    if verdict is None:
        return []
    ended = [trial for trial in ledger.all_trials() if trial.state == "complete" and trial.last is not None]
    newest = max(trial.last.time for trial in ended if trial.last)
    baselines = [name for name in verdict.means if name in ledger.spec.arms()]
    best = [mean.mean for name, mean in verdict.means.items() if name not in baselines]
    metrics = {f"verdict.{name}_error": verdict.means[name].mean for name in baselines}
    if best:
        metrics["verdict.best_error"] = best[0]
    if verdict.gain is not None:
        gain = verdict.gain.absolute
        metrics |= {"verdict.gain": gain.mean, "verdict.gain_low": gain.low, "verdict.gain_high": gain.high}
    return [rounded(Report(len(ended), newest, metrics))]


def is_ours(tags: dict[str, str], name: str) -> bool:
    """Return True if no person wrote or changed the description of a run.

    Args:
        tags: of the run.
        name: of the sweep.
    """
    note = tags.get(_NOTE, "")
    if _DIGEST in tags:
        return tags[_DIGEST] == _digest(note)
    return not note or (note.startswith(f"```\n{name}: ") and note.endswith("\n```"))  # of an earlier version


def tags_of(note: str) -> dict[str, str]:
    """Return the tags that make a text the description of a run."""
    return {_NOTE: note, _DIGEST: _digest(note)}


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()[:16]


def _best(ledger: Ledger, environment: Environment) -> str:
    best = ledger.best()
    if best is None:
        return ""
    error = metric_text(ledger.spec.error_name, best.error(ledger.spec.metric))
    values = ", ".join(f"`{key}` {value_text(value)}" for key, value in best.values.items())
    images = environment.images["validation"]
    return f"Best of the search: {best.id.label}, validation {error} on {images} images" + (
        f", with {values}." if values else "."
    )


def _means(ledger: Ledger, environment: Environment) -> str:
    verdict = compare_finalists(ledger, environment.images, environment.groups)
    if verdict is None:
        return ""
    rows = [
        f"| {name} | {percent(mean.mean)} | {100 * mean.low:.1f} to {percent(mean.high)} | {mean.seeds} |"
        for name, mean in verdict.means.items()
    ]
    return "\n".join([f"| trained again | mean {ledger.spec.error_name} | 95 % | seeds |", "|---|---|---|---|", *rows])
