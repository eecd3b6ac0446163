import numpy as np
import pytest
import sklearn.datasets

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


def test_a_random_draw_labels_an_image_of_every_class():
    for seed in range(20):
        assert counts(drawn(labels=3, draw="random", split_seed=seed).labeled) == [1, 1, 1]
        assert sum(counts(drawn(labels=4, draw="random", split_seed=seed).labeled)) == 4


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
        (
            {"labels": 330},
            r"dataset\.labels: 330 .* 110 images of class cat, which has 100; .*draw: random.*labels: all$",
        ),
        ({"labels": "all", "validation": 998, "verdict": 0}, r"dataset\.labels.*all \+ 998 \+ 0 is more than"),
    ],
)
def test_a_split_that_the_images_cannot_give_is_refused_with_its_key(settings, message):
    with pytest.raises(DataError, match=message):
        drawn(**settings)


def test_images_without_a_class_do_not_count_as_training_images_of_a_split():
    with pytest.raises(DataError, match=r"more than the 1,000 training"):
        drawn(labels=30, validation=971, verdict=0)


def test_all_labels_leave_one_image_of_every_class_to_train_on():
    assert counts(drawn(labels="all", validation=900, verdict=97).labeled) == [1, 1, 1]


GOLDEN = [  # of the version before groups, which sweeps and published numbers come from
    ("digits", {"labels": 100, "validation": 300, "verdict": 300}, "a349d738dcc236f337196d5ad944946a"),
    ("digits", {"labels": "all", "validation": 300}, "f27c70723010b127bbb1d340854fc6c7"),
    (
        "digits",
        {"labels": 50, "validation": 200, "verdict": 100, "split_seed": 3, "label_seed": 5, "unlabeled": 400},
        "fa334fb41363884adf54669b4ee9a2e6",
    ),
    (
        "random",
        {"labels": 60, "draw": "random", "validation": 200, "verdict": 100, "unlabeled": 40},
        "434d9283b457ca17bb55a6aed5a88b08",
    ),
    (
        "random",
        {"labels": 31, "validation": 200, "verdict": 100, "with_validation": True},
        "a1cd0c50e20d068f3601216b0500cce1",
    ),
]


@pytest.mark.parametrize(("name", "settings", "fingerprint"), GOLDEN)
def test_where_every_image_is_on_its_own_the_split_is_the_one_that_it_always_was(name, settings, fingerprint):
    labels, classes = LABELS, 3
    if name == "digits":
        target = sklearn.datasets.load_digits().target.astype(np.int64)
        labels, classes = target[np.arange(len(target)) % 5 != 4], 10
    names = [f"class {c}" for c in range(classes)]
    folder = ImageFolder(name="image_folder", root="/images", **settings)
    alone = np.random.default_rng(1).permutation(len(labels) + 20)  # groups of one image each, and those of a test set
    for groups in (None, alone):
        assert split(labels, names, folder, groups).fingerprint.startswith(fingerprint)


IMBALANCED = np.repeat(np.arange(10), [40, 20, 12, 8, 6, 5, 4, 3, 1, 1])
ANIMALS = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"]


def imbalanced(**settings) -> Split:
    return split(IMBALANCED, ANIMALS, ImageFolder(name="image_folder", root="/images", **settings))


def test_too_few_images_for_balanced_labels_are_named_with_advice_that_keeps_the_labels():
    with pytest.raises(DataError) as refused:
        imbalanced(labels=60, validation=10)
    assert str(refused.value) == (
        "dataset.labels: 60 class-balanced labels need 6 images of class fox, which has 5, and 4 other classes have "
        "too few; set dataset.draw: random, which keeps the 60 labels and draws classes as frequent as they are, or "
        "dataset.labels: all"
    )


@pytest.mark.parametrize("settings", [{"labels": 60, "draw": "random"}, {"labels": "all"}])
def test_the_advice_for_rare_classes_works_and_validation_and_verdict_have_every_class_with_one_to_spare(settings):
    for seed in range(10):
        purposes = imbalanced(**settings, validation=14, verdict=12, split_seed=seed)
        numbers = {name: np.bincount(IMBALANCED[getattr(purposes, name)], minlength=10) for name in PURPOSES}
        assert (numbers["labeled"] > 0).all()
        left = np.bincount(IMBALANCED) - (1 if settings["labels"] == "all" else numbers["labeled"])
        assert ((numbers["validation"] > 0) == (left > 0)).all()
        assert (numbers["verdict"][left > 1] > 0).all()
        assert (len(purposes.validation), len(purposes.verdict)) == (14, 12)


