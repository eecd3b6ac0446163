"""A short form of benchmarks/fuzz_files.py; benchmarks/results/fuzzing.md has the long one."""

from benchmarks.fuzz_files import DIGITS, Counts, fuzz_best_files, fuzz_overrides, fuzz_spaces

FIRST = 1_000_000  # seed; the long form has those from 0 on


def check(counts: Counts) -> None:
    assert counts.findings == []
    assert counts.refused > counts.accepted


def test_a_mutated_search_space_is_refused_with_a_message_or_runs():
    check(fuzz_spaces(15, FIRST, [DIGITS]))  # the other files need libraries that take seconds to load


def test_a_mutated_best_file_is_refused_with_a_message_or_read():
    check(fuzz_best_files(20, FIRST))


def test_an_override_is_refused_with_a_message_or_runs():
    check(fuzz_overrides(15, FIRST))
