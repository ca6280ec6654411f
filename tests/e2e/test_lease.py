"""Limits in lease mode: what the workers decide without Redis stays within the stated bound, and
the bill is as right as in exact mode. The fleet and its crowd are those of test_exact."""
import asyncio
import os
import random
import time

import pytest

from fleet import (AGENTS, FREE, STREAMS, TIGHT, books_agree, by_id, consumers, crowd, decisions, month, one_stream,
                   read_files, running, served_by_sim)
from harness import http_get, request_id, wait_until
from promql import series
from steps import command, day, limits, tokens_of

# A request that was made is never given back. So the sum of all that were
# admitted is what Redis holds in the end, except for those who hung up before
# the decision.
CALLS = 120
SHARE = 0.1
BOUND = CALLS + AGENTS * SHARE * CALLS


def configure(config):
    consumers(config)
    config["limits"] = {
        "free": month("tokens", 10**12, mode="lease"),
        "calls": month("requests", CALLS, mode="lease", lease_share=SHARE),
        "flying": {"per": "consumer", "unit": "concurrent", "amount": 10**6, "mode": "lease"},
    }
    for c in TIGHT + FREE:
        config["consumers"][c]["limits"] = ["free", "calls" if c in TIGHT else "flying"]


@pytest.fixture
def fleet(tmp_path, certificate, simulators):
    with running(tmp_path, configure, certificate=certificate, simulators=simulators) as fleet:
        yield fleet


def decided(fleet, mode):
    """The counter of decisions, summed over the agents."""
    pages = (http_get(f"http://127.0.0.1:{p['http']}/metrics").text for p in fleet.agent_ports)
    return sum(value for page in pages for name, labels, value in series(page)
               if (name, labels) == ("foundry_limit_decisions_total", {"mode": mode}))


def one(port, consumer):
    gate = asyncio.Event()
    gate.set()
    return one_stream(port, consumer, None, gate)


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

    # an agent asks Redis first, and leases for a second
    wait_until("a decision without Redis", decided_here)
    assert decided(fleet, "exact") > 0

    fleet.sim.defaults(event_delay_ms=20, tokens=30)
    outcomes = asyncio.run(crowd(ports, STREAMS, rng))
    wait_until("the books to agree", lambda: books_agree(fleet))
    served = served_by_sim(fleet)

    # the limit was used up, and what was admitted beyond it is bounded
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
    files = by_id(read_files(fleet))
    assert set(served) <= set(files)
    complete = [o for o in outcomes if o.done]
    assert complete
    for o in complete:
        usage = served[o.id]["usage"]
        assert (files[o.id]["input"], files[o.id]["output"]) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert tokens_of(files[o.id]) == o.usage["total_tokens"]
    print(f"{leased} of {len(made)} decided here; "
          f"{[calls(fleet, c) for c in TIGHT]} of {CALLS} calls, bound {BOUND:.0f}")


def test_amount_and_block_set_by_operators_reach_a_leased_limit(make_stack):
    """The worker decides, and the answer says what is left. Then operators set another amount and
    block the caller; the worker learns both from the answers of Redis."""
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
