"""Limits that hold, and a bill that is right: a thousand streams at once, and clients that hang
up at random.

What the simulator served, what the clients read, what Redis counted and what both ledgers say is
compared request by request, token by token."""
import asyncio
import os
import random
import time

import pytest

from fleet import (AGENTS, FREE, STREAMS, TIGHT, books_agree, by_id, charged, consumers, crowd, month,
                   open_reservations, read_files, read_streams, reserved_of, running, served_by_sim)
from harness import wait_until
from steps import tokens_of

LIMIT = 12000


def configure(config):
    consumers(config)
    config["limits"] = {"tight": month("tokens", LIMIT), "free": month("tokens", 10**12)}
    for c in TIGHT + FREE:
        config["consumers"][c]["limits"] = ["tight" if c in TIGHT else "free"]


@pytest.fixture
def fleet(tmp_path, certificate, simulators):
    with running(tmp_path, configure, certificate=certificate, simulators=simulators) as fleet:
        yield fleet


def check_answers(outcomes):
    """Each client was told something true; those who read all of their stream, those who hung up
    in it, and those who were refused."""
    told = {s: [o for o in outcomes if o.status == s] for s in (200, 429)}
    assert {o.status for o in outcomes} <= {200, 429, None}
    assert all(o.hung_up for o in outcomes if o.status is None)
    assert all(o.consumer in TIGHT for o in told[429]) and told[429]
    complete = [o for o in told[200] if o.done]
    gone = [o for o in told[200] if o.hung_up]
    assert complete and gone and all(o.usage for o in complete)
    assert len(complete) + len(gone) == len(told[200])
    return complete, gone, told[429]


def check_tokens(entries, served, complete):
    """What was not estimated was billed to the token."""
    for o in complete:
        entry = entries[o.id]
        assert entry["consumer"] == o.consumer and not entry["estimated"], entry
        usage = served[o.id]["usage"]
        assert usage["told"] and usage["prompt_tokens"] + usage["completion_tokens"] == o.usage["total_tokens"]
        assert (entry["input"], entry["output"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    for id, entry in entries.items():
        if not entry["estimated"] and entry["status"] == 200:
            usage = served[id]["usage"]
            assert tokens_of(entry) == usage["prompt_tokens"] + usage["completion_tokens"]
    assert any(e["estimated"] for e in entries.values())


def test_a_thousand_streams_are_billed_to_the_token(fleet):
    seed = int(os.environ.get("SEED", time.time_ns() % 10**6))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    fleet.sim.defaults(event_delay_ms=20, tokens=30)
    ports = [f["http"] for f in fleet.fronts]
    outcomes = []
    for n in (STREAMS, STREAMS // 5):  # the second crowd comes when the first has given back what it did not use
        outcomes += asyncio.run(crowd(ports, n, rng))
        wait_until("the books to agree", lambda: books_agree(fleet))
    served = served_by_sim(fleet)
    complete, gone, refused = check_answers(outcomes)

    # both ledgers have the same entries, each once: none is lost, none is double
    files, streams = by_id(read_files(fleet)), by_id(read_streams(fleet))
    assert files == streams
    assert {o.id for o in complete + gone} <= set(files)
    assert set(served) <= set(files)
    assert not {o.id for o in refused} & set(files)
    check_tokens(files, served, complete)

    # a limit is exceeded only by what requests used beyond their reservations
    reserved, unsettled = reserved_of(fleet), open_reservations(fleet)
    for c in TIGHT:
        mine = [e for e in files.values() if e["consumer"] == c]
        beyond = sum(max(0, tokens_of(e) - reserved[e["id"]][1]) for e in mine)
        assert LIMIT // 2 < charged(fleet, c) <= LIMIT + beyond
    assert len(unsettled) <= sum(o.status is None for o in outcomes)
    settled_by = [len(fleet.ledger_path(i).read_text().splitlines()) for i in range(AGENTS)]
    assert settled_by[0] > 0 and settled_by[1] > 0
    print(f"{len(complete)} complete, {len(gone)} hung up, {len(refused)} refused, {settled_by} settled, "
          f"{len(unsettled)} hung up before the decision")
