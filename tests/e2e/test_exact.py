"""Limits that hold, and a bill that is right: three agents, two HAProxies and
one Redis, a thousand streams at once, and clients that hang up at random.

What the simulator served, what the clients read, what Redis counted and what
both ledgers say is compared request by request, token by token."""
import asyncio
import hashlib
import json
import os
import random
import time

import pytest

from harness import PATIENCE, ROOT, Stack, fields, free_port, wait_until
from steps import open_records

STREAMS = int(os.environ.get("STREAMS", 1000))  # at once
AGENTS = 3
TIGHT_LIMIT = 12000
TIGHT = ["tight-a", "tight-b"]
FREE = ["free-a", "free-b"]
MAX_TOKENS = 60


def key_of(consumer):
    return f"key-of-{consumer}"


def configure(config):
    config["decision_timeout_ms"] = 5000
    config["redis"]["deadline_ms"] = 2000
    config["keys"]["entries"] = {
        f"k-{c}": {"sha256": hashlib.sha256(key_of(c).encode()).hexdigest()} for c in TIGHT + FREE}
    config["consumers"] = {
        c: {"match": {"keys": [f"k-{c}"]}, "limits": ["tight" if c in TIGHT else "free"]} for c in TIGHT + FREE}
    config["limits"] = {
        "tight": {"per": "consumer", "unit": "tokens", "amount": TIGHT_LIMIT, "window": "month"},
        "free": {"per": "consumer", "unit": "tokens", "amount": 10**12, "window": "month"},
    }


class Fleet(Stack):
    """AGENTS agents with a ledger file each; the second HAProxy beside the
    one of the stack; each sends its decisions to all agents in turn, and its
    usage records to one of them, which mostly settles what others reserved."""

    def __init__(self, folder, **options):
        super().__init__(folder, **options)
        self.agent_ports = [{n: free_port() for n in ("spop", "usage", "http")} for _ in range(AGENTS)]
        self.fronts = [{n: free_port() for n in ("https", "http", "stats")} for _ in range(2)]

    def ledger_path(self, i):
        return self.folder / f"ledger-{i}.jsonl"

    def start_agents(self):
        common = self.config
        for i, ports in enumerate(self.agent_ports):
            at = {n: f"127.0.0.1:{p}" for n, p in ports.items()}
            self.config = {**common, "ledger": {"file": str(self.ledger_path(i))},
                           "listen": {"spop": [at["spop"]], "usage": at["usage"], "http": at["http"]}}
            self.ports.update(agent_http=ports["http"])
            self.start_agent()
            self.children[f"agent{i}"] = self.children.pop("agent")
            self.children[f"agent{i}"].log_path.rename(self.folder / f"agent{i}.log")
            self.children[f"agent{i}"].log_path = self.folder / f"agent{i}.log"

    def start_fronts(self):
        servers = "".join(
            f'\tserver agent{i} "127.0.0.1:{p["spop"]}" check inter 1s fall 3 rise 1\n'
            for i, p in enumerate(self.agent_ports))
        lines = (ROOT / "haproxy-conf/haproxy.cfg").read_text().splitlines(keepends=True)
        (only,) = [n for n, line in enumerate(lines) if line.startswith('\tserver agent "${GATEWAY_SPOP')]
        lines[only] = "\tbalance roundrobin\n" + servers
        (self.folder / "haproxy.cfg").write_text("".join(lines))
        for i, ports in enumerate(self.fronts):
            self.ports.update(ports, usage=self.agent_ports[i]["usage"])
            self.start_haproxy()
            self.children[f"haproxy{i}"] = self.children.pop("haproxy")

    def haproxy_argv(self):
        argv = super().haproxy_argv()
        return [self.folder / "haproxy.cfg" if a == ROOT / "haproxy-conf/haproxy.cfg" else a for a in argv]

    def start(self):
        try:
            self.start_redis()
            self.start_sim()
            self.start_agents()
            self.start_fronts()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        super().stop()
        for name, child in self.children.items():
            if name.startswith("agent"):
                said = child.complaints()
                assert not said, said


