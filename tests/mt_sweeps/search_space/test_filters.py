import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.search_space.distributions import Categorical, FloatRange, IntRange
from mt_sweeps.search_space.filters import Filter
from mt_sweeps.search_space.space import Space
from tests.helpers.sweeps import digits

RATE = "search_space.optimizer.learning_rate={type: float, low: 0.01, high: 1.0, scale: log}"
BATCH = "search_space.batch_size={type: categorical, choices: [50, 100, 200]}"


def problems(*overrides):
    with pytest.raises(InputError) as error:
        digits(RATE, BATCH, *overrides)
    return error.value.problems


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("optimizer.learning_rate * batch_size <= 100", True),
        ("not (batch_size > 64 and model.name == 'small_cnn')", False),
        ("model.name in ['conv_large', 'resnet18']", False),
        ("max(batch_size, 2 ** 3) // 7 % 2 == abs(-0)", True),
        ("0 < optimizer.learning_rate < 1 if optimizer.nesterov == true else False", True),
    ],
)
def test_a_filter_is_an_expression_over_dotted_keys(text, holds):
    values = {"optimizer.learning_rate": 0.1, "batch_size": 100, "model.name": "small_cnn", "optimizer.nesterov": True}
    assert Filter(text).holds(values) is holds


@pytest.mark.parametrize(
    "text",
    [
        "batch_size.__class__.__mro__[1] == 3",
        "().__class__ == 3",
        "__import__('os').system('true') == 0",
        "'{0.__class__}'.format(batch_size) == ''",
        "open('/etc/passwd') == 3",
        "[x for x in [1, 2]] == 3",
        "(lambda: 3)() == 3",
        "min(batch_size, key=abs) == 3",
        "f'{batch_size}' == '3'",
        "(x := 3) == 3",
        "None == batch_size",
    ],
)
def test_a_filter_reaches_nothing_but_keys(text):
    with pytest.raises(ValueError, match="is not allowed; filters have keys, numbers"):
        Filter(text)


@pytest.mark.parametrize(
    "text", ["9 ** 9 ** 9 ** 9 > 3", "'a' * 99999 == 'a'", "'%99999999999d' % 5 == ''", "[3] * 9 == 3"]
)
def test_a_filter_cannot_fill_the_memory(text):
    with pytest.raises(ValueError, match="cannot be computed"):
        Filter(text).holds({})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("batch_size > 3 or 1 / 0 > 3", True),
        ("batch_size < 3 and 1 / 0 > 3", False),
        ("3 < 2 < 1 / 0", False),
        ("true if batch_size == 100 else 1 / 0", True),
        ("1 / 0 if batch_size == 3 else false", False),
    ],
)
def test_what_decides_nothing_is_not_computed(text, holds):
    assert Filter(text).holds({"batch_size": 100}) is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1 < batch_size <= 100 < 101 != 3", True),
        ("1 < batch_size < 100 < 101", False),
        ("2 ** 3 ** 2 == 512 and -2 ** 2 == -4 and -7 // 2 == -4 and -7 % 3 == 2", True),
        ("(1, 2) == (1, 2) and [1, 2] != [2, 1] and 'se' in 'mse' and 3 not in (1, 2)", True),
        ("min([3, batch_size]) == min(3, batch_size) == 3 and max('a', 'b') == 'b'", True),
        ("not batch_size == 100 or +batch_size - -1 == 101", True),
        ("+".join(["1"] * 240) + " == 240", True),
    ],
)
def test_an_expression_means_what_it_means_in_python(text, holds):
    assert Filter(text).holds({"batch_size": 100}) is holds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("batch_size < 'a'", "'<' not supported between instances of 'int' and 'str'"),
        ("'a' + 'b' == 'ab'", "'a' is not a number"),
        ("-'a' == 3", "bad operand type for unary -"),
        ("3 in batch_size", "argument of type 'int' is not"),
        ("min(batch_size) == 3", "'int' object is not iterable"),
        ("(-8) ** 0.5 > 3", "math domain error"),
    ],
)
def test_what_cannot_be_computed_is_told_with_the_values_and_the_reason(text, problem):
    with pytest.raises(ValueError, match=r"cannot be computed for (batch_size: 100|any values): ") as error:
        Filter(text).holds({"batch_size": 100})
    assert problem in str(error.value)


@pytest.mark.parametrize("text", ["batch_size and 3", "batch_size or 'a'", "[]", "max(3, 4)", "3 if true else 4"])
def test_a_result_that_is_neither_true_nor_false_is_an_error(text):
    with pytest.raises(ValueError, match="neither true nor false; compare it with something"):
        Filter(text).holds({"batch_size": 100})


def test_huge_integers_are_compared_but_not_computed_with():
    googols = "1" + "0" * 400
    assert Filter(f"{googols} > batch_size").holds({"batch_size": 1})
    assert Filter(f"{googols} * 10 > batch_size").holds({"batch_size": 1})
    with pytest.raises(ValueError, match="int too large to convert to float"):
        Filter(f"{googols} * 1.5 > batch_size").holds({"batch_size": 1})
    with pytest.raises(ValueError, match="math range error"):
        Filter("10 ** 400 > 1").holds({})
    product = Filter(" * ".join(["steps"] * 60) + " > 1")
    with pytest.raises(ValueError, match=r"cannot be computed for steps: .*an integer is larger than 2\*\*4096"):
        product.holds({"steps": 16**100})
    with pytest.raises(ValueError, match="for steps: a value of type int too long to print"):
        product.holds({"steps": 16**10_000})


