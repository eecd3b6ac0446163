import pytest

from mt_sweeps.addresses import part_with_credentials, server_of


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("https://u:SECRET@h", "user info"),
        ("https://SECRET@h", "user info"),
        ("https:u:SECRET@h", "user info"),
        ("https:/u:SECRET@h", "user info"),
        ("https:///u:SECRET@h/path", "user info"),
        ("HTTPS://u%3ASECRET%40h", "user info"),
        (" https://u:SECRET@h", "user info"),
        ("postgresql://u:SECRET@h/db", "user info"),
        ("postgresql+psycopg://u%3aSECRET@h/db", "user info"),
        ("postgresql://u@h/db?password=SECRET", "query"),
        ("postgresql://u@h/db?sslmode=require&PassWord=SECRET", "query"),
        ("postgresql://u@h/db?p%61ssword=SECRET", "query"),
        ("postgresql://u@h/db?sslpassword=SECRET", "query"),
        ("postgresql://u@h/db?host=elsewhere", "query"),
        ("postgresql://u@h/db?sslmode=require;password=SECRET", "query"),
        ("https://h/?token=SECRET", "query"),
        ("https://h/;token=SECRET", "query"),
        ("https://h;token=SECRET", "query"),
        ("https://h?SECRET", "query"),
        ("https://h/#SECRET", "fragment"),
        ("https://h/#?token=SECRET", "fragment"),
        ("postgresql://u@h/db#SECRET", "fragment"),
        ("https://mlflow.example.org:5000/path/to", None),
        ("http://[::1]:5000", None),
        ("postgresql://u@h:5432/db?sslmode=verify-full&sslrootcert=/etc/ca.pem", None),
        ("sqlite:////home/me/what?#@:.db", None),
        ("databricks", None),
        ("databricks://profile", None),
    ],
)
def test_credentials_are_found_in_every_part_of_an_address(address, part):
    assert part_with_credentials(address) == part


def test_two_addresses_of_one_server_are_the_same():
    assert server_of("https://MLflow.example.org/a") == server_of("https://mlflow.example.org:443") is not None
    assert server_of("https://h") != server_of("http://h") != server_of("http://h:81")
    assert server_of("http://h") != server_of("http://h.evil.org")
    assert server_of("postgresql+psycopg://a@h/db") == server_of("postgresql://h:5432")
    assert server_of("http://h:notaport") is server_of("sqlite:////a.db") is server_of("") is None
