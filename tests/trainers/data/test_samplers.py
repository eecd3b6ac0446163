import io
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

from trainers.data.samplers import TwoStreamBatches

LABELED, UNLABELED = np.arange(100, 107), np.arange(200, 230)


def batches(batch_size: int = 8, labeled_per_batch: int = 3, seeds: tuple[int, int] = (1, 2), **pools):
    pools = {"labeled": LABELED, "unlabeled": UNLABELED} | pools
    return TwoStreamBatches(pools["labeled"], pools["unlabeled"], batch_size, labeled_per_batch, seeds)


def draw(stream: TwoStreamBatches, n: int) -> list[list[int]]:
    return [stream.next().tolist() for _ in range(n)]


@pytest.mark.parametrize("labeled_per_batch", [1, 3, 7, 8])
def test_a_batch_is_so_many_labeled_images_and_then_unlabeled_ones(labeled_per_batch):
    for batch in draw(batches(8, labeled_per_batch), 50):
        assert len(batch) == 8
        assert set(batch[:labeled_per_batch]) <= set(LABELED)
        assert set(batch[labeled_per_batch:]) <= set(UNLABELED)


def test_an_epoch_takes_every_unlabeled_image_once():
    drawn = [batch[3:] for batch in draw(batches(), 60)]
    epochs = [list(chain(*drawn[start : start + 6])) for start in range(0, 60, 6)]
    assert all(sorted(epoch) == list(UNLABELED) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10  # each in an order of its own


def test_the_incomplete_batch_of_an_epoch_is_dropped():
    drawn = [batch[3:] for batch in draw(batches(10, 3), 400)]  # 30 images, 7 a batch: 4 batches, 2 images dropped
    dropped = Counter()
    for start in range(0, 400, 4):
        epoch = list(chain(*drawn[start : start + 4]))
        assert len(set(epoch)) == 28
        dropped.update(set(UNLABELED.tolist()) - set(epoch))
    assert set(dropped) == set(UNLABELED.tolist())  # no image is always among the dropped


@pytest.mark.parametrize("labeled_per_batch", [1, 3, 7, 8])
@pytest.mark.parametrize("labeled", [2, 3, 7])
def test_labeled_images_come_round_evenly_also_when_a_batch_holds_more_than_there_are(labeled, labeled_per_batch):
    taken = Counter(dict.fromkeys(LABELED[:labeled].tolist(), 0))
    for batch in draw(batches(8, labeled_per_batch, labeled=LABELED[:labeled]), 50):
        for image in batch[:labeled_per_batch]:
            taken[image] += 1
            assert max(taken.values()) - min(taken.values()) <= 1


def test_the_labeled_images_are_reshuffled_every_time_round():
    drawn = list(chain(*(batch[:7] for batch in draw(batches(8, 7), 20))))
    assert len({tuple(drawn[start : start + 7]) for start in range(0, 140, 7)}) == 20


def test_the_streams_follow_a_seed_each():
    first = draw(batches(seeds=(1, 2)), 5)
    assert draw(batches(seeds=(1, 2)), 5) == first
    other = draw(batches(seeds=(1, 3)), 5)
    assert [batch[:3] for batch in other] == [batch[:3] for batch in first]
    assert [batch[3:] for batch in other] != [batch[3:] for batch in first]
    assert [batch[:3] for batch in draw(batches(seeds=(4, 2)), 5)] != [batch[:3] for batch in first]


def test_a_state_is_not_changed_by_what_is_drawn_after_it():
    stream = batches()
    draw(stream, 2)
    state = stream.state_dict()
    expected = draw(stream, 20)
    stream.load_state_dict(state)
    assert draw(stream, 20) == expected


def test_labeled_batches_need_no_unlabeled_images():
    assert set(draw(batches(8, 8, unlabeled=UNLABELED[:0]), 1)[0]) == set(LABELED)


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "labeled_per_batch", "expected"),
    [
        (7, 30, 3, 6),  # 30 images of 5 a batch
        (7, 30, 1, 7),  # 4 unlabeled batches of 7, but 7 labeled ones of 1
        (7, 30, 7, 30),
        (7, 29, 3, 5),  # the incomplete batch of 4 is not waited for
        (7, 30, 8, 1),
        (2, 5, 3, 1),
    ],
)
def test_an_epoch_is_over_when_every_image_was_drawn(labeled, unlabeled, labeled_per_batch, expected):
    stream = batches(8, labeled_per_batch, labeled=LABELED[:labeled], unlabeled=UNLABELED[:unlabeled])
    assert stream.epoch == expected
    drawn = set(chain(*draw(stream, expected)))
    assert set(LABELED[:labeled].tolist()) <= drawn
    if labeled_per_batch < 8:
        taken = unlabeled - unlabeled % (8 - labeled_per_batch)
        assert len(drawn - set(LABELED.tolist())) >= taken


