"""Clients that send any part of a request and end in any way."""
import contextlib
import re
import select
import socket
import ssl
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from origin import END, chunk, reset


class Wire:
    """Bytes to HAProxy, with TLS or without, and every way to end them."""

    def __init__(self, world, tls, alpn, port):
        self.s = socket.create_connection(("127.0.0.1", port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self.s.getsockname()[1]
        self.tls = None
        self.eof = False
        if tls:
            context = ssl.create_default_context(cafile=str(world.ca))
            context.set_alpn_protocols([alpn])
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
            self.handshake()

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                return self.flush()
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.s.recv(65536))

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.s.sendall(data)

    def send(self, data):
        try:
            if not self.tls:
                return self.s.sendall(data)
            for i in range(0, len(data), 16384):
                self.tls.write(data[i:i + 16384])
            self.flush()
        except OSError:
            self.eof = True

    def raw(self, data):
        """Past TLS."""
        with contextlib.suppress(OSError):
            self.s.sendall(data)

    def recv(self, seconds):
        """b"" when nothing came in that time, or it is over (eof)."""
        if self.eof or not select.select([self.s], [], [], max(0, seconds))[0]:
            return b""
        try:
            data = self.s.recv(65536)
        except OSError as e:
            self.eof = type(e).__name__
            return b""
        if not data:
            self.eof = "FIN"
            return b""
        if not self.tls:
            return data
        self.incoming.write(data)
        out = b""
        try:
            while True:
                got = self.tls.read(65536)
                if not got:
                    break
                out += got
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as e:  # the peer's end, or its alert
            self.eof = e.reason or "TLS"
        return out

    def close(self, how):
        if how == "rst":
            return reset(self.s)
        if how == "notify":
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            self.flush()
        with contextlib.suppress(OSError):
            if how in ("half", "notify-half"):
                self.s.shutdown(socket.SHUT_WR)
            else:
                self.s.close()
        return None


class H1:
    def __init__(self, world, tls, port):
        self.wire = Wire(world, tls, "http/1.1", port)
        self.got, self.chunked = b"", False

    def start(self, method, path, headers, length=None, chunked=False):
        self.got, self.chunked = b"", chunked
        lines = [f"{method} {path} HTTP/1.1", "host: localhost"] + [f"{k}: {v}" for k, v in headers.items()]
        if chunked:
            lines.append("transfer-encoding: chunked")
        elif length is not None:
            lines.append(f"content-length: {length}")
        self.head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return self

    def send_head(self, part=1.0):
        self.wire.send(self.head[:int(len(self.head) * part)])

    def body(self, data, last=False):
        self.wire.send((chunk(data) if self.chunked else data) + (END if self.chunked and last else b""))

    def pump(self, seconds):
        data = self.wire.recv(seconds)
        self.got += data
        return bool(data)

    def status(self):
        rest = self.got
        while True:
            m = re.match(rb"HTTP/1.1 (\d+)", rest)
            if not m or b"\r\n\r\n" not in rest:
                return None
            if m.group(1) in (b"100", b"103"):
                rest = rest.split(b"\r\n\r\n", 1)[1]
                continue
            return int(m.group(1))

    def interim(self):
        return self.got.startswith((b"HTTP/1.1 100", b"HTTP/1.1 103"))

    def finished(self):
        """The whole answer has come."""
        if b"\r\n\r\n" not in self.got:
            return False
        top, rest = self.got.split(b"\r\n\r\n", 1)
        m = re.search(rb"(?i)content-length: (\d+)", top)
        return len(rest) >= int(m.group(1)) if m else rest.endswith(END)

    def ended(self):
        return self.wire.eof or self.finished()

    def end(self, how):
        if how != "rst":
            self.pump(0)
        if how.startswith("pipelined"):
            self.wire.send(self.head)
        if how.startswith("garbage"):
            self.wire.raw(GARBAGE)
        if how != "garbage":
            self.wire.close(how.split()[-1])


class H2:
    def __init__(self, world, tls, port):
        self.wire = Wire(world, tls, "h2", port)
        self.h = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h.initiate_connection()
        self.out()
        self.reset_stream()

    def reset_stream(self):
        self.got, self.code, self.rst, self.over, self.goaway, self.has_interim = b"", None, None, False, None, False
        self.read = True

    def out(self):
        self.wire.send(self.h.data_to_send())

    def start(self, method, path, headers, length=None, chunked=False):
        self.reset_stream()
        self.id = self.h.get_next_available_stream_id()
        self.fields = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "localhost")]
        self.fields += list(headers.items())
        if length is not None and not chunked:
            self.fields.append(("content-length", str(length)))
        self.has_body = length is not None or chunked
        return self

    def send_head(self, part=1.0):
        self.h.send_headers(self.id, self.fields, end_stream=not self.has_body)
        data = self.h.data_to_send()
        self.wire.send(data[:int(len(data) * part)])

    def body(self, data, last=False):
        while data:
            n = min(self.h.local_flow_control_window(self.id), self.h.max_outbound_frame_size, len(data))
            if n == 0:
                if not self.pump(5):
                    return
                continue
            self.h.send_data(self.id, data[:n])
            data = data[n:]
            self.out()
        if last:
            self.h.end_stream(self.id)
            self.out()

    def pump(self, seconds):
        data = self.wire.recv(seconds)
        if not data:
            return False
        try:
            events = self.h.receive_data(data)
        except h2.exceptions.ProtocolError:
            return False
        for e in events:
            if isinstance(e, h2.events.ResponseReceived):
                self.code = int(dict(e.headers)[":status"])
            elif isinstance(e, h2.events.InformationalResponseReceived):
                self.has_interim = True
            elif isinstance(e, h2.events.DataReceived):
                self.got += e.data
                if self.read:
                    with contextlib.suppress(h2.exceptions.ProtocolError):
                        self.h.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamReset):
                self.rst = int(e.error_code)
            elif isinstance(e, h2.events.StreamEnded):
                self.over = True
            elif isinstance(e, h2.events.ConnectionTerminated):
                self.goaway = int(e.error_code)
        self.out()
        return True

    def status(self):
        return self.code

    def interim(self):
        return self.has_interim

    def finished(self):
        return self.over

    def ended(self):
        return self.wire.eof or self.over or self.rst is not None

    def end(self, how):
        if how != "rst":
            self.pump(0)
        if how.startswith("garbage"):
            self.wire.raw(GARBAGE)
            return how == "garbage" or self.wire.close("rst")
        if how.startswith(("cancel", "rst_stream")):
            code = int(how.split()[1]) if how.startswith("rst_stream") else h2.errors.ErrorCodes.CANCEL
            self.h.reset_stream(self.id, code)
            self.out()
            return how != "cancel rst" or self.wire.close("rst")
        if how == "goaway":
            self.h.close_connection()
            self.out()
            how = "fin"
        return self.wire.close(how)


