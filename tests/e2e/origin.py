"""A resource whose answers a test writes itself, in the pieces it wants."""
import contextlib
import re
import socket
import threading

BREAK = object()  # in a script: close here, in the middle of the answer
GONE = object()  # in a script: wait until the other side closes


class Origin:
    """Answers every request with its script. A text is a chunk and a write of
    its own, an Event waits for the test."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.script, self.gone = [], threading.Event()
        self.kind = "text/event-stream"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            got = b""
            while b"\r\n\r\n" not in got:
                got += connection.recv(65536)
                if not got:
                    return
            head, body = got.split(b"\r\n\r\n", 1)
            length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
            while len(body) < length:
                body += connection.recv(65536)
            connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-type: {self.kind}\r\n"
                               "transfer-encoding: chunked\r\nconnection: close\r\n\r\n".encode())
            for piece in self.script:
                if piece is BREAK:
                    return
                if isinstance(piece, threading.Event):
                    piece.wait(30)
                elif piece is GONE:
                    with contextlib.suppress(ConnectionError):
                        while connection.recv(65536):
                            pass
                    self.gone.set()
                    return
                else:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece.encode()))
            connection.sendall(b"0\r\n\r\n")
