"""The loss of every step, as it was when `test_parity.py` held: a change of the algorithm shows here first.

After a change that is meant, print the new values with

    python -m tests.trainers.test_pinned_losses
"""

import pytest
import torch

from tests.helpers.training import METHODS, REVISITED, config, finished

PINNED = {
    "supervised": [
        2.3397677029635693,
        2.3338505511448346,
        2.353932495363864,
        2.314107296941219,
        2.34310323597054,
        2.3056875459781416,
        2.262699243146706,
        2.237597353538718,
        2.266491003856809,
        2.1923495887943103,
        2.2379192276551736,
        2.2340700553855637,
        2.246668901038915,
        2.278705152379282,
        2.2600505258927726,
        2.277391109069591,
        2.243605480069882,
        2.289031628880141,
        2.235566837166665,
        2.3145959780463174,
    ],
    "pi_model": [
        2.199582438076955,
        2.4920585526883334,
        2.494576285700544,
        2.448083540314021,
        2.4173330168704847,
        2.3731504208579346,
        2.299895614226625,
        2.4417125199871124,
        2.367778390785199,
        2.3145169143875197,
        2.1798010604154854,
        2.3466684263756172,
        2.3229840570374063,
        2.2976270028443664,
        2.2931222893762584,
        2.2793408925590173,
        2.2288791688560727,
        2.3704398297668834,
        2.2092557271494213,
        2.2670559756979594,
    ],
    "temporal_ensembling": [
        2.199467698546853,
        2.537503532356092,
        2.3162773327942623,
        2.5055838257657137,
        2.3009441002121505,
        2.375037527245015,
        2.312821415413125,
        2.3465211809962407,
        2.3186389705521893,
        2.4588762772462576,
        2.2653072524200883,
        2.2631265021475655,
        2.327423581811891,
        2.2761858263194448,
        2.2603232069101122,
        2.3927529967408727,
        2.2789941931023106,
        2.4414469224795585,
        2.2829127931213833,
        2.2948464562649047,
    ],
    "mean_teacher": [
        2.199582438076955,
        2.4920992973479494,
        2.4947112545951886,
        2.4483942966821095,
        2.4199835814958157,
        2.37530125479279,
        2.302315443800448,
        2.4455821215669897,
        2.374623005315775,
        2.320566684062829,
        2.1877799557806408,
        2.338826392055491,
        2.325135398811191,
        2.305848934788947,
        2.2938313746731733,
        2.2847868258078403,
        2.2219773442127124,
        2.38288284354785,
        2.213187653852834,
        2.2674911709475594,
    ],
}


def losses(method: str) -> list[float]:
    settings = config(
        method=method,
        dataset=REVISITED,
        model={"name": "small_cnn", "width": 4, "dropout": 0.2},
        augmentation={"translate": 1, "flip": True, "noise": 0.1},
        consistency={"weight": 30.0},
        **({"ema": {"decay": 0.9}} if method == "mean_teacher" else {}),
        steps=20,
        evaluate_every=1,
    )
    torch.set_default_dtype(torch.float64)
    try:
        return [report.metrics["train.loss"] for report in finished(settings).history]
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", METHODS)
def test_the_losses_of_twenty_steps_in_float64_are_the_pinned_ones(method):
    # Rounding differs between processors and numbers of threads; over these steps, to less than 1e-14.
    assert losses(method) == pytest.approx(PINNED[method], rel=1e-9)


if __name__ == "__main__":
    for name in METHODS:
        print(f'"{name}": {losses(name)},')
