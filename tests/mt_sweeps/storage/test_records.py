import json
from dataclasses import replace

import numpy as np
import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.storage import records
from tests.helpers.sweeps import report
from tests.helpers.training import config
from trainers import Trainer
from trainers.confusion import correct_bits


def test_what_is_appended_is_read_in_order(tmp_path):
    written = [report(30, 0.3), report(60, 0.2)]
    for one in written:
        records.append(tmp_path, one)
    assert records.read(tmp_path) == written


def test_confusion_matrices_are_kept_where_there_are_any_and_records_without_them_are_read(tmp_path):
    matrix = {"validation.teacher": {"classes": 2, "cells": [[0, 0, 5], [1, 0, 1]]}}
    written = [report(30, 0.3), replace(report(60, 0.2), confusion=matrix)]
    for one in written:
        records.append(tmp_path, one)
    older, newer = map(json.loads, (tmp_path / records.FILE).read_text().splitlines())
    assert (older.keys(), newer["confusion"]) == ({"step", "time", "metrics"}, matrix)
    assert records.read(tmp_path) == written


def test_which_images_were_classified_correctly_is_kept_and_takes_little_room(tmp_path):
    bits = correct_bits(np.random.default_rng(0).random(5000) < 0.9)
    one = replace(report(30, 0.3), correct={"validation.teacher": bits})
    records.append(tmp_path, one)
    assert records.read(tmp_path) == [one]
    assert len((tmp_path / records.FILE).read_text()) < len(records.text([report(30, 0.3)])) + 1300


def test_a_last_line_that_a_crash_cut_off_is_left_out(tmp_path):
    records.append(tmp_path, report(30, 0.3))
    whole = (tmp_path / records.FILE).read_bytes()
    for cut in range(1, len(whole)):
        (tmp_path / records.FILE).write_bytes(whole + whole[:cut])
        assert records.read(tmp_path) == [report(30, 0.3)]


def steps_of(reports):
    return [report.step for report in reports]


def test_a_record_is_on_the_disk_before_its_report_is_yielded(tmp_path):
    for yielded in records.record_run(Trainer(config(), tmp_path), tmp_path):
        assert records.read(tmp_path)[-1] == yielded


def test_metrics_that_are_not_the_trainers_are_recorded_beside_its_own(tmp_path):
    for yielded in records.record_run(Trainer(config(), tmp_path), tmp_path, lambda: {"gpu.memory": 1.5}):
        assert yielded.metrics["gpu.memory"] == 1.5
        assert len(yielded.metrics) > 1
        assert records.read(tmp_path)[-1] == yielded


def test_a_crash_between_checkpoint_and_record_loses_no_record(tmp_path):
    run = Trainer(config(), tmp_path).run()
    next(run)  # its checkpoint is written, its record is not
    assert steps_of(records.record_run(Trainer(config(), tmp_path), tmp_path)) == [2, 4, 6]
    assert steps_of(records.read(tmp_path)) == [2, 4, 6]


def test_a_checkpoint_that_is_several_records_ahead_loses_none(tmp_path):
    """A worker trains on for a while after its driver is gone."""
    run = Trainer(config(), tmp_path).run()
    next(run), next(run)
    assert steps_of(records.record_run(Trainer(config(), tmp_path), tmp_path)) == [2, 4, 6]
    assert steps_of(records.read(tmp_path)) == [2, 4, 6]


def test_no_record_is_written_twice(tmp_path):
    list(records.record_run(Trainer(config(), tmp_path), tmp_path))
    again = steps_of(records.record_run(Trainer(config(), tmp_path), tmp_path))
    assert again == [6], "the last report of a run that had ended is yielded again"
    assert steps_of(records.read(tmp_path)) == [2, 4, 6]


def test_a_record_stays_as_it_is_if_its_evaluation_is_computed_again_after_a_checkpoint_was_lost(tmp_path):
    recorded = [report(2, 0.3), report(4, 0.2)]
    (tmp_path / records.FILE).write_text(records.text(recorded))
    yielded = list(records.record_run(Trainer(config(), tmp_path), tmp_path))
    assert yielded[:2] == recorded
    assert steps_of(records.read(tmp_path)) == [2, 4, 6]


def test_a_new_attempt_continues_after_a_line_that_a_full_disk_cut_off(tmp_path):
    first, second = tmp_path / "attempt-1", tmp_path / "attempt-2"
    first.mkdir()
    second.mkdir()
    (first / records.FILE).write_text(records.text([report(30, 0.3)]))
    with (first / records.FILE).open("a") as file:
        file.write('{"step": 60, "ti')
    (second / records.FILE).write_text(records.text(records.read(first)))
    records.append(second, report(60, 0.2))
    assert records.read(second) == [report(30, 0.3), report(60, 0.2)]


def test_a_record_that_a_crash_cut_off_is_cut_before_the_next_one_is_written(tmp_path):
    records.append(tmp_path, report(30, 0.3))
    with (tmp_path / records.FILE).open("a") as file:
        file.write('{"step": 60, "time": 2.0, "metrics')
    records.append(tmp_path, report(90, 0.1))
    assert records.read(tmp_path) == [report(30, 0.3), report(90, 0.1)]
    assert (tmp_path / records.FILE).read_text() == records.text([report(30, 0.3), report(90, 0.1)])


def test_a_line_to_which_an_earlier_version_glued_the_next_record_is_left_out(tmp_path):
    lines = records.text([report(30, 0.3), report(60, 0.2), report(90, 0.1)]).splitlines(keepends=True)
    (tmp_path / records.FILE).write_text(lines[0] + lines[1][:20] + lines[1] + lines[2])
    assert records.read(tmp_path) == [report(30, 0.3), report(90, 0.1)]


def test_a_file_of_something_else_is_no_file_of_records(tmp_path):
    (tmp_path / records.FILE).write_text('{"step": 30, "time": 2.0, "metrics": {}}\n{"epoch": 1}\n')
    with pytest.raises(InputError, match=r"records.jsonl: line 2: is no record \(step: .*or remove the file"):
        records.read(tmp_path)
