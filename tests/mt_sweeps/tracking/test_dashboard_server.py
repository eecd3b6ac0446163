"""Who gets past the gate of the dashboard."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mt_sweeps.tracking.dashboard_server import Gate

TOKEN = "a-token"


@pytest.fixture
def client():
    return TestClient(Gate(PlainTextResponse("behind the gate"), TOKEN, 5000), follow_redirects=False)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/?token=", {}),
        ("/?token=another", {}),
        ("/?token=a-token%00", {}),
        ("/get-artifact?token=a-token", {}),
        ("/", {"Authorization": "Bearer another"}),
        ("/", {"Authorization": "Basic a-token"}),
        ("/", {"Cookie": "mt-sweeps-5000=another"}),
        ("/", {"Cookie": "mt-sweeps-5001=a-token"}),
        ("/", {"Cookie": "mt-sweeps-5000="}),
    ],
)
def test_nobody_passes_without_the_token(client, path, headers):
    answer = client.get(path, headers=headers)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "behind" not in answer.text
    assert client.post(path, headers=headers).status_code == 401


def test_the_link_logs_a_browser_in_and_hides_the_token(client):
    answer = client.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert client.get("/any/page").text == "behind the gate"


def test_a_program_sends_the_token_with_each_request(client):
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).text == "behind the gate"


def test_a_web_socket_needs_the_token_too(client):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass
