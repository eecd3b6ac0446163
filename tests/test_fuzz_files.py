"""A short form of benchmarks/fuzz_files.py; benchmarks/results/fuzzing.md has the long one."""

import pytest

from benchmarks.fuzz_files import fuzz_best_files, fuzz_overrides, fuzz_spaces


@pytest.mark.parametrize(("fuzz", "count"), [(fuzz_spaces, 15), (fuzz_best_files, 20), (fuzz_overrides, 15)])
def test_a_mutated_file_is_refused_with_a_message_or_runs(fuzz, count):
    counts = fuzz(count, first=1_000_000)
    assert counts.findings == []
    assert counts.refused > count // 3