@pytest.mark.parametrize(
    "text", ["", "batch_size >", "batch_size = 3", "3 > 2\n3 > 2", "-" * 499 + "1", "\0", "\ud800"]
)
def test_what_is_no_expression_is_told_with_one_that_is(text):
    with pytest.raises(ValueError, match=r"is no expression: .*; write it like"):
        Filter(text)


@pytest.mark.parametrize(
    "text", ["not " * 120 + "x", "(" * 190 + "x" + ")" * 190, "x" + ".x" * 245, "[" * 150 + "]" * 150]
)
def test_a_deeply_nested_expression_is_read_or_refused_but_never_crashes(text):
    expression = Filter(f"1 > 0 or {text}")
    assert expression.holds(dict.fromkeys(expression.keys, True))


def test_the_part_that_is_not_allowed_is_shown_as_it_was_written():
    with pytest.raises(ValueError, match=r"^'batch_size\[0x10\]' is not allowed"):
        Filter("ema.decay  <  batch_size[0x10]")


def test_a_filter_on_a_key_that_a_trial_does_not_have_does_not_apply():
    width = IntRange(type="int", low=4, high=8, when={"model": "small"})
    entries = {"model": [Categorical(type="categorical", choices=["small", "large"])], "width": [width]}
    assert Space(entries, ["width < 5"]).allows({"model": "large"})
    assert not Space(entries, ["width < 5"]).allows({"model": "small", "width": 8})
    assert not Space(entries, ["width < 5"], fixed={"width": 6}).allows({"model": "large"}), "then the fixed one counts"


def test_filters_see_what_the_file_fixes():
    space = digits(RATE, "filters=[optimizer.learning_rate * batch_size <= 10]").space()
    assert space.allows({"optimizer.learning_rate": 0.1})
    assert not space.allows({"optimizer.learning_rate": 0.2})


def test_corners_that_a_filter_rules_out_need_not_be_legal_and_the_ends_are_still_tried():
    batch = "search_space.batch_size={type: categorical, choices: [100, 1200]}"
    assert any("a batch takes 900 unlabeled images" in problem for problem in problems(batch))
    corners = digits(batch, "filters=[batch_size * (1 - labeled_batch_fraction) <= 600]").space().corners()
    assert all(corner["batch_size"] * (1 - corner["labeled_batch_fraction"]) <= 600 for corner in corners)
    assert {corner["batch_size"] for corner in corners} == {100, 1200}
    assert {corner["labeled_batch_fraction"] for corner in corners} == {0.25, 0.5}


def test_the_supervised_arm_keeps_the_filters_whose_keys_concern_it():
    spec = digits(RATE, BATCH, "filters=[ema.decay < 0.99, optimizer.learning_rate * batch_size <= 100]")
    assert [one.text for one in spec.space("supervised").filters] == ["optimizer.learning_rate * batch_size <= 100"]


def test_a_filter_that_fails_on_a_value_nobody_tried_rules_it_out():
    space = Space({"rate": [FloatRange(type="float", low=0, high=1)]}, ["1 / (rate - 0.123456) > 1"])
    assert not space.allows({"rate": 0.123456})


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (
            "[optimizer.learning_rat < 3]",
            "filters.0: optimizer.learning_rat is neither searched nor set under trainer; did",
        ),
        ("[optimizer.momentum < 3]", "filters.0: optimizer.momentum is neither searched nor set under trainer; set it"),
        ("[batch_size > 3, batch_size <]", "filters.1: 'batch_size <' is no expression"),
        ("[batch_size]", "filters.0: gives 50 for batch_size: 50, neither true nor false"),
        ("[1 / (batch_size - 100) < 3]", "filters.0: cannot be computed for batch_size: 100: division by zero"),
        ("[consistency.loss < 3]", "filters.0: cannot be computed for consistency.loss: mse: '<' not supported"),
        (
            "[batch_size > 60, batch_size < 90]",
            "that were tried passes 'batch_size > 60' and 'batch_size < 90'; loosen",
        ),
        ("[ema.decay < 0.9]", "points.0: the filter 'ema.decay < 0.9' rules it out"),
    ],
)
def test_a_mistake_in_a_filter_is_told_with_its_place(filters, told):
    assert any(told in problem for problem in problems(f"filters={filters}"))


def test_of_a_finite_space_every_combination_is_tried_before_it_is_said_that_nothing_is_left():
    only = "search_space={seed: {type: int, low: 11, high: 5011}}"
    assert digits(only, "points=[]", "filters=[seed == 4999]").space().corners() == [{"seed": 4999}]
    with pytest.raises(InputError, match="none of the 5,001 combinations passes 'seed == 10'"):
        digits(only, "points=[]", "filters=[seed == 10]")


def test_a_point_that_leaves_no_allowed_value_to_the_sampler_is_refused():
    point = "points=[{optimizer.learning_rate: 0.9}]"
    assert any(
        "points.0: with these values, none of" in one
        for one in problems(point, "filters=[optimizer.learning_rate * batch_size < 40]")
    )
    assert digits(RATE, BATCH, point, "filters=[optimizer.learning_rate * batch_size < 60]").points


def test_a_filter_waits_for_the_keys_that_a_point_leaves_to_the_sampler():
    fixed = "trainer.optimizer.learning_rate=1.0"
    assert digits(
        RATE, BATCH, fixed, "points=[{batch_size: 200}]", "filters=[optimizer.learning_rate * batch_size < 60]"
    ).points
