"""Mutated model files: none may end `predict` with a traceback, a hang, or anything but a result or one error.

    uv run --group dev python benchmarks/fuzz_models.py --files 500 --seed 0

Each file is a small model that was changed: bytes, the length and the JSON of the header, the settings, sizes and
classes that it names, values and shapes of tensors; or it was cut off, or is another kind of file altogether.
"""

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load, save

from mt_sweeps.commands import predict
from mt_sweeps.errors import InputError
from trainers import TrainerConfig
from trainers.checkpoint import save_model
from trainers.data.normalization import PerChannel
from trainers.models import build

MOST_SECONDS = 5.0
_NUMBERS = ["0", "-1", "1", "7", "100000", "1e9", "9" * 400, "nan", "", "null", "\u0665"]
_STRANGE = [None, True, [], {}, "x", -1, 0, 10**30, 1e308, float("nan"), "\x1b[31m", "a" * 1000, [[[]]]]


def a_model(folder: Path) -> bytes:
    """Return the content of a small model file that can be used."""
    config = TrainerConfig.model_validate(
        {
            "dataset": {"name": "digits", "labels": 50, "validation": 50},
            "model": {"name": "small_cnn", "width": 2},
            "steps": 10,
        }
    )
    torch.manual_seed(0)
    network = build(config.model, 1, 10, config.heads)
    normalization = PerChannel(torch.tensor([77.5]), torch.tensor([96.25]))
    save_model(folder / "a.safetensors", network, normalization, [*"0123456789"], 8, 1, config)
    return (folder / "a.safetensors").read_bytes()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a changed model file."""
    mutation: Callable[[bytes, random.Random], bytes] = rng.choice(
        [_bytes, _cut, _header_length, _header, _facts, _facts, _settings, _settings, _values, _values, _shapes, _other]
    )
    return mutation(content, rng)


def outcome(file: Path, images: Path, output: Path) -> str:
    """Return what comes of a file: `predicted`, or `refused`.

    Raises:
        AssertionError: it takes too long, its error does not name it, or its probabilities are none.
        Exception: whatever else comes of it, which is a finding.
    """
    start = time.monotonic()
    try:
        predict.predict(file, images, output)
        shares = [float(line.rpartition(",")[2]) for line in output.read_text().splitlines()[1:]]
        assert all(0 <= share <= 1 for share in shares), shares
        came = "predicted"
    except InputError as error:
        assert str(file) in str(error), error
        came = "refused"
    seconds = time.monotonic() - start
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s"
    return came


def fuzz(files: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Try so many files; return how often which outcome came, and a line for each finding.

    Args:
        files: how many.
        seed: of all of them; each follows from it and its number.
        folder: for the files.
    """
    content = a_model(folder)
    (folder / "images").mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "images" / "a.png")
    counts: Counter[str] = Counter()
    findings = []
    for number in range(files):
        file = folder / f"{number}.safetensors"
        file.write_bytes(mutated(content, random.Random(f"{seed} {number}")))
        try:
            counts[outcome(file, folder / "images", folder / "out.csv")] += 1
        except Exception as error:
            findings.append(f"seed {seed}, file {number}: {type(error).__name__}: {str(error)[:200]}")
        file.unlink()
    return counts, findings


def _bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 2, 10, 100])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))] + bytes(rng.choice([0, 0, 7, 1000]))


def _header_length(content: bytes, rng: random.Random) -> bytes:
    return rng.choice([0, 1, 7, 2**31, 2**63, 2**64 - 1, len(content)]).to_bytes(8, "little") + content[8:]


def _header(content: bytes, rng: random.Random) -> bytes:
    """Change the part of the header that describes the tensors."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    entry = header[rng.choice(sorted(header))]
    entry[rng.choice([*entry, "dtype", "shape", "data_offsets", "new"])] = rng.choice(
        [*_STRANGE, "F64", "BOOL", "I64", "F8_E4M3", [0, 2**40], [2**32, 2**32], [0], [-1, 4]]
    )
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _with_facts(content: bytes, facts: dict[str, str]) -> bytes:
    return save(load(content), facts)


def _facts_of(content: bytes) -> dict[str, str]:
    facts: dict[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return facts


def _facts(content: bytes, rng: random.Random) -> bytes:
    facts = _facts_of(content)
    key = rng.choice(sorted(facts))
    lists = [
        "[" * 50_000,
        "[]",
        '["a"]',
        json.dumps(["a"] * 100_000),
        json.dumps([1] * 10),
        json.dumps(["\x1b[2J"] * 10),
    ]
    facts[key] = rng.choice([*_NUMBERS, *lists, "{}", "mt-sweeps-model/3", "mt-sweeps-model/999", "\0", facts[key] * 2])
    if rng.random() < 0.2:
        del facts[key]
    return _with_facts(content, facts)


def _settings(content: bytes, rng: random.Random) -> bytes:
    facts = _facts_of(content)
    config = json.loads(facts["config"])
    model = {
        "small_cnn": {"width": rng.choice([1, 3, 1024, 10**9])},
        "wide_resnet": {"depth": rng.choice([10, 28, 400, 10**9]), "width": rng.choice([1, 64])},
        "shake_shake": {"width": rng.choice([1, 1024])},
        "conv_large": {"norm": rng.choice(["batch", "weight"])},
        "resnet50": {"stem": "small"},
        "plugin_of_nobody": {},
    }
    if rng.random() < 0.5:
        name = rng.choice(sorted(model))
        config["model"] = {"name": name, **model[name]}
    else:
        section = rng.choice([config, *[part for part in config.values() if isinstance(part, dict)]])
        section[rng.choice([*section, "new"])] = rng.choice(_STRANGE)
    return _with_facts(content, facts | {"config": json.dumps(config)})


def _values(content: bytes, rng: random.Random) -> bytes:
    tensors = load(content)
    tensor = tensors[rng.choice(sorted(tensors))]
    if tensor.is_floating_point():
        value = rng.choice([float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 0.0])
        tensor.view(-1)[: rng.choice([1, tensor.numel()])] = value
    return save(tensors, _facts_of(content))


def _shapes(content: bytes, rng: random.Random) -> bytes:
    tensors = load(content)
    name = rng.choice(sorted(tensors))
    tensor = tensors.pop(name)
    made = [
        lambda: {},
        lambda: {name: torch.zeros(0)},
        lambda: {name: tensor.reshape(-1)},
        lambda: {name: tensor.repeat(2, *[1] * max(0, tensor.ndim - 1))},
        lambda: {name: tensor.to(rng.choice([torch.float64, torch.int64, torch.bool, torch.float16, torch.complex64]))},
        lambda: {f"x{name}": tensor},
        lambda: {name: tensor, "network.extra": torch.zeros(3)},
    ]
    return save(tensors | rng.choice(made)(), _facts_of(content))


def _other(_: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"", b"PK\x03\x04", b"\x80\x04.", rng.randbytes(5000), b"{}", bytes(100_000)])


def main() -> None:
    """Print the counts and the findings of so many files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, findings = fuzz(arguments.files, arguments.seed, Path(folder))
    print(f"{arguments.files} files of seed {arguments.seed}: {dict(counts)}, findings: {len(findings)}")
    print("\n".join(findings))


if __name__ == "__main__":
    main()
