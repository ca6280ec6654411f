"""Steps that tests of several modules share: changes of the configuration, exact sums, blocked
callers, and requests that run in the background."""
import base64
import hmac
import json
import re
import socket
import threading

import httpx

from harness import (CHAT, HELLO, PATIENCE, ROOT, STREAMED, agent_command, bearer, request_id, sse_events,
                     wait_until)

# ------------------------------------------------------------- configurations


def by_day(config, **limit):
    """demo's tokens per day: a fixed window, so sums in Redis are exact."""
    config["limits"]["demo-tokens"].update(window="day", **limit)


def by_day_without_end(config):
    by_day(config, amount=10**12)


def with_ledger(config):
    """A ledger file in the folder of the stack, and a limit that is never reached."""
    by_day_without_end(config)
    folder = config["listen"]["spop"][1].removeprefix("unix:").rsplit("/", 1)[0]
    config["ledger"] = {"file": f"{folder}/ledger.jsonl"}


def day(amount, unit="requests", per="consumer", **more):
    return {"per": per, "unit": unit, "amount": amount, "window": "day", **more}


def limits(config, consumer="demo", **named):
    """A consumer has these limits and no others."""
    config["limits"].update(named)
    config["consumers"][consumer]["limits"] = list(named)
    if not any("demo-tokens" in c["limits"] for c in config["consumers"].values()):
        del config["limits"]["demo-tokens"]


def with_objects(config):
    """Files, batches and the like are kept at `west`. Its URL has another host name than that of
    `east`, so tests see which of them was asked."""
    sim = config["resources"]["east"]["url"]
    config["resources"]["west"]["url"] = sim.replace("127.0.0.1", "localhost")
    config["limits"]["tiny-tokens"]["amount"] = 10**9
    config["objects"] = {"resource": "west"}
    for name, surface in (("gpt-image-1", "azure"), ("whisper", "azure"), ("gpt-4o-transcribe", "v1"),
                          ("tts", "azure"), ("gpt-realtime", "v1"), ("gpt-4o-realtime", "azure")):
        config["models"][name] = {"deployments": [{"resource": "east", "name": name, "surface": surface}]}
    config["models"]["gpt-4o-west"] = {"deployments": [{"resource": "west", "name": "gpt-4o-west", "surface": "v1"}]}


def second_node(make_stack, first, change):
    """Another HAProxy and agent, with the Redis of the first."""
    def shared_redis(config):
        config["redis"]["url"] = f"redis://127.0.0.1:{first.ports['redis']}/0"
        change(config)

    return make_stack(change=shared_redis, redis_server=False)


# ----------------------------------------------------------------------- sums


def spent(stack, account="demo", limit="demo-tokens"):
    """What a day limit says was used. 2:PERIOD:USED (store/scripts)."""
    value = stack.limit_state(account).get(f"{limit}:{account}", "2:0:0")
    kind, _, used = value.split(":")
    assert kind == "2", value
    return int(used)


def tokens_of(line):
    """Input and output of a usage line or of an entry of the ledger."""
    return int(line["input"]) + int(line["output"])


def reserved_by(decision):
    """What a decision line says was reserved."""
    return int(decision["prompt"]) + int(decision["output"])


def used(stack, *answers):
    """Tokens of the usage lines of these answers, or request ids."""
    return sum(tokens_of(stack.usage(a if isinstance(a, str) else request_id(a))) for a in answers)


def wait_spent(stack, tokens, account="demo", limit="demo-tokens"):
    wait_until(f"{tokens} tokens of {limit}, have {spent(stack, account, limit)}",
               lambda: spent(stack, account, limit) == tokens)


def open_records(stack, account="demo"):
    """Ids of reservations in Redis that were neither settled nor cancelled. (Those leave a mark
    there for a while.)"""
    keys = list(stack.redis.scan_iter(f"gw:{{{account}}}:r:*", count=1000))
    pipe = stack.redis.pipeline(transaction=False)
    for k in keys:
        pipe.hget(k, "n")
    return {k.rsplit(":", 1)[1] for k, n in zip(keys, pipe.execute()) if (n or "").isdigit()}


def stream_entries(stack, account="demo"):
    """The ledger entries in Redis."""
    return [json.loads(e["entry"]) for _, e in stack.redis.xrange(f"gw:{{{account}}}:ledger")]


def usage_records(stack, *results):
    """Usage records that the agent counted under these results, or under any."""
    name = "foundry_usage_records_total"
    return sum(stack.metric(name, result=r) for r in results) if results else stack.metric(name)


# --------------------------------------------------------------- limit command


