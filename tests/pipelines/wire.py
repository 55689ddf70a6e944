"""A wire to a server that can be slow, or cut."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Wire:
    """Hands on what goes to a port of its own to a server's port, both on this machine."""

    def __init__(self, server_port: int) -> None:
        self.delay_s = 0.0
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
        threading.Thread(target=self._hand_on, args=[near, far, True], daemon=True).start()
        self._hand_on(far, near, False)

    def _hand_on(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if is_request:
                    time.sleep(self.delay_s)
                target.sendall(content)
        for end in (source, target):
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
