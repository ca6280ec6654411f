"""A resource that is told, request by request, what to do, and that knows what
it has received. Requests name their script in User-Agent: case/N."""
import contextlib
import fcntl
import json
import re
import socket
import ssl
import struct
import termios
import threading
import time


class Script:
    """What the resource does with one request, and what it saw of it."""

    def __init__(self, *steps, after="whole"):
        self.steps, self.after = steps, after
        self.head, self.whole, self.gone = threading.Event(), threading.Event(), threading.Event()
        self.go, self.ready = threading.Event(), threading.Event()
        self.some = threading.Event()  # part of a body
        self.first = None  # the first line
        self.id = None
        self.body = 0
        self.answered = None  # status, when its head was sent
        self.reused = False

    def truth(self, answered):
        if answered and answered >= 400 and answered not in (408, 504):  # it may have worked until then
            return "REFUSED"
        return "SENT" if self.whole.is_set() else "PART" if self.head.is_set() else "NOT"

    def saw(self):
        if self.whole.is_set():
            return "whole"
        return f"head+{self.body}" if self.head.is_set() else "-"


SEND, GO, FIN, RST, READY, FLOOD = "send", "go", "fin", "rst", "ready", "flood"


class Body:
    """How much of a request's body has come."""

    def __init__(self, head):
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        self.chunked = re.search(rb"(?im)^transfer-encoding: *chunked", head) is not None
        self.left = int(length.group(1)) if length else 0
        self.tail, self.n = b"", 0

    def done(self):
        return self.tail.endswith(b"0\r\n\r\n") if self.chunked else self.left == 0

    def feed(self, data):
        """The rest, which belongs to the next request."""
        self.n += len(data)
        if self.chunked:
            self.tail = (self.tail + data)[-16:]
            return b""
        take = min(self.left, len(data))
        self.left -= take
        self.n -= len(data) - take
        return data[take:]


class Connection:
    """One connection from HAProxy. The reader closes, too: a thread that waits
    in recv() would keep the socket open."""

    def __init__(self, origin, s):
        self.origin, self.s, self.close_as, self.buf, self.n = origin, s, None, b"", 0
        self.script = None

    def recv(self):
        while not self.close_as:
            try:
                data = self.s.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError:
                return b""
            return data
        return b""

    def run(self):
        self.s.settimeout(0.02)
        try:
            while self.one():
                pass
        finally:
            with contextlib.suppress(OSError):
                if self.close_as == RST:
                    self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.s.close()
            if self.script:
                self.script.gone.set()

    def one(self):
        while b"\r\n\r\n" not in self.buf:
            data = self.recv()
            if not data:
                return False
            self.buf += data
        head, rest = self.buf.split(b"\r\n\r\n", 1)
        self.n += 1
        script = self.script = self.origin.script_of(head)
        script.reused = self.n > 1
        script.first = head.split(b"\r\n")[0].decode()
        found = re.search(rb"(?im)^x-request-id: *(\S+)", head)
        script.id = found and found.group(1).decode()
        script.head.set()
        writer = threading.Thread(target=self.write, args=(script,), daemon=True)
        writer.start()
        body = Body(head)
        rest = body.feed(rest)
        while not body.done():
            script.body = body.n
            if body.n:
                script.some.set()
            data = self.recv()
            if not data:
                return False
            rest = body.feed(data)
        script.body = body.n
        script.whole.set()
        self.buf = rest
        while writer.is_alive() and not self.close_as:  # WebSocket, or gone
            data = self.recv()
            if not data:
                return False
            self.buf += data
            if script.answered != 101 and b"\r\n\r\n" in self.buf:
                writer.join()
        return not self.close_as

    def write(self, script):
        (script.whole if script.after == "whole" else script.head).wait()
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            for step in script.steps:
                if isinstance(step, bytes):
                    self.send(script, step)
                elif step == READY:
                    self.drained()
                    script.ready.set()
                elif step == GO:
                    while not script.go.wait(0.02) and not script.gone.is_set():
                        pass
                elif step == FLOOD:
                    while not self.close_as and not script.gone.is_set():
                        self.send(script, b"2000\r\n" + b"x" * 8192 + b"\r\n")
                elif step in (FIN, RST):
                    self.drained()
                    self.close_as = step

    def send(self, script, data):
        m = re.match(rb"HTTP/1.1 (\d+)", data)
        if m and (int(m.group(1)) >= 200 or int(m.group(1)) == 101):
            script.answered = int(m.group(1))
        while data and not script.gone.is_set():
            try:
                data = data[self.s.send(data):]
            except (TimeoutError, ssl.SSLWantWriteError):
                pass

    def drained(self):
        """HAProxy's kernel has all that was sent."""
        if isinstance(self.s, ssl.SSLSocket):
            return
        end = time.monotonic() + 2
        while struct.unpack("i", fcntl.ioctl(self.s, termios.TIOCOUTQ, b"\0" * 4))[0] and time.monotonic() < end:
            time.sleep(0.002)


