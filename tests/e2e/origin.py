"""A resource whose answers are written by the test, in pieces of its choice."""
import contextlib
import re
import socket
import threading

from harness import Stack

BREAK = object()  # in a script: close here, in the middle of the answer
GONE = object()  # in a script: wait until the other side closes


class Origin:
    """Answers every request with its script: a text is sent as one chunk with one write, an Event
    is waited for."""

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


class OriginStack(Stack):
    """A stack whose resource `east` is an Origin."""

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self.origin = Origin()
        self.config["resources"]["east"] = {"url": f"http://127.0.0.1:{self.origin.port}", "credential": "mi"}

    def stop(self):
        super().stop()
        self.origin.socket.close()
