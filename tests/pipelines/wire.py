"""A wire to a server that can be slow, or cut, or break off answers."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HEAD = re.compile(rb"[A-Z]+ /")


class Wire:
    """Hands on what goes to a port of its own to a server's port, both on this machine."""

    def __init__(self, server_port: int) -> None:
        self.delay_s = 0.0
        self.breaks_answers = False
        """Whether the first answer of HTTP to each method and path ends after its head."""
        self.broken: set[bytes] = set()
        self._server_port = server_port
        self._open: set[socket.socket] = set()
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        _end(self._listener)
        for end in list(self._open):
            _end(end)

    def mend(self) -> None:
        """Let connections through again."""
        self._listener = _listen(self.port)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._join, args=[near], daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            _end(near)
            return
        self._open |= {near, far}
        asked: list[bytes] = []
        threading.Thread(target=self._ask, args=[near, far, asked], daemon=True).start()
        self._answer(far, near, asked)

    def _ask(self, near: socket.socket, far: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while content := near.recv(65536):
                if _HEAD.match(content):
                    asked.append(content.partition(b"?")[0].partition(b" HTTP/")[0])
                time.sleep(self.delay_s)
                far.sendall(content)
        self._end_both(near, far)

    def _answer(self, far: socket.socket, near: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while content := far.recv(65536):
                if self.breaks_answers and asked and asked[-1] not in self.broken:
                    self.broken.add(asked[-1])
                    near.sendall(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                    break
                near.sendall(content)
        self._end_both(near, far)

    def _end_both(self, *ends: socket.socket) -> None:
        for end in ends:
            _end(end)
            self._open.discard(end)


@contextmanager
def wire(server_port: int) -> Iterator[Wire]:
    """Yield a wire to a server; it is cut at the end."""
    found = Wire(server_port)
    try:
        yield found
    finally:
        found.cut()


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=128)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
