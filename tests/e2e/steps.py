"""What the tests of failures have in common: exact sums, streams that run in
the background, and requests that go on while something happens."""
import base64
import json
import re
import socket
import threading

import httpx

from harness import ROOT, request_id, sse_events, wait_until


def by_day(config, **limit):
    """demo's tokens per day: a fixed window, so sums in Redis are exact."""
    config["limits"]["demo-tokens"].update(window="day", **limit)


def spent(stack, account="demo", limit="demo-tokens"):
    """What a day limit says was used. 2:PERIOD:USED (store/scripts)."""
    value = stack.limit_state(account).get(f"{limit}:{account}", "2:0:0")
    kind, _, used = value.split(":")
    assert kind == "2", value
    return int(used)


def used(stack, *answers):
    """Tokens of the usage lines of these answers."""
    lines = [stack.usage(a if isinstance(a, str) else request_id(a)) for a in answers]
    return sum(int(u["input"]) + int(u["output"]) for u in lines)


def wait_spent(stack, tokens, account="demo", limit="demo-tokens"):
    wait_until(f"{tokens} tokens of {limit}, have {spent(stack, account, limit)}",
               lambda: spent(stack, account, limit) == tokens)


def open_records(stack, account="demo"):
    """Ids of reservations in Redis that nobody has settled or cancelled; those
    have a mark there for a while."""
    keys = list(stack.redis.scan_iter(f"gw:{{{account}}}:r:*", count=1000))
    pipe = stack.redis.pipeline(transaction=False)
    for k in keys:
        pipe.hget(k, "n")
    return {k.rsplit(":", 1)[1] for k, n in zip(keys, pipe.execute()) if (n or "").isdigit()}


def slow_streams(stack, tokens=60, event_delay_ms=30):
    stack.sim.post("/control/defaults", tokens=tokens, event_delay_ms=event_delay_ms)


def fast_streams(stack):
    stack.sim.post("/control/defaults", tokens=-1, event_delay_ms=0)


def clear_faults(stack):
    stack.sim.http.delete("/control/fault").raise_for_status()


def error_code(answer):
    assert answer.headers["content-type"] == "application/json", answer.headers
    error = answer.json()["error"]
    assert error["message"]
    return error["code"]


def retry_after(answer):
    seconds = int(answer.headers["retry-after"])
    assert seconds > 0
    return seconds


def send_usage(stack, line):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode(),
                 ("127.0.0.1", stack.ports["usage"]))


def ticket_fields():
    """The rows of the agent's own table, so that a new one is nothing to do here."""
    text = (ROOT / "spoa/usage/ticket.h").read_text()
    return re.findall(r"\bX\((TEXT|COUNT|FLAG|OPERATION), (\w+), \w+\)", text)


def varint(n):
    """SPOE.txt 3.1, as spop/cursor reads it."""
    if n < 240:
        return bytes([n])
    out, n = [n & 15 | 240], (n - 240) >> 4
    while n >= 128:
        out, n = out + [n & 127 | 128], (n - 128) >> 7
    return bytes(out + [n])


def ticket(**values):
    """What the agent writes for HAProxy to print (spoa/usage/ticket.h)."""
    fields = ticket_fields()
    assert set(values) <= {name for _, name in fields}
    out = bytes([1, len(fields)])
    for kind, name in fields:
        value = values.get(name, "" if kind == "TEXT" else 0)
        out += varint(len(value.encode())) + value.encode() if kind == "TEXT" else varint(int(value))
    return base64.urlsafe_b64encode(out).decode().rstrip("=")


CHAT = 1  # api/operations.h


def usage_line(number, tokens=7, **more):
    """A line of haproxy.cfg; `more` goes to the ticket."""
    said = {"consumer": "demo", "account": "demo", "app": "a", "model": "gpt-4o", "deployment": "gpt-4o-east",
            "resource": "east", "operation": CHAT, "counted": True, "prompt": 1, "reserved": 1, "text_bytes": 5, **more}
    return {"v": 2, "id": number, "status": 200, "termination": "--", "retries": "0", "bytes": 100, "ttfb_ms": 1,
            "total_ms": 2, "verdict": "allow", "code": "-", "ticket": ticket(**said), "events": "-",
            "usage": json.dumps({"prompt_tokens": tokens, "completion_tokens": tokens})}


class Stream(threading.Thread):
    """A streamed chat in the background, read to its end."""

    def __init__(self, stack, token=None, model="gpt-4o", headers=None, **body):
        super().__init__(daemon=True)
        self.stack = stack
        self.head = {"authorization": f"Bearer {token or stack.token()}"} if token != "" else {}
        self.head.update(headers or {})
        self.body = {"model": model, "stream": True, "stream_options": {"include_usage": True},
                     "messages": [{"role": "user", "content": "Hello"}], **body}
        self.text = ""
        self.status = None
        self.id = None
        self.error = None
        self.leave = threading.Event()
        self.begun = threading.Event()
        self.start()

    def run(self):
        try:
            with self.stack.client() as client, client.stream(
                    "POST", "/openai/v1/chat/completions", json=self.body, headers=self.head) as answer:
                self.status = answer.status_code
                self.id = request_id(answer)
                for text in answer.iter_text():
                    self.text += text
                    self.begun.set()
                    if self.leave.is_set():
                        return
        except httpx.HTTPError as e:
            self.error = e
        finally:
            self.begun.set()

    def wait_begun(self):
        assert self.begun.wait(30), "no first event"
        assert self.error is None and self.status == 200, (self.status, self.error, self.text)
        return self

    def running(self):
        return self.is_alive()

    def finish(self):
        self.join(30)
        assert not self.is_alive(), "the stream does not end"
        return self

    def complete(self):
        """Everything arrived, the usage and [DONE] too."""
        self.finish()
        assert self.error is None, self.error
        assert self.status == 200, self.text
        events = sse_events(self.text)
        assert events[-1] == "[DONE]", self.text[-300:]
        return True


class Load:
    """Requests one after the other, until told to stop. Keeps all answers.
    With reuse=False each has a connection of its own."""

    def __init__(self, stack, n_threads=2, token=None, reuse=True, **chat):
        self.stack = stack
        self.chat = chat
        self.reuse = reuse
        self.token = token or stack.token()
        self.answers = []
        self.errors = []
        self.end = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(n_threads)]

    def run(self):
        with self.stack.client() as client:
            while not self.end.is_set():
                try:
                    self.answers.append(self.ask(client))
                except httpx.HTTPError as e:
                    self.errors.append(e)

    def ask(self, client):
        return self.stack.chat(token=self.token, client=client if self.reuse else None, **self.chat)

    def wait_more(self, n=10):
        """n more requests, begun and ended from now on."""
        have = len(self.answers)
        wait_until(f"{n} more answers; errors {self.errors}",
                   lambda: len(self.answers) >= have + n + len(self.threads) or self.errors)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.end.set()
        for t in self.threads:
            t.join(30)

    def all_fine(self):
        assert not self.errors, self.errors
        bad = [(a.status_code, a.text) for a in self.answers if a.status_code != 200]
        assert not bad, bad[:3]
        assert self.answers
