"""A proxy before a gateway that a test puts into a mood: it passes all on, or answers with an error of its own."""

import socket
import threading
from contextlib import suppress

_CHUNK = 65_536
_REFUSAL = (
    b"HTTP/1.1 %d Not now\r\nContent-Type: text/html\r\nContent-Length: 7\r\nConnection: close\r\n\r\nNot now"
)


class MoodyProxy:
    """Passes connections on to a port of this machine.

    Attributes:
        target: That port.
        port: Where it listens.
        status: The status with which it answers everything; None to pass on.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.target = 0
        self._streams: set[socket.socket] = set()
        self._lost: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/"

    def turn(self, status: int | None) -> None:
        """Answer so from now on; what is open is cut."""
        self.status = status
        for each in list(self._open):
            _close(each)

    def lose_streams(self) -> None:
        """Pass nothing on any more of event streams that are open, and do not close them."""
        self._lost |= self._streams

    def stop(self) -> None:
        """End it."""
        _close(self._listener)
        self.turn(self.status)
        for thread in self._threads:
            thread.join(5.0)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        if self.status is not None:
            with suppress(OSError):
                client.recv(_CHUNK)
                client.sendall(_REFUSAL % self.status)
            _close(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _close(client)
            return
        self._open.add(server)
        self._run(self._pass_on, client, server)
        self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if b"text/event-stream" in data:
                    self._streams.add(source)
                if source not in self._lost:
                    sink.sendall(data)
        _close(source)
        _close(sink)
        self._open -= {source, sink}

    def _run(self, act: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=act, args=arguments)  # type: ignore[arg-type] # ours
        self._threads.append(thread)
        thread.start()


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