def test_a_validation_set_smaller_than_the_classes_follows_their_frequencies():
    assert 0 in IMBALANCED[imbalanced(labels="all", validation=3).validation]


@pytest.mark.parametrize("seed", range(40))
def test_no_group_crosses_purposes_and_no_image_has_two(seed):
    rng = np.random.default_rng(seed)
    classes, images, tests = int(rng.integers(2, 6)), int(rng.integers(150, 400)), int(rng.integers(0, 20))
    labels = rng.integers(-1, classes, images)
    groups = rng.integers(0, int(rng.integers(100, 2 * images)), images + tests)
    groups[rng.choice(images, 5)] = -1
    usable = (groups[:images] >= 0) & ~np.isin(groups[:images], groups[images:])
    count, validation, verdict = int(rng.integers(classes, 4 * classes)), int(rng.integers(5, 20)), 12
    settings = {"labels": "all" if seed % 3 == 0 else count, "draw": ["balanced", "random"][seed % 2]}
    settings |= {"label_seed": seed} if settings["labels"] != "all" and seed % 5 else {}
    folder = ImageFolder(name="image_folder", root="/x", validation=validation, verdict=verdict, **settings)
    purposes = split(labels, [f"class {c}" for c in range(classes)], folder, groups)
    everything = np.concatenate([getattr(purposes, name) for name in PURPOSES])
    assert len(np.unique(everything)) == len(everything)
    assert usable[everything].all()
    assert (labels[np.concatenate([purposes.labeled, purposes.validation, purposes.verdict])] >= 0).all()
    trained = np.concatenate([purposes.labeled, purposes.unlabeled])
    parts = [set(groups[part]) for part in (trained, purposes.validation, purposes.verdict)] + [set(groups[images:])]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert validation / 2 <= len(purposes.validation) <= validation
    assert verdict / 2 <= len(purposes.verdict) <= verdict
    if settings["labels"] != "all":
        assert len(purposes.labeled) == count
    left_out = np.flatnonzero(usable & ~np.isin(np.arange(images), everything))
    assert (labels[left_out] == -1).all(), "an image with a class is left out for its test group alone"
    assert set(groups[left_out]) <= parts[1] | parts[2]


def grouped(groups: np.ndarray, **settings) -> Split:
    sizes = {"labels": 30, "validation": 200, "verdict": 100} | settings
    return split(LABELS, ["ape", "bat", "cat"], ImageFolder(name="image_folder", root="/images", **sizes), groups)


def test_large_groups_move_whole_and_labels_are_drawn_from_all_groups_that_are_left():
    groups = np.arange(len(LABELS)) // 21  # 50 groups of 21 images, about 20 of them with a class
    purposes = grouped(groups)
    assert 180 < len(purposes.validation) <= 200
    assert 80 < len(purposes.verdict) <= 100
    assert counts(purposes.labeled) == [10, 10, 10]
    assert len(np.unique(groups[purposes.labeled])) > 15
    assert not set(groups[purposes.validation]) & set(groups[purposes.unlabeled])


def test_a_group_with_test_images_is_not_trained_on():
    groups = np.arange(len(LABELS) + 2)
    groups[-2:] = [5, 6]
    every = np.concatenate([getattr(grouped(groups, labels="all"), name) for name in PURPOSES])
    assert sorted(set(range(len(LABELS))) - set(every.tolist())) == [5, 6]


def test_groups_that_are_larger_than_a_purpose_are_refused_with_the_numbers():
    groups = np.arange(len(LABELS)) // 350
    message = (
        r"dataset\.validation: 200 images are asked for, and whole groups that fit have 0: the 3 groups .* to 3\d\d"
    )
    with pytest.raises(DataError, match=message):
        grouped(groups)


def test_too_few_images_are_explained_by_what_is_left_out():
    groups = np.concatenate([np.where(LABELS == 1, -1, np.arange(len(LABELS)))])
    with pytest.raises(DataError, match=r"class bat has no image to train on.* 300 of 1,000 images with a class serve"):
        grouped(groups)


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
