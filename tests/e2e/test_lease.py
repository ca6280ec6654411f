"""Limits in lease mode: what the workers decide on their own stays within the
stated bound, and the bill is as right as in exact mode.

The fleet is that of test_exact: three agents with a worker each, two HAProxies,
one Redis; and its crowd, a thousand streams at once."""
import asyncio
import os
import random
import time
import urllib.request

import pytest

import test_exact as exact
from harness import fields, request_id, wait_until
from test_exact import AGENTS, FREE, STREAMS, TIGHT
from test_limits import command, day, limits

# A call that was made is never given back, so what was ever admitted is what
# Redis holds in the end, but for those who hung up before the decision.
CALLS = 120
SHARE = 0.1
BOUND = CALLS + AGENTS * SHARE * CALLS


def configure(config):
    exact.configure(config)
    config["limits"] = {
        "free": {"per": "consumer", "unit": "tokens", "amount": 10**12, "window": "month", "mode": "lease"},
        "calls": {"per": "consumer", "unit": "requests", "amount": CALLS, "window": "month", "mode": "lease",
                  "lease_share": SHARE},
        "flying": {"per": "consumer", "unit": "concurrent", "amount": 10**6, "mode": "lease"},
    }
    for c in FREE:
        config["consumers"][c]["limits"] = ["free", "flying"]
    for c in TIGHT:
        config["consumers"][c]["limits"] = ["free", "calls"]


@pytest.fixture
def fleet(tmp_path, certificate):
    fleet = exact.Fleet(tmp_path, change=configure, certificate=certificate,
                        env={"GATEWAY_SPOE_TIMEOUT": "10s"}).start()
    yield fleet
    fleet.stop()


def decisions(fleet):
    for i in range(AGENTS):
        for line in fleet.children[f"agent{i}"].log().splitlines():
            if " info decision " in line:
                yield fields(line)


def decided(fleet, mode):
    """All agents' counters."""
    total = 0
    for ports in fleet.agent_ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f'foundry_limit_decisions_total{{mode="{mode}"}}'):
                    total += int(line.split()[-1])
    return total


def one(port, consumer):
    gate = asyncio.Event()
    gate.set()
    return exact.one_stream(port, consumer, None, gate)


def calls(fleet, consumer):
    return int(fleet.limit_state(consumer)[f"calls:{consumer}"].split(":")[2])


def test_a_thousand_streams_stay_within_the_bound(fleet):
    seed = int(os.environ.get("SEED", time.time_ns() % 10**6))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    ports = [f["http"] for f in fleet.fronts]

    def decided_here():
        assert asyncio.run(one(ports[0], FREE[0])).done
        return decided(fleet, "lease") > 0

    # each agent asks first, and knows for a second
    wait_until("a decision without Redis", decided_here)
    assert decided(fleet, "exact") > 0

    fleet.sim.post("/control/defaults", event_delay_ms=20, tokens=30)
    outcomes = asyncio.run(exact.crowd(ports, STREAMS, rng))
    wait_until("the books to agree", lambda: exact.books_agree(fleet))
    served = exact.served_by_sim(fleet, 0)

    # the limit was used up, and what passed beyond it is bounded
    made = list(decisions(fleet))
    for c in TIGHT:
        allowed = [d for d in made if d["consumer"] == c and d["verdict"] == "allow"]
        refused = [d for d in made if d["consumer"] == c and d["verdict"] == "deny"]
        assert refused and {d["code"] for d in refused} == {"rate_limit_exceeded"}
        assert not any(d.get("store") for d in refused)  # by Redis alone
        gone = sum(o.consumer == c and o.status is None for o in outcomes)
        assert CALLS // 2 < calls(fleet, c) <= BOUND
        assert len(allowed) <= BOUND + gone
    leased = sum(d.get("store") == "lease" for d in made)
    assert leased == decided(fleet, "lease") and decided(fleet, "memory") == 0

    # every stream is on the bill once, with what the simulator served
    files = exact.by_id(exact.read_files(fleet))
    assert set(served) <= set(files)
    complete = [o for o in outcomes if o.done]
    assert complete
    for o in complete:
        usage = served[o.id]["usage"]
        assert (files[o.id]["input"], files[o.id]["output"]) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert exact.tokens(files[o.id]) == o.usage["total_tokens"]
    print(f"{leased} of {len(made)} decided here; "
          f"{[calls(fleet, c) for c in TIGHT]} of {CALLS} calls, bound {BOUND:.0f}")


def test_what_operators_set_reaches_a_leased_limit(make_stack):
    """Decided by the worker, with what is left in the answer; then another
    amount, then a block, each told by the answers of Redis."""
    def change(config):
        limits(config, calls=day(1000, mode="lease"))

    stack = make_stack(change=change)
    sent = 0

    def ask(**wanted):
        nonlocal sent
        answer = stack.chat()
        sent += 1
        said = {**stack.decision(request_id(answer)), "status": answer.status_code}
        if answer.status_code == 200:
            left = answer.headers["x-ratelimit-remaining-requests"]
            assert (answer.headers["x-ratelimit-limit-requests"], left) == ("1000", str(1000 - sent))
        return all(said.get(k) == v for k, v in wanted.items())

    assert ask(status=200) and stack.metric("foundry_limit_decisions_total", mode="exact") == 1
    wait_until("a decision without Redis", lambda: ask(status=200, store="lease"))
    assert stack.metric("foundry_limit_decisions_total", mode="lease") > 0

    command(stack, "set", limit="calls", amount=1)
    wait_until("the other amount", lambda: ask(status=429, limit="calls", store=None))
    command(stack, "set", limit="calls", amount="configured")
    sent = int(stack.limit_state("demo")["calls:demo"].split(":")[2])  # refused ones took nothing
    wait_until("the configured amount again", lambda: ask(status=200))
    command(stack, "block", consumer="demo")
    wait_until("the block", lambda: ask(status=403, code="caller_blocked", store=None))
