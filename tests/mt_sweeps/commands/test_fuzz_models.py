"""The short form of `benchmarks/fuzz_models.py`."""

from benchmarks.fuzz_models import fuzz


def test_no_mutated_model_file_ends_a_prediction_with_anything_but_a_result_or_an_error(tmp_path, capfd):
    counts, findings = fuzz(25, 1, tmp_path)
    assert findings == []
    assert sum(counts.values()) == 25
    assert counts["refused"] > 10
    assert "Traceback" not in capfd.readouterr().err
