#!/usr/bin/env python3
"""What HAProxy logs, and what the agent charges, for each way a request can end.

    client --H1/H2, clear/TLS--> haproxy --SPOP--> foundry-spoa --> redis
                                   |  \--usage record--> Tap --> foundry-spoa
                                   \--clear/TLS--> Origin (the resource: scripted,
                                                   knows what it received)

    driver.py [--haproxy PATH]... [--only REGEX] [--jobs N] [--out FILE]

Takes about 30 minutes for the three versions in build/haproxy; with --only, a
regular expression for a case (its function and arguments, separated by spaces),
seconds. Needs build/foundry-spoa, build/foundry-sim and the Python of the tests:

    unshare -n sh -c 'ip link set lo up &&
        build/venv/bin/python tests/terminations/driver.py --only "client_end h1 rst"'

Prints tables in Markdown: how often each rule (table.py) is right, what was
logged with which truth, and all rows. --out also gets them, and FILE.jsonl
every value that was logged. With --from FILE.jsonl nothing runs, the tables are
printed again. RACES in the environment is how often the client
leaves at about the moment when a connection is ready or a request is sent.

A row is marked `!!` when the resource saw the whole request, did not refuse it
and nothing was charged, or when it saw nothing and something was charged. Those
of WebSockets always are: their tokens are in no record, and the usage line does
not show that a request was counted.

It is an experiment and no test: where HAProxy shows nothing that could be
waited for (bytes that it has read, a connection that it tries), it waits for a
time, see SETTLE.
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))  # behind this folder: both have an origin.py

from harness import AGENT, ROOT, free_port, wait_until
from clients import ENDS, H2, KINDS, ODD_ENDS, wait_for
from origin import (CLOSE, ERROR, FIN, FLOOD, GO, JSON_BODY, JSON_HEAD, READY, RST, SSE_HEAD, UPGRADE, Origin,
                                answer, head, steps)
from table import combinations, summary, table
from world import API, CASES, QUICK, World

SETTLE = 0.15  # s: HAProxy has done by then what it does at once
NOTICE = 1.2  # s: an end that HAProxy sees by itself is logged by then
N_RACE = int(os.environ.get("RACES", 40))
LOST = 6.0  # s: after this there will be no record


def finish(w, client, script, /, **row):
    """Wait for the record and the truth; make the row."""
    keys = [script.number] + ([] if row.pop("by_case_only", False) else [(client.who, client.wire.port)])
    line = w.tap.wait(keys, row.pop("notice", NOTICE))
    row["when"] = "at once"
    if not line:
        script.go.set()
        for gate in row.pop("gates", ()):
            gate.set()
        row["when"] = "later"
        line = w.tap.wait(keys, LOST)
    row.pop("gates", None)
    row["answered"] = script.answered  # later it is to nobody
    script.go.set()
    if script.head.is_set():
        script.gone.wait(1.5)
    else:
        time.sleep(0.05)
    row.update(version=w.version, truth=script.truth(row["answered"]), saw=script.saw(), reused=script.reused)
    row["told"] = client.status() or (f"rst {client.rst}" if getattr(client, "rst", None) is not None else
                                      str(client.wire.eof or "-"))
    row["line"] = line
    if line is None:
        row["when"] = "no record"
        row["charge"] = "open" if script.id and w.redis.exists(f"gw:{{demo}}:r:{script.id}") else "none"
        return row
    if line["verdict"] != "allow":
        row["charge"] = "none"
        return row
    use = w.charges.wait(line["id"])
    row["charge"] = told_charge(use)
    return row


def told_charge(use):
    """Input and output tokens of a usage line. An estimate may have none, and counts a request all the same."""
    if not use:
        return "none"
    return f"{use['input']}/{use['output']}" + (" estimated" if "estimated" in use else "")


def reach(w, kind, phase, route, quick=False):
    """A client at a phase: (client, script, gates to open later)."""
    top, half, rest = steps(route)
    s, gates = w.script(top, half, rest, FIN), []
    c = w.open(kind, quick)
    if phase == "head":
        c.start("POST", f"/openai/deployments/live/chat/completions?{API}", w.headers(s), length=100)
        c.send_head(0.6)
    elif phase == "body":
        body = w.chat_body(route)
        c.start("POST", f"/openai/deployments/live/chat/completions?{API}", w.headers(s), length=len(body))
        c.send_head()
        c.body(body[:1000])
    elif phase == "queue":
        w.chat(c, s, route, model="one")
    elif phase == "syn":
        w.chat(c, s, route, model="deaf")
    elif phase == "sent":
        s.steps = (GO, top, half, rest, FIN)
        w.chat(c, s, route)
        assert s.whole.wait(10), "not sent"
    elif phase == "sent-tls":
        s.steps = (GO, top, half, rest, FIN)
        w.chat(c, s, route, model="tls")
        assert s.whole.wait(10), "not sent"
    elif phase in ("sent-100", "sent-103"):
        s.steps = (head(int(phase[5:]), *(["link: </x>"] if phase == "sent-103" else [])), READY, GO,
                   top, half, rest, FIN)
        w.chat(c, s, route)
        assert s.ready.wait(10)
    elif phase == "headers":
        s.steps = (top, READY, GO, half, rest, FIN)
        w.chat(c, s, route)
        assert s.ready.wait(10)
        if route == "s":
            wait_for(c, lambda: c.status())
    elif phase == "mid":
        s.steps = (top, half, READY, GO, rest, FIN)
        w.chat(c, s, route)
        assert s.ready.wait(10)
        if route == "s":
            wait_for(c, lambda: c.got.count(b"word") >= 2)
    elif phase == "mid-long":  # longer than HAProxy holds
        body = b'{"a":"' + b"x" * 900000
        s.steps = (head(200, "content-type: application/json", "content-length: 2000000", CLOSE), body, READY, GO, FIN)
        w.chat(c, s, route)
        wait_for(c, lambda: len(c.got) > 100000)
    elif phase == "mid-error":
        s.steps = (answer(500, ERROR, "application/json", CLOSE)[:-10], READY, GO, FIN)
        w.chat(c, s, route, model=w.fresh())
        assert s.ready.wait(10)
        wait_for(c, lambda: c.status())
    elif phase == "finished":
        s.steps = (top, half, rest)
        w.chat(c, s, route)
        wait_for(c, c.finished)
    elif phase == "expect-json":
        body = w.chat_body(route)
        c.start("POST", f"/openai/deployments/live/chat/completions?{API}", w.headers(s, expect="100-continue"),
                length=len(body))
        c.send_head()
        wait_for(c, c.interim, 2)
    elif phase == "expect-form":
        s.steps, s.after = (head(100), READY, GO), "head"
        c.start("POST", f"/openai/deployments/whisper/audio/transcriptions?{API}",
                w.headers(s, expect="100-continue", content_type="multipart/form-data; boundary=b"), length=1000)
        c.send_head()
        assert s.head.wait(5)
        wait_for(c, c.interim, 2)
    elif phase.startswith("upload"):
        s.steps = (GO, answer(200, JSON_BODY, "application/json", CLOSE), FIN)
        if phase == "upload-answered":
            s.steps, s.after = (JSON_HEAD, JSON_BODY, READY, GO, FIN), "head"
        if phase == "upload-unread":  # TCP's window is full
            s.after = "head"
        w.upload(c, s, {"upload-multipart": "multipart", "upload-chunked": "chunked"}.get(phase, "multipart"
                 if phase == "upload-answered" else "json"))
        assert s.some.wait(10), "nothing came"
        if phase == "upload-answered":
            assert s.ready.wait(5)
    elif phase == "ws-asked":
        s.steps = (GO, UPGRADE, GO, FIN)
        w.websocket(c, s)
        assert s.whole.wait(5)
    elif phase == "ws-open":
        s.steps = (UPGRADE, b"\x81\x03one", READY, GO, FIN)
        w.websocket(c, s)
        wait_for(c, lambda: b"one" in c.got)
    else:
        raise AssertionError(phase)
    if phase in ("queue", "syn", "headers", "mid", "sent-100", "sent-103", "upload-answered", "head", "body"):
        time.sleep(SETTLE)
    return c, s, gates


def client_end(w, kind, end, phase, route):
    c, s, gates = reach(w, kind, phase, route)
    c.end(end)
    if end in ("half", "garbage"):
        wait_for(c, c.ended, 1)
    return [finish(w, c, s, client=kind, end=f"client {end}", phase=phase, route=route, gates=gates)]


def slow_connect(w, kind, end, route):
    """The client leaves while HAProxy shakes hands with the resource."""
    name = w.slow.get()
    origin = w.at[name]
    origin.accepted.clear()
    origin.go.clear()
    try:
        top, half, rest = steps(route)
        s = w.script(top, half, rest, FIN)
        c = w.open(kind)
        w.chat(c, s, route, model=name)
        assert origin.accepted.wait(10), "no connection"
        time.sleep(SETTLE)
        c.end(end)
        return [finish(w, c, s, client=kind, end=f"client {end}", phase="connecting", route=route, gates=[origin.go])]
    finally:
        origin.go.set()
        time.sleep(0.2)
        w.slow.put(name)


def queue_end(w, kind, end, route):
    """Serial: one holds the only connection."""
    hold = w.script(GO, *steps("r")[:3], FIN)
    h = w.open("h1")
    w.chat(h, hold, "r", model="one")
    assert hold.whole.wait(10)
    try:
        c, s, _ = reach(w, kind, "queue", route)
        c.end(end)
        row = finish(w, c, s, client=kind, end=f"client {end}", phase="queue", route=route, gates=[hold.go])
    finally:
        hold.go.set()
        wait_for(h, h.ended, 3)
        h.wire.close("fin")
    return [row]


def before_decision(w):
    """All at once, because Redis is stopped meanwhile."""
    rows, open_ = [], []
    with w.children["redis"].frozen():
        for kind in KINDS:
            for end in ENDS[kind]:
                s = w.script(*steps("r"), FIN)
                c = w.open(kind)
                w.chat(c, s, "r")
                open_.append((kind, end, c, s))
        wait_until("them to wait", lambda: w.metric("foundry_inflight_requests") >= len(open_))
        for _, end, c, _s in open_:
            c.end(end)
        time.sleep(0.5)
        early = {s.number: bool(w.tap.lines.get(s.number)) for _, _, _, s in open_}
    for kind, end, c, s in open_:
        row = finish(w, c, s, client=kind, end=f"client {end}", phase="deciding", route="r", by_case_only=True)
        row["when"] = "at once" if early[s.number] else row["when"] if row["when"] == "no record" else "later"
        rows.append(row)
    return rows


def race_connect(w, kind, end, n=N_RACE):
    """The client leaves at about the moment when the connection is ready."""
    rows = []
    for i in range(n):
        name = w.slow.get()
        origin = w.at[name]
        origin.accepted.clear()
        origin.go.clear()
        s = w.script(GO, *steps("r"), FIN)
        c = w.open(kind)
        w.chat(c, s, "r", model=name)
        assert origin.accepted.wait(10)
        origin.go.set()
        wait = (i % 20) * 0.0003
        until = time.perf_counter() + wait
        while time.perf_counter() < until:
            pass
        c.end(end)
        rows.append(finish(w, c, s, client=kind, end=f"client {end}", phase="race", route="r"))
        w.slow.put(name)
    return rows


def race_live(w, kind, end, n=N_RACE):
    """The client leaves right behind its request: anything may come of it."""
    rows = []
    for i in range(n):
        s = w.script(GO, *steps("r"), FIN)
        c = w.open(kind)
        w.chat(c, s, "r")
        until = time.perf_counter() + (i % 20) * 0.0002
        while time.perf_counter() < until:
            pass
        c.end(end)
        rows.append(finish(w, c, s, client=kind, end=f"client {end}", phase="race-live", route="r"))
    return rows


def race_sent(w, kind, end, n=N_RACE):
    """The client leaves as soon as the resource has the request: HAProxy may
    not have seen yet that it was sent."""
    rows = []
    for i in range(n):
        s = w.script(GO, *steps("r"), FIN)
        c = w.open(kind)
        w.chat(c, s, "r", model="tls" if i % 2 else "live")
        assert s.whole.wait(10), "not sent"
        c.end(end)
        rows.append(finish(w, c, s, client=kind, end=f"client {end}", phase="race-sent", route="r"))
    return rows


# ---- the client is too slow

def client_timeout(w, kind, phase, route):
    if phase == "unread":
        s = w.script(head(200, "content-type: text/event-stream", "transfer-encoding: chunked", CLOSE), FLOOD)
        c = w.open(kind, quick=True)
        c.read = False
        w.chat(c, s, route)
        s.whole.wait(10)
    else:
        c, s, _ = reach(w, kind, phase, route, quick=True)
    row = finish(w, c, s, client=kind, end="client timeout", phase=phase, route=route, notice=4 * QUICK)
    c.wire.close("fin")
    return [row]


# ---- the server's side

def answered_end(w, kind, name, route, model="live", quick=False, after="whole", keep=False, steps_=(), late=None):
    """The resource does `steps_`; the client reads to the end."""
    c = w.open(kind, quick)
    if keep:
        first = w.script(answer(200, JSON_BODY))
        w.chat(c, first, "r", model="live" if keep == "client" else "spare")
        wait_for(c, c.finished)
        w.tap.wait([first.number], 5)
        if keep == "server":
            model = "spare"
    s = w.script(*steps_, after=after)
    if keep:
        c.who += "-"  # the port has a record already
    s.go.set()
    if late:
        late()
    w.chat(c, s, route, model=model)
    wait_for(c, c.ended, 12 if model in ("refused", "late", "deaf") else 8)
    row = finish(w, c, s, client=kind + {False: "", "client": " 2nd", "server": " 2nd"}[keep], end=f"server {name}",
                 phase={"client": "2nd on the client's connection", "server": "2nd on both connections"}.get(keep, ""),
                 route=route, by_case_only=bool(keep), notice=6.0)
    c.wire.close("fin")
    return [row]


def server_cases():
    out = []
    for kind in ("h1", "h2s"):
        for route in "rs":
            top, half, rest = steps(route)
            add = lambda name, *st, **more: out.append((answered_end, (kind, name, route), {"steps_": st, **more}))
            add("refuses", model="refused")
            add("accepts and closes", model="closing")
            add("accepts and resets", model="resetting")
            add("closes with the request unread", model="peekfin")
            add("resets with the request unread", model="peekrst")
            add("sends garbage as TLS", model="tlsgarbage")
            add("does not shake hands (TLS)", model="tlssilent", quick=True)
            add("does not answer SYN", model="deaf", quick=True)
            add("is in maintenance", model="maint")
            for keep in (False, "client", "server"):
                add("closes after the request", FIN, keep=keep)
                add("resets after the request", RST, keep=keep)
                add("sends garbage", b"\0\1\2garbage\r\n\r\n", FIN, keep=keep)
            add("closes after the request (TLS)", FIN, model="tls")
            add("stalls after the request", READY, GO, quick=True)
            add("stalls (TLS)", quick=True, model="tls")
            add("sends 100 and closes", head(100), FIN)
            add("sends 100 and stalls", head(100), quick=True)
            add("sends half a head and closes", top[:20], FIN)
            add("sends half a head and stalls", top[:20], quick=True)
            add("sends a bad header", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", FIN)
            add("sends a head of 300 kB", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300000 + b"\r\n\r\n", FIN)
            add("sends two content-lengths", head(200, "content-length: 1", "content-length: 2") + b"ab", FIN)
            add("sends 101 unasked", UPGRADE, FIN)
            for what, st in (("headers", (top,)), ("part of the body", (top, half))):
                add(f"sends {what}, closes", *st, FIN)
                add(f"sends {what}, resets", *st, RST)
                add(f"sends {what}, stalls", *st, quick=True)
            add("sends a bad chunk", SSE_HEAD, b"zz\r\n", FIN)
            add("is done", top, half, rest, FIN)
            add("is done (TLS)", top, half, rest, FIN, model="tls")
            add("is done, of unknown length", head(200, "content-type: application/json", CLOSE), JSON_BODY, FIN)
            add("204", head(204, CLOSE), FIN)
            for status in (400, 401, 404, 408, 413, 429, 500, 502, 503, 504):
                lines = (CLOSE, "retry-after: 1") if status == 429 else (CLOSE,)
                add(f"answers {status}", answer(status, ERROR, "application/json", *lines), FIN, model=None)
            add("answers 500, body cut", answer(500, ERROR, "application/json", CLOSE)[:-10], FIN)
    return out


def status_end(w, *args, model=None, **more):
    """A deployment of its own: the agent lets it rest after an error."""
    return answered_end(w, *args, model=model or w.fresh(), **more)


def queue_timeout(w, kind, route):
    hold = w.script(GO, *steps("r"), FIN)
    h = w.open("h1", ports=w.quick_ports)
    w.chat(h, hold, "r", model="one")
    assert hold.whole.wait(5)
    rows = answered_end(w, kind, "has no place (timeout queue)", route, model="one", quick=True)
    hold.go.set()
    wait_for(h, h.ended, 3)
    h.wire.close("fin")
    return rows


def late_listener(w, kind, route):
    """Refused at first, there at the second attempt."""
    started = []

    def later():
        def run():
            time.sleep(0.5)
            started.append(Origin(port=w.late_port))
        threading.Thread(target=run, daemon=True).start()

    rows = answered_end(w, kind, "refuses once, then answers (retry)", route, model="late",
                        steps_=(*steps(route), FIN), late=later)
    for o in started:
        o.socket.shutdown(socket.SHUT_RDWR)
        o.socket.close()
    return rows


def upload_server_end(w, kind, how, name, steps_, quick=False):
    """The server ends while the client still sends."""
    c = w.open(kind, quick)
    s = w.script(*steps_, after="head")
    w.upload(c, s, how)
    assert s.head.wait(5)
    wait_until("some of it", lambda: s.some.is_set() or s.gone.is_set())
    s.go.set()
    wait_for(c, c.ended, 5)
    if not quick:  # it has seen the answer, and leaves
        c.wire.close("fin")
    row = finish(w, c, s, client=kind, end=f"server {name}", phase=f"upload-{how}", route="-", notice=4 * QUICK)
    c.wire.close("fin")
    return [row]


def upload_client_then_rest(w, kind, how):
    """The whole of an upload, then the client leaves."""
    rows = []
    for end in ENDS[kind]:
        s = w.script(GO, JSON_HEAD, JSON_BODY, FIN)
        c = w.open(kind)
        w.upload(c, s, how, **({"n": 100000} if how == "multipart" else {}))
        if how != "multipart":
            c.body(b"x" * 199996 + b'"}]}', last=True)
        elif isinstance(c, H2):
            c.h.end_stream(c.id)
            c.out()
        if not s.whole.wait(8):
            continue
        c.end(end)
        rows.append(finish(w, c, s, client=kind, end=f"client {end}", phase=f"sent-{how}", route="-"))
    return rows


def ws_server_end(w, kind, name, steps_, quick=False):
    c = w.open(kind, quick)
    s = w.script(*steps_)
    s.go.set()
    w.websocket(c, s)
    wait_for(c, lambda: c.wire.eof, 4)
    c.wire.close("fin")
    row = finish(w, c, s, client=kind, end=f"server {name}", phase="ws", route="s")
    c.wire.close("fin")
    return [row]


# ---- HAProxy itself ends

def haproxy_end(w, how, phase, kind):
    ports = {n: free_port() for n in ("https", "http", "stats")}
    name = f"own{next(CASES)}"
    change = (lambda t: t.replace("hard-stop-after 15m", "hard-stop-after 500ms"))
    child = w.spawn(name, ports, change)
    try:
        top, half, rest = steps("s")
        st = {"sent": (GO, top), "mid": (top, half, READY, GO), "headers": (top, READY, GO)}[phase]
        s = w.script(*st)
        c = w.open(kind, ports=ports)
        c.who = name
        w.chat(c, s, "s")
        assert s.whole.wait(5)
        if phase != "sent":
            wait_for(c, lambda: c.status())
        if how == "SIGTERM":
            child.signal(signal.SIGTERM)
        elif how == "SIGUSR1, hard-stop-after":
            child.signal(signal.SIGUSR1)
        elif how == "shutdown session":
            cli(w.folder / f"{name}.sock", "shutdown sessions server s.live/live")
        row = finish(w, c, s, client=kind, end=f"haproxy {how}", phase=phase, route="s")
        c.wire.close("fin")
        return [row]
    finally:
        child.stop()


def blocked_end(w, kind):
    """The caller is blocked while its stream runs: usage.lua cuts it."""
    def limits(verb):
        subprocess.run([AGENT, "limits", verb, w.folder / "gateway.json", "--consumer", "demo"], check=True,
                       capture_output=True, timeout=30)

    c, s, _ = reach(w, kind, "mid", "s")
    limits("block")
    try:
        row = finish(w, c, s, client=kind, end="haproxy cuts the blocked caller", phase="mid", route="s", notice=10)
    finally:
        limits("unblock")
    c.wire.close("fin")
    return [row]


def cli(path, command):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(command.encode() + b"\n")
        s.settimeout(2)
        with contextlib.suppress(OSError):
            return s.recv(65536)


# ---------------------------------------------------------------- all of them

def parallel_cases():
    out = []
    for kind, ends in ENDS.items():
        h1 = kind.startswith("h1")
        for end in ends:
            phases = [("head", "r"), ("body", "r"), ("syn", "r")]
            phases += [(p, r) for r in "rs" for p in
                       ("sent", "sent-tls", "sent-100", "sent-103", "headers", "mid", "finished")]
            phases += [("mid-long", "r"), ("expect-json", "r"), ("expect-form", "-"), ("upload-multipart", "-"),
                       ("upload-json", "-"), ("upload-answered", "-")]
            if h1:
                phases += [("upload-chunked", "-"), ("ws-asked", "s"), ("ws-open", "s")]
            for phase, route in phases:
                if end in ("cancel",) and phase == "head":
                    continue
                if end == "cancel" and phase == "finished":
                    continue
                out.append((client_end, (kind, end, phase, route), {}))
            out += [(client_end, (kind, end, "mid-error", r), {}) for r in "rs"]
            for route in "rs":
                out.append((slow_connect, (kind, end, route), {}))
        for end in ODD_ENDS[kind]:
            out += [(client_end, (kind, end, p, r), {}) for r in "rs" for p in ("sent", "sent-tls", "headers", "mid")]
        for phase, route in (("head", "r"), ("body", "r"), ("upload-multipart", "-"), ("upload-json", "-"),
                             ("unread", "s"), ("expect-form", "-")):
            out.append((client_timeout, (kind, phase, route), {}))
        for how in ("multipart", "json") + (("chunked",) if h1 else ()):
            out.append((upload_client_then_rest, (kind, how), {}))
    for fn, args, more in server_cases():
        out.append((status_end if "model" in more and more["model"] is None else fn, args, more))
    late = answer(200, JSON_BODY, "application/json", CLOSE)
    bad = answer(401, ERROR, "application/json", CLOSE)
    for kind in ("h1", "h2s"):
        for how in ("multipart", "json"):
            for name, st, quick in (("closes", (GO, FIN), False), ("resets", (GO, RST), False),
                                    ("answers 200, closes", (GO, late, FIN), False),
                                    ("answers 401, closes", (GO, bad, FIN), False),
                                    ("answers 401, goes on", (GO, bad), False),
                                    ("stalls", (), True)):
                out.append((upload_server_end, (kind, how, name, st, quick), {}))
    for kind in ("h1", "h1s"):
        for name, st, quick in (("refuses with 401", (bad, FIN), False), ("closes before 101", (FIN,), False),
                                ("resets before 101", (RST,), False), ("stalls before 101", (), True),
                                ("closes after 101", (UPGRADE, b"\x81\x03one", FIN), False),
                                ("resets after 101", (UPGRADE, b"\x81\x03one", RST), False),
                                ("silent after 101 (timeout tunnel)", (UPGRADE,), True)):
            out.append((ws_server_end, (kind, name, st, quick), {}))
    return out


def serial_cases():
    out = [(lambda w: before_decision(w), (), {})]
    for kind, ends in ENDS.items():
        for end in ends:
            out.append((queue_end, (kind, end, "r"), {}))
    for kind in ("h1", "h2s"):
        out.append((queue_timeout, (kind, "r"), {}))
        out.append((late_listener, (kind, "r"), {}))
    for kind, end in (("h1", "rst"), ("h1s", "rst"), ("h2s", "rst"), ("h2s", "cancel"), ("h1", "fin")):
        out.append((race_connect, (kind, end), {}))
        out.append((race_live, (kind, end), {}))
        out.append((race_sent, (kind, end), {}))
    for how in ("SIGTERM", "SIGUSR1, hard-stop-after", "shutdown session"):
        for phase in ("sent", "mid"):
            for kind in ("h1", "h2s"):
                out.append((haproxy_end, (how, phase, kind), {}))
    out += [(blocked_end, (kind,), {}) for kind in ("h1", "h2s")]
    return out


def run(folder, haproxy, only, jobs):
    rows, broken = [], []

    def one(fn, args, more):
        try:
            rows.extend(fn(w, *args, **more))
        except Exception as e:  # a case that cannot be made is told at the end
            broken.append((w.version, getattr(fn, "__name__", "?"), args, repr(e)))

    def wanted(case):
        return not only or re.search(only, " ".join([getattr(case[0], "__name__", ""), *map(str, case[1])]))

    w = World(folder, haproxy)
    try:
        w.start()
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for f in [pool.submit(one, *case) for case in parallel_cases() if wanted(case)]:
                f.result()
        for case in serial_cases():
            if wanted(case):
                one(*case)
        for name in ("slow", "quick", "agent"):
            if not w.children[name].alive():
                broken.append((w.version, name, "died", w.children[name].log()[-2000:]))
    finally:
        w.stop()
    return rows, broken


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--haproxy", action="append")
    p.add_argument("--only", default="")
    p.add_argument("--jobs", type=int, default=8)
    p.add_argument("--out")
    p.add_argument("--from", dest="source")
    a = p.parse_args()
    rows, broken = [], []
    if a.source:
        rows = [json.loads(line) for line in open(a.source)]
    for haproxy in [] if a.source else a.haproxy or sorted(map(str, ROOT.glob("build/haproxy/*/haproxy"))):
        with tempfile.TemporaryDirectory() as folder:
            r, b = run(Path(folder), haproxy, a.only, a.jobs)
            rows += r
            broken += b
    if a.out and not a.source:
        Path(a.out + ".jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    text = "\n\n".join((summary(rows), combinations(rows), table(rows)))
    print(text)
    for b in broken:
        print("broken:", *b, file=sys.stderr)
    if a.out and not a.source:
        Path(a.out).write_text(text + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