# --- all classes equally often

CLASSES = np.array([0, 2, 0, 0, 1, 0, 0])  # of LABELED: five, one and one


def balanced(batch_size: int = 8, labeled_per_batch: int = 3, seeds: tuple[int, int] = (1, 2)) -> TwoStreamBatches:
    return TwoStreamBatches(LABELED, UNLABELED, batch_size, labeled_per_batch, seeds, CLASSES)


def class_counts(batch: list[int], labeled_per_batch: int) -> list[int]:
    taken = Counter(CLASSES[image - 100] for image in batch[:labeled_per_batch])
    return [taken[one] for one in range(3)]


@pytest.mark.parametrize("labeled_per_batch", [1, 2, 3, 7, 8])
def test_classes_are_as_equal_as_the_numbers_allow_in_each_batch_and_over_all(labeled_per_batch):
    total = np.zeros(3, int)
    for batch in draw(balanced(8, labeled_per_batch), 50):
        counts = class_counts(batch, labeled_per_batch)
        assert max(counts) - min(counts) <= 1
        total += counts
        assert max(total) - min(total) <= 1


def test_which_classes_share_a_batch_changes():
    together = {tuple(class_counts(batch, 2)) for batch in draw(balanced(8, 2), 30)}
    assert together == {(1, 1, 0), (1, 0, 1), (0, 1, 1)}


def test_the_images_of_a_class_come_round_evenly_in_new_orders():
    drawn = [image for batch in draw(balanced(8, 3), 100) for image in batch[:3] if CLASSES[image - 100] == 0]
    rounds = [tuple(drawn[start : start + 5]) for start in range(0, 100, 5)]
    assert all(sorted(one) == [100, 102, 103, 105, 106] for one in rounds)
    assert len(set(rounds)) > 10


def test_unlabeled_images_are_drawn_as_without_classes():
    assert [batch[3:] for batch in draw(balanced(), 20)] == [batch[3:] for batch in draw(batches(), 20)]


@pytest.mark.parametrize("taken", [0, 1, 2, 4, 6, 7, 11])
@pytest.mark.parametrize("labeled_per_batch", [2, 3, 8])
@pytest.mark.parametrize("made", [batches, balanced])
def test_batches_go_on_from_a_saved_state_as_if_they_had_never_stopped(made, taken, labeled_per_batch):
    stream = made(8, labeled_per_batch)
    draw(stream, taken)
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)
    expected = draw(stream, 20)
    for _ in range(2):  # what is drawn does not change the state that was loaded
        resumed = made(8, labeled_per_batch, seeds=(77, 78))
        draw(resumed, 3)
        resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        assert draw(resumed, 20) == expected


@pytest.mark.parametrize(("labeled_per_batch", "expected"), [(1, 15), (3, 6), (8, 2)])
def test_an_epoch_of_balanced_batches_draws_every_image_of_the_largest_class(labeled_per_batch, expected):
    stream = balanced(8, labeled_per_batch)
    assert stream.epoch == expected  # 3 classes of up to 5 images; or 30 unlabeled images of 5 a batch
    assert set(LABELED.tolist()) <= set(chain(*draw(stream, expected)))
