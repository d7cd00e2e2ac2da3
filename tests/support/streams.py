"""A server on this machine, which sends videos and closes connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence


class Server:
    """Sends each who connects the next of some contents, and closes the connection.

    It stops listening before it sends the last one. Whoever connects again after that one ends is
    refused, always: a connection that waits while a socket is closed would be reset instead.
    """

    def __init__(self, contents: Sequence[bytes]) -> None:
        self._contents = list(contents)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://user:secret@127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        if not self._contents:
            self._socket.close()
        else:
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for content in self._contents:
            connection, _ = self._socket.accept()
            self.connections += 1
            if self.connections == len(self._contents):
                self._socket.close()
            with connection:
                connection.sendall(content)
