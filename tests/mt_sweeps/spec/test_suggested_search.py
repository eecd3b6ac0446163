from tests.mt_sweeps.spec.test_suggestion import content, facts


def test_rare_classes_are_chosen_for_and_balanced():
    chosen = content(facts((500, 20, 30)))
    assert chosen["objective"]["metric"] == "validation.teacher_balanced_error"
    assert chosen["search_space"]["sampling"]["choices"] == ["uniform", "class_balanced"]
    assert "sampling" not in content(facts())["search_space"]
    assert content(facts())["objective"]["metric"] == "validation.teacher_error"


def test_the_range_of_the_consistency_weight_follows_the_number_of_classes():
    def weight(classes, hours=0.1):
        return content(facts((30,) * classes), hours=hours)["search_space"]["consistency.weight"]

    assert (weight(2)["low"], weight(2)["high"]) == (0.67, 12.0)
    assert (weight(10)["low"], weight(10)["high"]) == (3.3, 300.0)
    assert [branch["when"] for branch in weight(10, hours=100.0)] == [
        {"consistency.loss": "mse"},
        {"consistency.loss": "kl"},
    ]
    assert (weight(150)["low"], weight(150)["high"]) == (0.3, 30.0)


def test_slower_teachers_are_searched_in_longer_trainings():
    short, long = (content(facts(), hours=hours)["search_space"]["ema.decay"] for hours in (0.01, 50.0))
    assert short["high"] < long["high"] < 1
    assert short["scale"] == "one_minus_log"
