"""A proxy that can fall silent: what is sent to it is taken, and goes nowhere."""

import socket
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread


class SilentProxy:
    """Forwards what comes to a port of the loopback to a Unix socket, while `forwards` is set.

    Attributes:
        port: Where it listens.
        forwards: Cleared, it keeps what it reads, and connections stay open; set again, it goes on.
        swallowed: Set once something came that was not forwarded at once.
    """

    def __init__(self, target: Path) -> None:
        self.forwards = Event()
        self.forwards.set()
        self.swallowed = Event()
        self._target = str(target)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._accepting = Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Close all connections, and take no more."""
        _hang_up(self._listening)
        self._accepting.join()
        self.forwards.set()
        for each in self._open:
            _hang_up(each)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                self._open += [near, far]
                far.connect(self._target)
                for source, target in ((near, far), (far, near)):
                    thread = Thread(target=self._pass_on, args=(source, target), daemon=True)
                    thread.start()
                    self._threads.append(thread)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if not self.forwards.is_set():
                    self.swallowed.set()
                self.forwards.wait()
                target.sendall(content)
        _hang_up(target)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
