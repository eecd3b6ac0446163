import pytest

from mt_sweeps import export
from mt_sweeps.errors import InputError
from tests.mt_sweeps.support import digits, new_ledger, report

ENVIRONMENT = {"id": "abc", "data_fingerprint": "def", "versions": {"torch": "2.15.0"}}


@pytest.fixture
def text(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits())
    best = ledger.complete(ledger.ask(), report(300, 0.1))
    return export.text(export.best_file(ledger.spec, best, ENVIRONMENT))


def test_the_file_holds_exactly_the_configuration_of_the_trial(text, tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text(text)
    best = export.read(file)
    assert best.trainer == digits().config(digits().points[0])
    assert best.searched == digits().points[0]
    assert (best.validation.error, best.validation.standard_error, best.validation.images) == (0.1, 0.01, 300)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("steps: 300", "steps: 0"), "trainer.steps: should be greater than or equal to 1"),
        (("decay: 0.95", "decay: 1.95"), "trainer.ema.decay: should be less than 1"),
        (("mt-sweeps-best/1", "mt-sweeps-best/9"), "format: 'mt-sweeps-best/9' is not allowed; use 'mt-sweeps-best/1'"),
        (("batch_size", "bach_size"), "trainer.bach_size: unknown key; did you mean 'batch_size'?"),
        (("labels: 50", "labels: 5"), "fewer than the 10 classes"),
        (("sweep: digits", "sweep: ../../out"), "sweep: '../../out' is no plain name"),
    ],
)
def test_a_file_edited_into_nonsense_is_refused_with_its_key(text, change, told, tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text(text.replace(*change))
    with pytest.raises(InputError) as error:
        export.read(file)
    assert told in str(error.value)
    assert str(file) in str(error.value)


def test_another_yaml_file_is_refused_with_the_way_to_write_one(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("name: digits\n")
    with pytest.raises(InputError, match="mt-sweep export SWEEP"):
        export.read(file)
