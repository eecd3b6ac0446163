import hashlib
import io
import pickle
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.helpers.training import decode_whole
from trainers.config import Cifar10, Svhn
from trainers.errors import DataError


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """torchvision's CIFAR10, made to expect a small archive that a server on this machine hands out."""
    from torchvision.datasets import CIFAR10

    rng = np.random.default_rng(0)
    files = {
        name: {"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": rng.integers(0, 10, 4).tolist()}
        for name in ("data_batch_1", "data_batch_2", "test_batch")
    }
    contents = {name: pickle.dumps(entry) for name, entry in files.items()}
    contents["batches.meta"] = pickle.dumps({"label_names": [f"class {c}" for c in range(10)]})
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    served = tmp_path / "served"
    served.mkdir()
    with tarfile.open(served / "cifar.tar.gz", "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

    class Handler(SimpleHTTPRequestHandler):
        requests = 0

        def log_message(self, *_):
            Handler.requests += 1

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5((served / "cifar.tar.gz").read_bytes()).hexdigest())
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    yield {"files": files, "stop": stop, "handler": Handler, "class": CIFAR10}
    stop()


CIFAR = Cifar10(name="cifar10", labels=10, validation=1)


def test_cifar10_is_downloaded_once_verified_and_decoded(cifar10, tmp_path):
    images = decode_whole(CIFAR, tmp_path / "cache")
    files = cifar10["files"]
    stored = np.concatenate([files["data_batch_1"]["data"], files["data_batch_2"]["data"]])
    np.testing.assert_array_equal(images.train, stored.reshape(8, 3, 32, 32).transpose(0, 2, 3, 1))
    assert images.train_labels.tolist() == files["data_batch_1"]["labels"] + files["data_batch_2"]["labels"]
    np.testing.assert_array_equal(images.test, files["test_batch"]["data"].reshape(4, 3, 32, 32).transpose(0, 2, 3, 1))
    assert images.test_labels.tolist() == files["test_batch"]["labels"]
    assert images.train.dtype == np.uint8
    assert images.train_labels.dtype == np.int64
    assert images.classes == [f"class {c}" for c in range(10)]
    requests = cifar10["handler"].requests
    assert requests > 0
    decode_whole(CIFAR, tmp_path / "cache")
    assert cifar10["handler"].requests == requests


def test_cifar10_that_lies_in_root_needs_no_network(cifar10, tmp_path):
    downloaded = decode_whole(CIFAR, tmp_path / "cache")
    cifar10["stop"]()
    config = Cifar10(name="cifar10", labels=10, validation=1, root=str(tmp_path / "cache"))
    np.testing.assert_array_equal(decode_whole(config, tmp_path / "empty").train, downloaded.train)


def test_a_download_with_another_checksum_is_refused_with_what_to_do(cifar10, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10["class"], "tgz_md5", "0" * 32)
    with pytest.raises(DataError, match=r"cifar10 .*corrupted.*set dataset\.root"):
        decode_whole(CIFAR, tmp_path / "cache")
    assert not (tmp_path / "cache/cifar-10-batches-py").exists()


def test_no_network_is_a_refusal_that_says_what_to_do(cifar10, tmp_path):
    cifar10["stop"]()
    with pytest.raises(
        DataError,
        match=r"cifar10 could not be .*Expected there: cifar-10-batches-py/.*170 MB.*Download it on a machine with",
    ):
        decode_whole(CIFAR, tmp_path / "cache")


@pytest.mark.parametrize("extra", [False, True])
def test_svhn_has_its_pixels_in_our_order_and_its_extra_images_without_classes(tmp_path, monkeypatch, extra):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    rng, parts = np.random.default_rng(0), {}
    for part, count in (("train", 5), ("test", 3), ("extra", 4)):
        pixels = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        file = tmp_path / f"{part}_32x32.mat"
        savemat(file, {"X": pixels, "y": np.arange(1, count + 1)[:, None]})
        parts[part] = pixels.transpose(3, 0, 1, 2)
        digest = hashlib.md5(file.read_bytes()).hexdigest()
        monkeypatch.setitem(SVHN.split_list, part, ["http://127.0.0.1:9/", file.name, digest])
    images = decode_whole(
        Svhn(name="svhn", labels=10, validation=1, root=str(tmp_path), extra=extra), tmp_path / "unused"
    )
    expected = np.concatenate([parts["train"], parts["extra"]]) if extra else parts["train"]
    np.testing.assert_array_equal(images.train, expected)
    assert images.train_labels.tolist() == [1, 2, 3, 4, 5] + [-1] * (4 if extra else 0)
    np.testing.assert_array_equal(images.test, parts["test"])
    assert images.test_labels.tolist() == [1, 2, 3]
    assert images.train.dtype == np.uint8
