import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec import yaml_file


def test_a_number_with_an_exponent_is_a_number_and_no_is_a_word():
    assert yaml_file.parse("a: 1e-4\nb: no\nc: 012", "f") == {"a": 1e-4, "b": "no", "c": 12}


def test_what_is_dumped_is_read_back_the_same():
    value = {"ema.decay": 0.9990000001, "words": ["no", "1e-4", "12", "true", "null"], "none": None, "deep": {"b": [1]}}
    assert yaml_file.parse(yaml_file.dump(value), "f") == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", 'line 3: found duplicate key "a"'),
        ("a: !!python/object/apply:os.system [echo]", "line 1: tags (tag:yaml.org,2002:python/object/apply:os.system)"),
        ("a: !!binary aGk=", "tags"),
        ("a: &x [1]\nb: *x", "line 1: anchors and aliases"),
        ("a: [1", "line 1"),
        ("a: 1\n---\nb: 2", "another document"),
        ("[" * 100_000, "nested deeper than 20 levels"),
    ],
)
def test_what_has_more_than_one_meaning_is_refused_with_its_line(text, told):
    with pytest.raises(InputError) as error:
        yaml_file.parse(text, "space.yaml")
    assert str(error.value).startswith("space.yaml: ")
    assert told in str(error.value)


def test_an_alias_bomb_is_refused_before_it_goes_off():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(InputError, match="anchors and aliases"):
        yaml_file.parse(bomb, "bomb.yaml")


def test_a_missing_a_huge_and_a_binary_file_are_named(tmp_path):
    huge, binary = tmp_path / "huge.yaml", tmp_path / "binary.yaml"
    huge.write_text("# " + "x" * yaml_file.MAX_LENGTH)
    binary.write_bytes(b"\xff\xfe\x00")
    for file, told in ((tmp_path / "none.yaml", "No such file"), (huge, "larger than"), (binary, "not UTF-8")):
        with pytest.raises(InputError, match=told) as error:
            yaml_file.read(file)
        assert str(file) in str(error.value)
