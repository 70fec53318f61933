"""A listener that ends every connection by a TLS alert after the client has sent its request.

It wants a certificate of the client. In TLS 1.3 the client believes the handshake
done before the server has looked, so its request is on the way when the alert
comes. A thread with plain sockets: asyncio drops the alert together with the connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

PATIENCE = 1.0
"""Seconds for the client to send, and to hang up after the alert."""


class AlertingListener:
    """Listens from its making until ``close``; nothing that is sent to it is ever carried out."""

    def __init__(self, host: str, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket = socket.create_server((host, 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._run, name="alerting", daemon=True).start()

    def close(self) -> None:
        """Listens no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._refuse, args=(connection,), daemon=True).start()

    def _refuse(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        secured = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        with secured, contextlib.suppress(OSError):
            with contextlib.suppress(ssl.SSLError):
                secured.do_handshake()
            # What arrived must be read first: closing on unread bytes would reset the
            # connection, and the client might never see the alert.
            while socket.socket.recv(secured, 65536):
                pass
