"""`deterministic: true`, without a GPU: torch is told so while a run computes, and only then."""

import os

import pytest
import torch

from tests.helpers.training import EVERY_NOISE, config, finished, results
from trainers import Trainer, trainer
from trainers.determinism import deterministic, exact_in_any_order, reserve_workspaces
from trainers.errors import NotDeterministic
from trainers.methods import MeanTeacher

CUBLAS = (  # as torch says it
    "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
    "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic because it uses CuBLAS "
    "and you have CUDA >= 10.2. To enable deterministic behavior in this case, you must set an environment variable "
    "before running your PyTorch application: CUBLAS_WORKSPACE_CONFIG=:4096:8 or CUBLAS_WORKSPACE_CONFIG=:16:8."
)


def settings_of_torch() -> tuple[bool, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture
def _restored():
    enabled, only_warns, fills, benchmarks = settings_of_torch()
    yield
    torch.use_deterministic_algorithms(enabled, warn_only=only_warns)
    torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = fills, benchmarks


@pytest.mark.parametrize("method", ["mean_teacher", "temporal_ensembling"])
def test_on_a_cpu_it_changes_no_result(method):
    settings = EVERY_NOISE | {"method": method, "steps": 12, "evaluate_every": 6}
    assert results(finished(config(**settings, deterministic=True))) == results(finished(config(**settings)))


@pytest.mark.parametrize("wanted", [True, False])
def test_torch_is_deterministic_while_a_run_computes_and_not_between_its_reports(monkeypatch, wanted):
    seen = []
    for owner, name in ((MeanTeacher, "after_step"), (trainer, "evaluate"), (Trainer, "_build_network")):
        call = getattr(owner, name)

        def noting(*args, name=name, call=call):
            seen.append((name, torch.are_deterministic_algorithms_enabled()))
            return call(*args)

        monkeypatch.setattr(owner, name, noting)
    before = settings_of_torch()
    for _ in Trainer(config(deterministic=wanted)).run():
        assert settings_of_torch() == before
    assert {name for name, _ in seen} == {"after_step", "evaluate", "_build_network"}
    assert {on for _, on in seen} == {wanted}


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("ours", [True, False])
def test_what_the_process_had_set_is_restored_also_after_a_failure(ours):
    torch.use_deterministic_algorithms(ours, warn_only=ours)
    torch.utils.deterministic.fill_uninitialized_memory = torch.backends.cudnn.benchmark = ours
    before = settings_of_torch()
    with pytest.raises(ZeroDivisionError), deterministic(True):
        assert settings_of_torch() == (True, False, False, False)
        raise ZeroDivisionError
    assert settings_of_torch() == before


def test_an_operation_without_a_deterministic_form_is_named_with_the_setting(monkeypatch):
    def put(*_):
        torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))

    monkeypatch.setattr(MeanTeacher, "after_step", put)
    finished(config())
    message = r"^deterministic: true: put_ has no deterministic form on this device; set deterministic: false"
    with pytest.raises(NotDeterministic, match=message):
        finished(config(deterministic=True))
    assert not torch.are_deterministic_algorithms_enabled()


def test_cublas_that_was_used_before_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    message = "set CUBLAS_WORKSPACE_CONFIG=:4096:8 before the process starts"
    with pytest.raises(NotDeterministic, match=message), deterministic(True):
        raise RuntimeError(CUBLAS)


def test_other_errors_stay_what_they_are():
    with pytest.raises(torch.OutOfMemoryError), deterministic(True):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"), deterministic(False):
        raise RuntimeError("x does not have a deterministic implementation")


def test_a_run_on_cuda_reserves_the_workspaces_of_cublas_unless_the_user_did(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    reserve_workspaces(torch.device("cpu"))
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    reserve_workspaces(torch.device("cuda"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    reserve_workspaces(torch.device("cuda"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_integers_may_be_added_in_any_order():
    with deterministic(True):
        with exact_in_any_order():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