def command(stack, verb, ok=True, **options):
    """foundry-spoa limits VERB FILE --NAME VALUE ..: the fields of each line, or with ok=False what
    it says on standard error."""
    words = [w for name, value in options.items() for w in (f"--{name}", value)]
    done = agent_command("limits", verb, stack.write_config(), *words)
    assert (done.returncode == 0) == ok, (done.stdout, done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()] if ok else done.stderr


def blocked(stack, answer):
    """The answer is that of a blocked caller."""
    assert (answer.status_code, error_code(answer)) == (403, "caller_blocked"), answer.text
    assert "retry-after" not in answer.headers
    assert stack.decision(request_id(answer))["code"] == "caller_blocked"
    return True


# -------------------------------------------------------------------- answers


def slow_streams(stack, tokens=60, event_delay_ms=30):
    stack.sim.defaults(tokens=tokens, event_delay_ms=event_delay_ms)


def endless_streams(stack):
    slow_streams(stack, tokens=100000, event_delay_ms=20)


def fast_streams(stack):
    stack.sim.defaults(tokens=-1, event_delay_ms=0)


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
    """A usage record, as a dict or as bytes, to the port of the agent."""
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


def ticket(key, number, **values):
    """What the agent writes for HAProxy to print (spoa/usage/ticket.h), sealed for a request (usage/seal.h)."""
    fields = ticket_fields()
    assert set(values) <= {name for _, name in fields}
    out = bytes([1, len(fields)])
    for kind, name in fields:
        value = values.get(name, "" if kind == "TEXT" else 0)
        out += varint(len(value.encode())) + value.encode() if kind == "TEXT" else varint(int(value))
    mac = hmac.digest(key, number.encode() + b"\0" + out, "sha256")[:16]
    return base64.urlsafe_b64encode(out + b"\1" + mac).decode().rstrip("=")


CHAT_OPERATION = 1  # api/operations.h


def usage_line(stack, number, tokens=7, key=None, **more):
    """A line of haproxy.cfg; `more` goes to the ticket."""
    key = key or bytes.fromhex(stack.ticket_key())
    said = {"consumer": "demo", "account": "demo", "app": "a", "model": "gpt-4o", "deployment": "gpt-4o-east",
            "resource": "east", "operation": CHAT_OPERATION, "counted": True, "prompt": 1, "reserved": 1, "text_bytes": 5, **more}
    return {"v": 2, "id": number, "status": 200, "termination": "--", "retries": "0", "connect_ms": 1,
            "upstream": "200", "bytes": 100, "ttfb_ms": 1,
            "total_ms": 2, "verdict": "allow", "code": "-", "ticket": ticket(key, number, **said), "events": "-",
            "usage": json.dumps({"prompt_tokens": tokens, "completion_tokens": tokens})}


class Stream(threading.Thread):
    """A streamed chat in the background, read to its end."""

    def __init__(self, stack, token=None, model="gpt-4o", headers=None, timeout=PATIENCE, **body):
        super().__init__(daemon=True)
        self.timeout = timeout
        self.stack = stack
        self.head = bearer(token or stack.token()) if token != "" else {}
        self.head.update(headers or {})
        self.body = {"model": model, "messages": HELLO, **STREAMED, **body}
        self.text = ""
        self.status = None
        self.id = None
        self.error = None
        self.leave = threading.Event()
        self.begun = threading.Event()
        self.start()

    def run(self):
        try:
            with self.stack.client(timeout=self.timeout) as client, client.stream(
                    "POST", CHAT, json=self.body, headers=self.head) as answer:
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
        assert self.begun.wait(PATIENCE), "no first event"
        assert self.error is None and self.status == 200, (self.status, self.error, self.text)
        return self

    def running(self):
        return self.is_alive()

    def finish(self):
        self.join(PATIENCE)
        assert not self.is_alive(), "the stream does not end"
        return self

    def hang_up(self):
        """The client leaves in the middle of the stream."""
        self.leave.set()
        return self.finish()

    def usage(self):
        """The usage object that the stream told."""
        return json.loads(sse_events(self.text)[-2])["usage"]

    def complete(self):
        """Everything arrived, the usage and [DONE] too."""
        self.finish()
        assert self.error is None, self.error
        assert self.status == 200, self.text
        events = sse_events(self.text)
        assert events[-1] == "[DONE]", self.text[-300:]
        return True


class Load:
    """Threads that send one request after the other until the block ends, and keep all answers.
    With reuse=False each request has a connection of its own."""

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
        """Waits for n requests that begin and end from now on."""
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
            t.join(PATIENCE)

    def all_fine(self):
        assert not self.errors, self.errors
        bad = [(a.status_code, a.text) for a in self.answers if a.status_code != 200]
        assert not bad, bad[:3]
        assert self.answers