KINDS = {"h1": (H1, False), "h1s": (H1, True), "h2": (H2, False), "h2s": (H2, True)}
ENDS = {"h1": ("fin", "rst", "half"), "h1s": ("fin", "rst", "half", "notify"),
        "h2": ("fin", "rst", "half", "cancel", "goaway"), "h2s": ("fin", "rst", "half", "notify", "cancel", "goaway")}
# What no client does that means well. A second request on the connection hides
# the end of the first one; garbage is a protocol error of TLS, HTTP/2 or HTTP/1.
ODD_ENDS = {"h1": ("pipelined rst", "pipelined fin", "garbage", "garbage rst"),
            "h1s": ("pipelined rst", "pipelined fin", "garbage", "garbage rst"),
            "h2": ("rst_stream 0", "rst_stream 2", "rst_stream 7", "cancel rst", "garbage", "garbage rst"),
            "h2s": ("rst_stream 0", "rst_stream 2", "rst_stream 7", "cancel rst", "garbage", "garbage rst")}
GARBAGE = b"\0\0\1\xff\xff garbage, neither TLS nor HTTP/2 nor HTTP/1 \r\n\r\n"


def wait_for(client, condition, seconds=6.0):
    end = time.monotonic() + seconds
    while not condition() and not client.wire.eof and time.monotonic() < end:
        client.pump(0.05)
    return condition()
