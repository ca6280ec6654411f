"""Three agents, two HAProxies and one Redis; a crowd of clients that hang up at random; and what
the simulator served, the ledgers say and Redis counted, to be compared."""
import asyncio
import contextlib
import hashlib
import json
import os

from harness import CHAT, PATIENCE, ROOT, STREAMED, Stack, fields, free_port, header_value
from steps import open_records, reserved_by, stream_entries, tokens_of

STREAMS = int(os.environ.get("STREAMS", 1000))  # at once
AGENTS = 3
TIGHT = ["tight-a", "tight-b"]
FREE = ["free-a", "free-b"]
MAX_TOKENS = 60


def key_of(consumer):
    return f"key-of-{consumer}"


def consumers(config):
    """Four consumers with a key each, and times that a crowd can keep."""
    config["decision_timeout_ms"] = 5000
    config["redis"]["deadline_ms"] = 2000
    config["keys"]["entries"] = {
        f"k-{c}": {"sha256": hashlib.sha256(key_of(c).encode()).hexdigest()} for c in TIGHT + FREE}
    config["consumers"] = {c: {"match": {"keys": [f"k-{c}"]}} for c in TIGHT + FREE}


def month(unit, amount, **more):
    return {"per": "consumer", "unit": unit, "amount": amount, "window": "month", **more}


class Fleet(Stack):
    """Three agents with a ledger file each, and two HAProxies. Each HAProxy asks all agents in turn
    for decisions and sends its usage records to one of them, so most records are settled by an
    agent that did not make the reservation."""

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
        self.start_redis()
        self.start_sim()
        self.start_agents()
        self.start_fronts()
        return self


@contextlib.contextmanager
def running(folder, change, **options):
    fleet = Fleet(folder, change=change, env={"GATEWAY_SPOE_TIMEOUT": "10s"}, **options)
    try:
        yield fleet.start()
    finally:
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
    """One request on a new connection. The client hangs up after `patience` events; None reads all."""
    out = Outcome(consumer)
    body = json.dumps({"model": "gpt-4o", **STREAMED, "max_tokens": MAX_TOKENS,
                       "messages": [{"role": "user", "content": "Tell me of the sea. " * 20}]})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await gate.wait()
        writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n"
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
    """n clients at once; four of ten hang up at a random moment. Their outcomes."""
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
    return [entry for c in TIGHT + FREE for entry in stream_entries(fleet, c)]


def by_id(entries):
    ids = {e["id"]: e for e in entries}
    assert len(ids) == len(entries)  # double counted: 0
    return ids


def served_by_sim(fleet):
    """The requests that reached the simulator's models, by the gateway's request id."""
    return {header_value(r, "x-request-id"): r for r in fleet.sim.requests("data")}


def decisions(fleet):
    """The decision lines of all agents."""
    for i in range(AGENTS):
        for line in fleet.children[f"agent{i}"].log().splitlines():
            if " info decision " in line:
                yield fields(line)


def reserved_of(fleet):
    """id -> consumer, tokens that were reserved, as the agents logged."""
    return {d["id"]: (d["consumer"], reserved_by(d)) for d in decisions(fleet) if d["verdict"] == "allow"}


def open_reservations(fleet):
    """Ids that were reserved and not settled."""
    return set().union(*(open_records(fleet, c) for c in TIGHT + FREE))


def charged(fleet, consumer):
    state = fleet.limit_state(consumer)
    return sum(int(v.split(":")[2]) for f, v in state.items() if f.startswith(("tight", "free")))


def books_agree(fleet):
    """Every request that was served has an entry in both ledgers, and for each consumer Redis holds
    the sum of the entries and of the open reservations.

    Only requests that reached no resource may stay reserved: when a client hangs up while the
    decision is on its way, HAProxy's usage record names no request, and the estimate stays charged."""
    unsettled, reserved = open_reservations(fleet), reserved_of(fleet)
    entries, served = by_id(read_streams(fleet)), served_by_sim(fleet)
    if unsettled & set(served) or set(served) - set(entries) or by_id(read_files(fleet)) != entries:
        return False
    sums = {c: sum(tokens_of(e) for e in entries.values() if e["consumer"] == c) for c in TIGHT + FREE}
    for id in unsettled:
        sums[reserved[id][0]] += reserved[id][1]
    return all(charged(fleet, c) == sums[c] for c in TIGHT + FREE)
