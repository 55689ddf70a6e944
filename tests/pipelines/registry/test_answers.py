"""What mlflow sends is sent again, whole, where the answer breaks off."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from requests.exceptions import ChunkedEncodingError
from urllib3.util import Retry

from pipelines.registry.answers import WholeAnswers

SENT = b"weights" * 1000


class Mirror(BaseHTTPRequestHandler):
    """Answers with what it is sent; so many answers end after their head, or in their middle."""

    protocol_version = "HTTP/1.1"
    breaks, after = 0, 0
    received: list[bytes]

    def answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.received.append(content)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + 1))
        self.end_headers()
        if len(self.received) > self.breaks:
            self.wfile.write(content + b".")
        else:
            self.wfile.write(content[: self.after])
            self.close_connection = True

    do_GET = do_PUT = answer

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Mirror.breaks, Mirror.after, Mirror.received = 0, 0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """One that asks again three times, as patiently as urllib3 would."""
    with requests.Session() as found:
        tries = Retry(3, read=3, allowed_methods=None, backoff_factor=0)
        found.mount("http://", WholeAnswers(max_retries=tries))
        yield found


@pytest.mark.parametrize("after", [0, 700])
@pytest.mark.parametrize("stream", [False, True])
def test_a_file_is_sent_again_from_its_beginning(
    url: str, session: requests.Session, tmp_path: Path, after: int, stream: bool
) -> None:
    (tmp_path / "weights").write_bytes(SENT)
    Mirror.breaks, Mirror.after = 2, after
    with (tmp_path / "weights").open("rb") as file:
        answer = session.put(url, data=file, stream=stream, timeout=5)
    assert b"".join(answer.iter_content(1024)) == SENT + b"."
    assert Mirror.received == [SENT] * 3


def test_an_answer_that_is_whole_is_asked_for_once(url: str, session: requests.Session) -> None:
    assert session.get(url, timeout=5).content == b"."
    assert len(Mirror.received) == 1


def test_the_last_error_is_raised_when_the_tries_are_used_up(
    url: str, session: requests.Session
) -> None:
    Mirror.breaks = 100
    with pytest.raises(ChunkedEncodingError, match="IncompleteRead"):
        session.get(url, timeout=5)
    assert len(Mirror.received) == 4