@pytest.fixture
def fleet(tmp_path, certificate):
    fleet = Fleet(tmp_path, change=configure, certificate=certificate,
                  env={"GATEWAY_SPOE_TIMEOUT": "10s"}).start()
    yield fleet
    fleet.stop()


class Outcome:
    def __init__(self, consumer):
        self.consumer = consumer
        self.id = None
        self.status = None
        self.usage = None  # what the stream said
        self.done = False  # read to the end
        self.hung_up = False


async def one_stream(port, consumer, patience, gate):
    """One request on a connection of its own. patience: events that are read
    before the client hangs up; None: all."""
    out = Outcome(consumer)
    body = json.dumps({"model": "gpt-4o", "stream": True, "max_tokens": MAX_TOKENS,
                       "stream_options": {"include_usage": True},
                       "messages": [{"role": "user", "content": "Tell me of the sea. " * 20}]})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await gate.wait()
        writer.write(f"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                     f"x-team-key: {key_of(consumer)}\r\ncontent-type: application/json\r\n"
                     f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        if patience == 0:
            out.hung_up = True
            return out
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
        out.status = int(head.split()[1])
        out.id = next(line.split(":", 1)[1].strip() for line in head.splitlines()
                      if line.lower().startswith("x-request-id:"))
        n = 0
        while True:
            line = await asyncio.wait_for(reader.readline(), PATIENCE)
            if not line:
                break
            if not line.startswith(b"data: "):
                continue
            n += 1
            if line.startswith(b"data: [DONE]"):
                out.done = True
            elif b'"usage":{' in line:
                out.usage = json.loads(line[6:])["usage"]
            if out.status == 200 and patience is not None and n >= patience and not out.done:
                out.hung_up = True
                return out
    finally:
        writer.transport.abort() if out.hung_up else writer.close()
    return out


async def crowd(ports, n, rng):
    gate = asyncio.Event()
    plans = [(ports[i % len(ports)], rng.choice(TIGHT + FREE),
              None if rng.random() < 0.6 else rng.randrange(0, 25)) for i in range(n)]
    tasks = [asyncio.ensure_future(one_stream(*plan, gate)) for plan in plans]
    await asyncio.sleep(0)  # let them connect, then all at once
    gate.set()
    return await asyncio.gather(*tasks)


def read_files(fleet):
    entries = []
    for i in range(AGENTS):
        entries += map(json.loads, fleet.ledger_path(i).read_text().splitlines())
    return entries


def read_streams(fleet):
    return [json.loads(entry["entry"]) for c in TIGHT + FREE
            for _, entry in fleet.redis.xrange(f"gw:{{{c}}}:ledger")]


def by_id(entries):
    ids = {e["id"]: e for e in entries}
    assert len(ids) == len(entries)  # double counted: 0
    return ids


def served_by_sim(fleet, since):
    """What reached the simulator's models, by the gateway's request id."""
    served = {}
    for r in fleet.sim.requests(since):
        if "/chat/completions" in r["path"]:
            served[dict((k.lower(), v) for k, v in r["headers"])["x-request-id"]] = r
    return served


def reserved_of(fleet):
    """id -> consumer, tokens that were reserved, as the agents logged."""
    found = {}
    for i in range(AGENTS):
        for line in fleet.children[f"agent{i}"].log().splitlines():
            if " info decision " in line and "verdict=allow" in line:
                said = fields(line)
                found[said["id"]] = said["consumer"], int(said["prompt"]) + int(said["output"])
    return found


def open_reservations(fleet):
    """Ids that were reserved and not settled."""
    return set().union(*(open_records(fleet, c) for c in TIGHT + FREE))


def charged(fleet, consumer):
    state = fleet.limit_state(consumer)
    return sum(int(v.split(":")[2]) for f, v in state.items() if f.startswith(("tight", "free")))


def tokens(entry):
    return entry["input"] + entry["output"]


def books_agree(fleet):
    """All that was served is written down, and Redis holds for each consumer
    what is written down and what is still reserved, not a token more.

    Still reserved is only what was never sent on: whoever hangs up while the
    decision is on its way leaves HAProxy with a record that names nobody, and
    the estimate stays charged."""
    unsettled, reserved = open_reservations(fleet), reserved_of(fleet)
    entries, served = by_id(read_streams(fleet)), served_by_sim(fleet, 0)
    if unsettled & set(served) or set(served) - set(entries) or by_id(read_files(fleet)) != entries:
        return False
    sums = {c: sum(tokens(e) for e in entries.values() if e["consumer"] == c) for c in TIGHT + FREE}
    for id in unsettled:
        sums[reserved[id][0]] += reserved[id][1]
    return all(charged(fleet, c) == sums[c] for c in TIGHT + FREE)


def test_a_thousand_streams_are_billed_to_the_token(fleet):
    seed = int(os.environ.get("SEED", time.time_ns() % 10**6))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    fleet.sim.post("/control/defaults", event_delay_ms=20, tokens=30)
    ports = [f["http"] for f in fleet.fronts]
    outcomes = asyncio.run(crowd(ports, STREAMS, rng))
    # a second crowd, when the first has given back what it did not use
    wait_until("the books to agree", lambda: books_agree(fleet))
    outcomes += asyncio.run(crowd(ports, STREAMS // 5, rng))
    wait_until("the books to agree", lambda: books_agree(fleet))
    served = served_by_sim(fleet, 0)

    # everybody was told something true
    told = {s: [o for o in outcomes if o.status == s] for s in (200, 429)}
    assert {o.status for o in outcomes} <= {200, 429, None}
    assert all(o.hung_up for o in outcomes if o.status is None)
    assert all(o.consumer in TIGHT for o in told[429]) and told[429]
    complete = [o for o in told[200] if o.done]
    gone = [o for o in told[200] if o.hung_up]
    assert complete and gone and all(o.usage for o in complete)
    assert len(complete) + len(gone) == len(told[200])

    # both ledgers have the same records, each once: none lost, none double
    files, streams = by_id(read_files(fleet)), by_id(read_streams(fleet))
    assert files == streams
    assert {o.id for o in told[200]} <= set(files)
    assert set(served) <= set(files)
    assert not {o.id for o in told[429]} & set(files)

    # token by token
    for o in complete:
        entry = files[o.id]
        assert entry["consumer"] == o.consumer and not entry["estimated"], entry
        usage = served[o.id]["usage"]
        assert usage["told"] and usage["prompt_tokens"] + usage["completion_tokens"] == o.usage["total_tokens"]
        assert (entry["input"], entry["output"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    for id, entry in files.items():
        if not entry["estimated"] and entry["status"] == 200:
            usage = served[id]["usage"]
            assert tokens(entry) == usage["prompt_tokens"] + usage["completion_tokens"]
    assert any(e["estimated"] for e in files.values())

    # nobody was admitted past capacity: over the limit is only what was used
    # beyond what had been reserved for it, and that is known to the token
    reserved, unsettled = reserved_of(fleet), open_reservations(fleet)
    for c in TIGHT:
        mine = [e for e in files.values() if e["consumer"] == c]
        debt = sum(max(0, tokens(e) - reserved[e["id"]][1]) for e in mine)
        assert TIGHT_LIMIT // 2 < charged(fleet, c) <= TIGHT_LIMIT + debt
    assert len(unsettled) <= sum(o.status is None for o in outcomes)
    settled_by = [len(fleet.ledger_path(i).read_text().splitlines()) for i in range(AGENTS)]
    assert settled_by[0] > 0 and settled_by[1] > 0
    print(f"{len(complete)} complete, {len(gone)} hung up, {len(told[429])} refused, {settled_by} settled, "
          f"{len(unsettled)} hung up before the decision")
