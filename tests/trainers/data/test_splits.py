import numpy as np
import pytest

from trainers.config import ImageFolder, TrainerConfig
from trainers.data.splits import Split, split, split_for
from trainers.errors import DataError

# 3 classes of 600, 300 and 100 images in mixed order, and 50 images without a class among them.
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, -1], [600, 300, 100, 50]))
PURPOSES = ("labeled", "unlabeled", "validation", "verdict")


def drawn(**settings) -> Split:
    sizes = {"labels": 30, "validation": 200, "verdict": 100} | settings
    return split(LABELS, ["ape", "bat", "cat"], ImageFolder(name="image_folder", root="/images", **sizes))


def counts(indices: np.ndarray) -> list[int]:
    return np.bincount(LABELS[indices], minlength=3).tolist()


@pytest.mark.parametrize("labels", [30, 31, "all"])
def test_every_image_serves_exactly_one_purpose(labels):
    purposes = drawn(labels=labels)
    everything = np.concatenate([getattr(purposes, name) for name in PURPOSES])
    assert sorted(everything) == list(range(len(LABELS)))
    assert len(purposes.validation) == 200
    assert len(purposes.verdict) == 100


@pytest.mark.parametrize(("labels", "expected"), [(30, [10, 10, 10]), (31, [10, 10, 11]), (3, [1, 1, 1])])
def test_the_labeled_images_are_balanced_over_the_classes(labels, expected):
    assert sorted(counts(drawn(labels=labels).labeled)) == expected


def test_a_share_of_labels_is_that_of_the_images_with_classes():
    np.testing.assert_array_equal(drawn(labels=0.03).labeled, drawn(labels=30).labeled)


def test_a_random_draw_follows_the_classes_as_chance_has_it():
    found = np.array([counts(drawn(labels=300, draw="random", split_seed=seed).labeled) for seed in range(60)])
    assert (found.sum(1) == 300).all()
    assert np.abs(found.mean(0) - [180, 90, 30]).max() < 3  # the standard deviations of these means are below 1
    assert 5 < found[:, 0].std() < 10  # hypergeometric: 7.1


def test_a_random_draw_that_leaves_a_class_without_a_label_is_refused():
    with pytest.raises(DataError, match=r"dataset\.draw: random gave class \d none of the 3 labels; .*draw: balanced"):
        for seed in range(20):
            drawn(labels=3, draw="random", split_seed=seed)


def test_a_part_of_the_unlabeled_images_is_drawn_and_the_others_serve_no_purpose():
    some, every = drawn(unlabeled=40), drawn()
    assert len(some.unlabeled) == 40
    assert set(some.unlabeled) < set(every.unlabeled)
    for name in ("labeled", "validation", "verdict"):
        np.testing.assert_array_equal(getattr(some, name), getattr(every, name))
    with pytest.raises(DataError, match=r"dataset\.unlabeled: 721 is more than the 720 that are left over"):
        drawn(unlabeled=721)


def test_validation_and_verdict_follow_the_class_frequencies():
    purposes = drawn()
    frequencies = np.array([590, 290, 90]) / 970  # of what the labeled images leave
    assert np.abs(counts(purposes.validation) - 200 * frequencies).max() <= 1
    assert np.abs(counts(purposes.verdict) - 100 * frequencies).max() <= 2


def test_the_labeled_images_stay_when_the_other_sizes_change():
    expected = drawn().labeled
    for sizes in ({"validation": 1}, {"validation": 500}, {"verdict": 0}, {"validation": 300, "verdict": 400}):
        np.testing.assert_array_equal(drawn(**sizes).labeled, expected)


def test_the_validation_images_stay_when_the_verdict_changes():
    np.testing.assert_array_equal(drawn(verdict=0).validation, drawn(verdict=300).validation)


def test_one_seed_gives_one_split_and_another_seed_another():
    for name in PURPOSES:
        np.testing.assert_array_equal(getattr(drawn(split_seed=1), name), getattr(drawn(split_seed=1), name))
        assert not np.array_equal(getattr(drawn(split_seed=1), name), getattr(drawn(split_seed=2), name))


