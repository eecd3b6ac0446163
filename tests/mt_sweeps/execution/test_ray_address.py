import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.execution.ray_address import cluster_address


@pytest.mark.parametrize("address", ["ray://u:SECRET@h:10001", "http://h:8265/?token=SECRET"])
def test_the_address_of_a_cluster_holds_no_password(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="RAY_ADDRESS: holds credentials") as error:
        cluster_address()
    assert "SECRET" not in str(error.value)
