import hashlib
import io
import json
import os
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.training import assert_same, config, finished, weights
from trainers import Trainer
from trainers import checkpoint as checkpoint_module
from trainers.checkpoint import load_latest_checkpoint, load_model, save_checkpoint
from trainers.errors import CheckpointError
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT

CPU = torch.device("cpu")
STATE = {"step": 7, "tensors": [torch.arange(5.0), {"momentum": torch.ones(2, 3)}], "none": None, "error": float("inf")}


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Return the only file in a directory."""
    save_checkpoint(tmp_path, config(), "images", CPU, STATE)
    return tmp_path / CHECKPOINT


def sealed(content: Any) -> bytes:
    """Return the bytes with a valid checksum, so that nothing is refused for its checksum alone."""
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        content = buffer.getvalue()
    return hashlib.sha256(content).digest() + content


def latest(directory: Path) -> dict[str, Any] | None:
    return load_latest_checkpoint(directory, config(), "images", CPU)


def test_a_checkpoint_holds_what_was_saved(checkpoint):
    state = latest(checkpoint.parent)
    assert {name: state[name] for name in ("step", "none", "error")} == {"step": 7, "none": None, "error": float("inf")}
    assert torch.equal(state["tensors"][0], STATE["tensors"][0])
    assert torch.equal(state["tensors"][1]["momentum"], STATE["tensors"][1]["momentum"])


@pytest.mark.parametrize(("model", "is_read"), [("small_cnn", True), ("shake_shake", False)])
def test_a_checkpoint_of_the_format_before_is_read_unless_its_network_has_changed(
    tmp_path, monkeypatch, model, is_read
):
    settings = config(model={"name": model, "width": 4})
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_FORMAT", "mt-sweeps-checkpoint/2")
    save_checkpoint(tmp_path, settings, "images", CPU, STATE)
    monkeypatch.undo()
    if is_read:
        assert load_latest_checkpoint(tmp_path, settings, "images", CPU)["step"] == 7
    else:
        with pytest.raises(CheckpointError, match="is not a checkpoint of format mt-sweeps-checkpoint/3"):
            load_latest_checkpoint(tmp_path, settings, "images", CPU)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, torch.AcceleratorError])
def test_a_full_or_lost_gpu_is_no_fault_of_a_file(checkpoint, tmp_path, monkeypatch, kind):
    def fails(*_, **__):
        raise kind("CUDA")

    finished(config()).save_model(tmp_path / "model.safetensors")
    monkeypatch.setattr(torch, "load", fails)
    monkeypatch.setattr(checkpoint_module.Model, "logits", fails)
    with pytest.raises(kind):
        latest(checkpoint.parent)
    with pytest.raises(kind):
        load_model(tmp_path / "model.safetensors", "cpu")


def test_where_nothing_was_saved_there_is_nothing_to_go_on_from(tmp_path):
    assert latest(tmp_path) is None


@pytest.mark.parametrize("changes", [{"steps": 8}, {"seed": 1}, {"ema": {"decay": 0.9}}, {"method": "supervised"}])
def test_a_checkpoint_of_another_configuration_is_refused_by_name(checkpoint, changes):
    with pytest.raises(CheckpointError, match=rf"{checkpoint} was written by a run of another configuration"):
        load_latest_checkpoint(checkpoint.parent, config(**changes), "images", CPU)


def test_a_checkpoint_from_before_a_setting_existed_is_of_the_configuration_with_its_default(checkpoint):
    older = json.loads(config().model_dump_json())
    del older["sampling"], older["class_weights"]
    origin = {"format": checkpoint_module.CHECKPOINT_FORMAT, "config": json.dumps(older), "data": "images"}
    checkpoint.write_bytes(sealed({**origin, "device": "cpu", "step": 7}))
    assert latest(checkpoint.parent)["step"] == 7
    with pytest.raises(CheckpointError, match="was written by a run of another configuration"):
        load_latest_checkpoint(checkpoint.parent, config(sampling="class_balanced"), "images", CPU)


def test_a_checkpoint_of_other_images_or_another_device_is_refused_by_name(checkpoint):
    with pytest.raises(CheckpointError, match=rf"{checkpoint} was written by a run on other images"):
        load_latest_checkpoint(checkpoint.parent, config(), "changed images", CPU)
    with pytest.raises(CheckpointError, match=rf"{checkpoint} was written on cpu and cannot go on exactly on meta"):
        load_latest_checkpoint(checkpoint.parent, config(), "images", torch.device("meta"))


def test_a_checkpoint_torn_anywhere_is_refused_by_name(checkpoint):
    content = checkpoint.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 100)):
        checkpoint.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=str(checkpoint)):
            latest(checkpoint.parent)


def test_a_checkpoint_with_a_damaged_byte_is_refused_or_unharmed(checkpoint):
    content, rng, refused = checkpoint.read_bytes(), random.Random(0), 0
    for at in rng.sample(range(len(content)), 300):
        checkpoint.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            state = latest(checkpoint.parent)
        except CheckpointError as error:
            assert str(checkpoint) in str(error)
            refused += 1
        else:  # where nothing is read from
            assert state.keys() >= STATE.keys()
            assert [state["step"], state["error"]] == [STATE["step"], STATE["error"]]
            assert torch.equal(state["tensors"][0], STATE["tensors"][0])
            assert torch.equal(state["tensors"][1]["momentum"], STATE["tensors"][1]["momentum"])
    assert refused > 100


def test_a_file_of_our_format_that_does_not_say_whose_it_is_is_refused_by_name(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(sealed({"format": "mt-sweeps-checkpoint/3", "step": 3}))
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a checkpoint of format"):
        latest(tmp_path)


FOREIGN = {
    "text": b"not a checkpoint",
    "zeros": bytes(1000),
    "the end of a pickle": b".",
    "a pickle that takes more than it has": b"\x80\x02}q\x00(ll.",
    "a pickle": pickle.dumps({"format": "mt-sweeps-checkpoint/3"}, protocol=2),
    "an empty archive": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("written", [bytes, sealed])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_by_name(tmp_path, name, written):
    path = tmp_path / CHECKPOINT
    path.write_bytes(written(FOREIGN[name]))
    with pytest.raises(CheckpointError, match=str(path)):
        latest(path.parent)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_random_bytes_are_refused_whatever_they_make_the_unpickler_do(tmp_path):
    path = tmp_path / CHECKPOINT
    rng = random.Random(0)
    for _ in range(200):
        path.write_bytes(sealed(bytes(rng.choice(b"\x80\x02}q.(lp0ctorch\n") for _ in range(30))))
        with pytest.raises(CheckpointError, match=str(path)):
            latest(path.parent)


@pytest.mark.parametrize("content", [torch.zeros(2), [1, 2], {"format": "mt-sweeps-checkpoint/1"}, {"step": 3}])
def test_a_torch_file_of_another_format_is_refused_by_name(tmp_path, content):
    path = tmp_path / CHECKPOINT
    path.write_bytes(sealed(content))
    with pytest.raises(CheckpointError, match=rf"{path} is not a checkpoint of format mt-sweeps-checkpoint/3"):
        latest(path.parent)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        lambda content, path: path.write_bytes(sealed(content)),
        lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)),
        lambda content, path: path.write_bytes(sealed(pickle.dumps(content, protocol=2))),
    ],
)
@pytest.mark.parametrize("load", [lambda path: latest(path.parent), load_model])
def test_a_malicious_file_is_refused_and_does_not_run(tmp_path, save, load):
    path, marker = tmp_path / CHECKPOINT, tmp_path / "ran"
    save({"format": "mt-sweeps-checkpoint/3", "config": Malicious(marker)}, path)
    with pytest.raises(CheckpointError, match=str(path)):
        load(path)
    assert not marker.exists()


def test_a_malicious_file_would_have_run_had_it_been_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_trainer_refuses_a_torn_checkpoint_in_its_directory_and_leaves_it(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        Trainer(config(), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == b"torn"


# --- the checkpoint before the last


@pytest.fixture
def run(tmp_path) -> Path:
    """A directory with the checkpoints of steps 2 and 4."""
    for step in (2, 4):
        save_checkpoint(tmp_path, config(), "images", CPU, {"step": step})
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


UNREADABLE = {
    "torn": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "foreign": lambda _: b"not a checkpoint",
    "of an earlier format": lambda content: content.replace(b"mt-sweeps-checkpoint/3", b"mt-sweeps-checkpoint/1"),
}


def test_the_last_checkpoint_is_the_one_that_is_used_and_the_one_before_is_kept(run):
    assert set(contents(run)) == {CHECKPOINT, PREVIOUS_CHECKPOINT}
    assert latest(run)["step"] == 4
    (run / CHECKPOINT).unlink()
    assert latest(run)["step"] == 2


def test_only_the_last_two_checkpoints_are_kept(run):
    save_checkpoint(run, config(), "images", CPU, {"step": 6})
    assert set(contents(run)) == {CHECKPOINT, PREVIOUS_CHECKPOINT}
    (run / CHECKPOINT).unlink()
    assert latest(run)["step"] == 4


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_last_checkpoint_is_set_aside_with_a_warning_and_the_one_before_is_used(run, kind):
    before = contents(run)
    damaged = UNREADABLE[kind](before[CHECKPOINT])
    assert damaged != before[CHECKPOINT]
    (run / CHECKPOINT).write_bytes(damaged)
    with pytest.warns(UserWarning, match=str(run / CHECKPOINT)) as warned:
        assert latest(run)["step"] == 2
    assert len(warned) == 1
    assert str(run / PREVIOUS_CHECKPOINT) in str(warned[0].message)
    assert contents(run) == {PREVIOUS_CHECKPOINT: before[PREVIOUS_CHECKPOINT], "checkpoint.unreadable": damaged}
    assert "checkpoint.unreadable" in str(warned[0].message)


def test_a_checkpoint_that_was_set_aside_is_not_asked_for_again(run):
    (run / CHECKPOINT).write_bytes(b"torn")
    with pytest.warns(UserWarning, match="torn, damaged or foreign"):
        latest(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latest(run)["step"] == 2


def test_the_next_checkpoint_leaves_the_good_one_where_it_is_and_not_the_torn_one(run):
    good = (run / PREVIOUS_CHECKPOINT).read_bytes()
    (run / CHECKPOINT).write_bytes(b"torn")
    with pytest.warns(UserWarning, match="torn, damaged or foreign"):
        latest(run)
    save_checkpoint(run, config(), "images", CPU, {"step": 4})
    assert (run / PREVIOUS_CHECKPOINT).read_bytes() == good
    assert latest(run)["step"] == 4
    (run / CHECKPOINT).unlink()
    assert latest(run)["step"] == 2


@pytest.mark.parametrize("last", UNREADABLE)
@pytest.mark.parametrize("previous", UNREADABLE)
def test_two_unreadable_checkpoints_are_refused_by_name_and_left(run, last, previous):
    for name, kind in ((CHECKPOINT, last), (PREVIOUS_CHECKPOINT, previous)):
        (run / name).write_bytes(UNREADABLE[kind]((run / name).read_bytes()))
    before = contents(run)
    with pytest.raises(CheckpointError, match=str(run / PREVIOUS_CHECKPOINT)):
        latest(run)
    assert contents(run) == before


def test_a_process_that_dies_between_the_two_renamings_loses_no_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, config(), "images", CPU, {"step": 2})

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_module, "write_atomically", dies)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, config(), "images", CPU, {"step": 4})
    monkeypatch.undo()
    assert latest(tmp_path)["step"] == 2
    save_checkpoint(tmp_path, config(), "images", CPU, {"step": 4})
    assert latest(tmp_path)["step"] == 4
    (tmp_path / CHECKPOINT).unlink()
    assert latest(tmp_path)["step"] == 2


def test_a_last_checkpoint_of_another_configuration_is_refused_and_the_one_before_is_not_tried(run):
    save_checkpoint(run, config(seed=1), "images", CPU, {"step": 6})
    before = contents(run)
    with pytest.raises(CheckpointError, match=rf"{run / CHECKPOINT} was written by a run of another configuration"):
        latest(run)
    assert contents(run) == before


def test_a_torn_checkpoint_is_left_where_the_one_before_is_of_another_configuration(run):
    save_checkpoint(run, config(seed=1), "images", CPU, {"step": 6})
    save_checkpoint(run, config(), "images", CPU, {"step": 8})
    (run / CHECKPOINT).write_bytes(b"torn")
    before = contents(run)
    with pytest.raises(CheckpointError, match=rf"{run / PREVIOUS_CHECKPOINT} was written by a run of another config"):
        latest(run)
    assert contents(run) == before


def test_other_images_or_another_device_are_refused_and_the_one_before_is_not_tried(run):
    save_checkpoint(run, config(), "other images", CPU, {"step": 6})
    with pytest.raises(CheckpointError, match=rf"{CHECKPOINT} was written by a run on other images"):
        latest(run)
    save_checkpoint(run, config(), "images", torch.device("cuda"), {"step": 8})
    with pytest.raises(CheckpointError, match=rf"{CHECKPOINT} was written on cuda"):
        latest(run)


def test_a_trainer_whose_last_checkpoint_is_torn_ends_as_if_it_had_never_stopped(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    expected = finished(config(), whole)
    trainer = Trainer(config(), stopped)
    reports = trainer.run()
    next(reports), next(reports)
    (stopped / CHECKPOINT).write_bytes((stopped / CHECKPOINT).read_bytes()[:5000])
    with pytest.warns(UserWarning, match="torn, damaged or foreign"):
        resumed = Trainer(config(), stopped)
    assert [report.step for report in resumed.history] == [2]
    for _ in resumed.run():
        pass
    assert_same(weights(resumed, tmp_path / "resumed"), weights(expected, tmp_path / "expected"))
