"""What a sweep is before its first trial."""

import pytest

from mt_sweeps.commands.run import run_sweep
from mt_sweeps.errors import InputError
from mt_sweeps.results import status
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import begun, digits, of_folder
from tests.helpers.training import write_two_classes


@pytest.mark.system
def test_a_second_sweep_of_a_file_has_a_name_of_its_own_and_one_that_is_asked_for_must_be_free(tmp_path):
    home = LocalHome(tmp_path)
    assert [begun(home, digits()).load_spec().name for _ in range(2)] == ["digits", "digits-2"]
    assert [row.name for row in map(status.sweep_status, home.sweeps())] == ["digits", "digits-2"]
    with pytest.raises(InputError, match="mt-sweep resume digits"):
        run_sweep(DIGITS, home, "digits", (), None)


def test_a_dead_drivers_trials_wait_for_the_next_driver(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trials=3"))
    Ledger(directory.ledger, directory.load_spec()).ask_search()
    row = status.sweep_status(directory)
    assert row.state == "interrupted"
    assert (row.arms["search"].running, row.arms["search"].waiting) == (0, 3)


def test_the_published_baseline_of_your_own_images_follows_from_their_classes(tmp_path):
    directory = begun(LocalHome(tmp_path / "home"), of_folder(write_two_classes(tmp_path / "images")))
    spec = directory.load_spec()
    ledger = Ledger(directory.ledger, spec)
    trial = next(trial for trial in iter(ledger.ask_search, None) if trial.arm == "published")
    config = spec.config(trial.values, "published")
    assert config.consistency.weight == pytest.approx(2 * 2**0.5)
    assert (config.dataset, config.steps) == (spec.sample_config().dataset, spec.steps)


def test_the_environment_holds_versions_seeds_and_the_fingerprint_of_the_data(tmp_path):
    directory = begun(LocalHome(tmp_path), digits("trainer.seed=3", "sampler.seed=4"))
    environment = directory.load_environment()
    assert environment.seeds == {"sampler": 4, "trainer": 3, "split": 0}
    assert {"python", "torch", "ray", "optuna", "mlflow"} <= environment.versions.keys()
    assert len(environment.data_fingerprint) == 64