def test_a_label_seed_draws_other_labels_and_leaves_validation_and_verdict_alone():
    first = drawn()
    drawn_anew = [drawn(label_seed=seed) for seed in (0, 1)]
    for purposes in drawn_anew:
        np.testing.assert_array_equal(purposes.validation, first.validation)
        np.testing.assert_array_equal(purposes.verdict, first.verdict)
        np.testing.assert_array_equal(counts(purposes.labeled), counts(first.labeled))
        everything = np.concatenate([getattr(purposes, name) for name in PURPOSES])
        np.testing.assert_array_equal(np.sort(everything), np.arange(len(LABELS)), "each image once")
    assert not np.array_equal(drawn_anew[0].labeled, first.labeled)
    assert not np.array_equal(drawn_anew[0].labeled, drawn_anew[1].labeled)
    np.testing.assert_array_equal(drawn_anew[0].labeled, drawn(label_seed=0).labeled)


@pytest.mark.parametrize("settings", [{}, {"labels": "all"}, {"label_seed": 1}, {"unlabeled": 40}])
def test_with_validation_the_images_that_chose_are_trained_on_with_their_labels(settings):
    without, joined = drawn(**settings), drawn(**settings, with_validation=True)
    labeled = np.concatenate([without.labeled, without.validation, without.verdict])
    np.testing.assert_array_equal(joined.labeled, np.sort(labeled))
    np.testing.assert_array_equal(joined.unlabeled, without.unlabeled)
    assert len(joined.validation) == len(joined.verdict) == 0


def test_a_split_is_known_by_its_fingerprint():
    assert drawn().fingerprint == drawn().fingerprint
    others = [drawn(split_seed=1), drawn(label_seed=1), drawn(validation=199), drawn(with_validation=True)]
    assert len({drawn().fingerprint, *(other.fingerprint for other in others)}) == 5


def test_the_split_does_not_depend_on_numpys_global_state():
    np.random.seed(0)
    first = drawn()
    np.random.seed(1)
    np.testing.assert_array_equal(first.labeled, drawn().labeled)


def test_all_labels_whatever_no_other_purpose_takes():
    purposes = drawn(labels="all")
    assert sum(counts(purposes.labeled)) == 1000 - 200 - 100
    np.testing.assert_array_equal(purposes.unlabeled, np.flatnonzero(LABELS == -1))


@pytest.mark.parametrize("labels", [30, "all"])
def test_images_without_a_class_are_always_unlabeled(labels):
    purposes = drawn(labels=labels, validation=400, verdict=300)
    assert set(np.flatnonzero(LABELS == -1)) <= set(purposes.unlabeled)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 2}, r"dataset\.labels: 2 is fewer than the 3 classes.*at least 3"),
        ({"validation": 900}, r"dataset\.labels \+ validation \+ verdict = 30 \+ 900 \+ 100.*1,000"),
        ({"labels": 330}, r"dataset\.labels: 330.*110 images of class 2, which has 100; use at most 300"),
        ({"labels": "all", "validation": 997, "verdict": 0}, r"dataset\.labels: .*lower validation"),
    ],
)
def test_a_split_that_the_images_cannot_give_is_refused_with_its_key(settings, message):
    with pytest.raises(DataError, match=message):
        drawn(**settings)


def test_images_without_a_class_do_not_count_as_training_images_of_a_split():
    with pytest.raises(DataError, match=r"more than the 1,000 training"):
        drawn(labels=30, validation=971, verdict=0)


@pytest.mark.parametrize(
    ("settings", "image_size", "message"),
    [
        ({"batch_size": 2000}, 8, "a batch takes 1500 unlabeled images"),
        ({"model": {"name": "conv_large"}}, 8, "conv_large needs images of at least 12x12"),
        ({"augmentation": {"translate": 9}}, 9, r"augmentation\.translate \(9\) must be below the image size"),
        ({"method": "temporal_ensembling"}, 8, r"temporal_ensembling and steps: 5 clash: .* 960 unlabeled .* 12 steps"),
    ],
)
def test_a_run_that_cannot_be_fed_is_refused(settings, image_size, message):
    folder = {"name": "image_folder", "root": "x", "labels": 30, "validation": 60}
    config = TrainerConfig.model_validate({"steps": 5, "dataset": folder} | settings)
    with pytest.raises(DataError, match=message):
        split_for(config, LABELS, ["a", "b", "c"], image_size)