class Origin:
    """A resource. Requests name their script in User-Agent: case/N."""

    scripts = {}

    def __init__(self, context=None, greet=None, slow=False, port=0):
        self.socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.socket.getsockname()[1]
        self.context, self.greet = context, greet
        self.accepted, self.go = threading.Event(), threading.Event()
        self.slow = slow
        threading.Thread(target=self.run, daemon=True).start()

    def script_of(self, head):
        m = re.search(rb"(?im)^user-agent: *case/(\d+)", head)
        return self.scripts.get(m.group(1).decode() if m else "", None) or Script(answer(200, b"{}"))

    def run(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        self.accepted.set()
        if self.greet:
            return self.greet(s)
        if self.slow:
            self.go.wait(20)
        if self.context:
            try:
                s = self.context.wrap_socket(s, server_side=True)
            except OSError:
                return None
        return Connection(self, s).run()


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def peek(end):
    """Closes when the request has come, without having read it."""
    def serve(s):
        s.settimeout(5)
        with contextlib.suppress(OSError):
            s.recv(1, socket.MSG_PEEK)
        end(s)
    return serve


def garbage(s):
    s.settimeout(5)
    with contextlib.suppress(OSError):
        s.recv(65536)
        s.sendall(b"\0\1\2 this is neither TLS nor HTTP\r\n\r\n")
    s.close()


def deaf():
    """A port whose queue is full: no answer to a SYN."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    fill = []
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(s.getsockname())
        fill.append(c)
    return s, fill


# ---- answers

def head(status, *lines):
    reason = {200: "OK", 101: "Switching Protocols", 100: "Continue"}.get(status, "x")
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *lines]).encode() + b"\r\n\r\n"


def answer(status, body, kind="application/json", *lines):
    return head(status, f"content-type: {kind}", f"content-length: {len(body)}", *lines) + body


USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
JSON_BODY = json.dumps({"id": "x", "choices": [{"message": {"content": "w" * 400}}], "usage": USAGE}).encode()
JSON_HEAD = head(200, "content-type: application/json", f"content-length: {len(JSON_BODY)}", "connection: close")
SSE_HEAD = head(200, "content-type: text/event-stream", "transfer-encoding: chunked", "connection: close")


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENT = chunk(b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n')
LAST = chunk(b'data: {"choices":[],"usage":%s}\n\ndata: [DONE]\n\n' % json.dumps(USAGE).encode())
END = b"0\r\n\r\n"
ERROR = json.dumps({"error": {"message": "no", "code": "x"}}).encode()
CLOSE = "connection: close"
UPGRADE = head(101, "upgrade: websocket", "connection: upgrade", "sec-websocket-accept: x")


def steps(route):
    """head, first half, rest."""
    if route == "s":
        return SSE_HEAD, EVENT * 2, EVENT + LAST + END
    return JSON_HEAD, JSON_BODY[:200], JSON_BODY[200:]
