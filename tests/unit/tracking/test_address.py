"""The address of a server, with and without an account."""

import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from optsweep.tracking.address import refuse_unusable


@pytest.mark.parametrize(
    ("account", "sent"),
    [("", None), ("ann:pw@", "ann:pw"), ("ann:p%40w@", "ann:p@w"), ("token@", "token")],
)
def test_an_account_in_an_address_reaches_the_server(account: str, sent: str | None) -> None:
    asked: list[tuple[str, str | None]] = []

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        refuse_unusable(f"http://{account}127.0.0.1:{server.server_port}/mlflow/")
        server.shutdown()
    expected = sent and f"Basic {b64encode(sent.encode()).decode()}"
    assert asked == [("/mlflow/health", expected)]
