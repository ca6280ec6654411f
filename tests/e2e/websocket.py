"""A WebSocket by hand, because tests look at the bytes that pass through the gateway."""
import socket

from harness import PATIENCE


class WebSocket:
    def __init__(self, stack, path, headers):
        self.s = socket.create_connection(("127.0.0.1", stack.ports["http"]), timeout=PATIENCE)
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        self.s.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
                        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{head}\r\n").encode())
        self.buf = b""
        while b"\r\n\r\n" not in self.buf:
            self._more()
        self.head, self.buf = self.buf.split(b"\r\n\r\n", 1)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.s.close()

    def _more(self):
        data = self.s.recv(65536)
        assert data, "closed"
        self.buf += data

    @property
    def status(self):
        return int(self.head.split()[1])

    def header(self, name):
        lines = self.head.decode().split("\r\n")
        return next(line.split(": ")[1] for line in lines if line.lower().startswith(name))

    def _need(self, n):
        while len(self.buf) < n:
            self._more()

    def hear(self):
        """The payload of the next frame, which is not masked."""
        self._need(2)
        n, head = self.buf[1], 2
        if n == 126:
            self._need(4)
            n, head = int.from_bytes(self.buf[2:4], "big"), 4
        self._need(head + n)
        text, self.buf = self.buf[head:head + n], self.buf[head + n:]
        return text

    def say(self, text):
        mask = b"\x01\x02\x03\x04"
        n = len(text)
        head = bytes([0x81, 0x80 | n]) if n < 126 else bytes([0x81, 0xFE]) + n.to_bytes(2, "big")
        self.s.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
