"""Redis as operators have it: a primary with a replica, and Entra's tokens for
a password."""
import json
import re
import signal
import subprocess

import pytest
import redis

from harness import AGENT, ROOT, fields, free_port, wait_until
from steps import Load, Stream, by_day, open_records, slow_streams, spent, used

SYSTEM_OID = "66666666-6666-6666-6666-666666666666"  # of the simulator's managed identity


def limits(stack, verb, *words):
    return subprocess.run([AGENT, "limits", verb, stack.folder / "gateway.json", *words], capture_output=True,
                          text=True)


# ------------------------------------------------------ a primary and a replica


def start_replica(stack, port):
    folder = stack.folder / "replica"
    folder.mkdir()
    stack.redis.config_set("repl-diskless-sync-delay", 0)  # else it waits for more replicas
    stack._start("replica", ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
                             "--dir", folder, "--replicaof", "127.0.0.1", stack.ports["redis"]])
    replica = redis.Redis(port=port, decode_responses=True)

    def follows():
        try:
            return replica.info("replication")["master_link_status"] == "up"
        except redis.ConnectionError:  # which a server that loads is, too
            return False

    wait_until("the replica to follow", follows)
    return replica


def with_replica(make_stack, **limit):
    """The replica stands first in the list: it is passed over."""
    port = free_port()

    def change(config):
        by_day(config, **limit)
        config["redis"].update(url=[f"redis://127.0.0.1:{port}/0", config["redis"]["url"]], required=False)

    stack = make_stack(start=False, change=change)
    stack.config["ledger"] = {"file": str(stack.folder / "ledger.jsonl")}
    stack.start_redis()
    replica = start_replica(stack, port)
    stack.start_sim()
    stack.start_agent()
    stack.children["agent"].wait_log(rf"port={stack.ports['redis']} pending=0 msg=connected")
    stack.start_haproxy()
    assert "it is a replica" in stack.children["agent"].log()
    return stack, replica, port


def reserved(stack, ids):
    """What the agent reserved for them."""
    lines = [fields(line) for line in stack.children["agent"].log().splitlines() if " info decision " in line]
    return sum(int(said["prompt"]) + int(said["output"]) for said in lines if said["id"] in ids)


def books_agree(stack):
    """What is counted is what was settled, and what is still reserved."""
    settled = [json.loads(e["entry"]) for _, e in stack.redis.xrange("gw:{demo}:ledger")]
    assert len({e["id"] for e in settled}) == len(settled)  # none twice
    return spent(stack) == sum(e["input"] + e["output"] for e in settled) + reserved(stack, open_records(stack))


def test_replica_takes_over(make_stack):
    """The primary is killed under traffic and its replica promoted: callers see
    nothing of it, and what is counted goes on from what was replicated."""
    stack, replica, port = with_replica(make_stack, on_store_failure="local")
    agent = stack.children["agent"]
    first = stack.chat()
    of_first = used(stack, first)
    slow_streams(stack, tokens=250)
    streams = [Stream(stack).wait_begun() for _ in range(2)]
    stack.redis = replica
    wait_until("the replica to know of all", lambda: spent(stack) > of_first and
               {s.id for s in streams} <= open_records(stack))
    with Load(stack, n_threads=4, stream=True, max_tokens=20) as load:
        load.wait_more(4)
        mark = len(agent.log())
        stack.children["redis"].stop(signal.SIGKILL)
        agent.wait_log("no connection", after=mark)
        load.wait_more(4)  # counted by the agent meanwhile
        assert streams[0].complete()
        wait_until("its settle to wait", lambda: stack.metric("foundry_store_writes_pending") > 0)
        replica.replicaof("NO", "ONE")
        agent.wait_log(rf"port={port} pending=\d+ msg=connected", after=mark)
        connected = len(agent.log())
        load.wait_more(4)  # counted by the new primary
        assert streams[1].complete()
    load.all_fine()

    wait_until("all settles", lambda: stack.metric("foundry_store_writes_pending") == 0)
    counted = {json.loads(e["entry"])["id"] for _, e in stack.redis.xrange("gw:{demo}:ledger")}
    assert {s.id for s in streams} <= counted
    ends = [fields(line) for line in agent.log()[connected:].splitlines() if " info usage " in line]
    assert {u["id"] for u in ends} & counted
    wait_until("the books to agree", lambda: books_agree(stack))
    assert not {s.id for s in streams} & open_records(stack)
    assert spent(stack) >= of_first + used(stack, *[s.id for s in streams])


def test_demoted_primary_is_left(make_stack):
    """They change places while both live: the first write tells the agent."""
    stack, replica, port = with_replica(make_stack, on_store_failure="local")
    agent = stack.children["agent"]
    first = stack.chat()
    before = used(stack, first)
    old, stack.redis = stack.redis, replica
    wait_until("the replica to know of it", lambda: spent(stack) == before and not open_records(stack))
    replica.replicaof("NO", "ONE")
    old.replicaof("127.0.0.1", port)
    assert stack.chat().status_code == 200  # decided here: Redis did not write
    agent.wait_log(rf"port={port} pending=\d+ msg=connected")
    after = stack.chat()
    assert after.status_code == 200
    wait_until("both to be counted", lambda: spent(stack) == before + used(stack, after))


# ------------------------------------------------------- what Redis may refuse


def all_that_is_done(config):
    by_day(config)
    config["objects"] = {"resource": "east"}


def do_all_that_is_done(stack):
    answer = stack.chat()
    assert answer.status_code == 200
    wait_until("it to be counted", lambda: spent(stack) == used(stack, answer) and not open_records(stack))
    assert stack.redis.xlen("gw:{demo}:ledger") == 1
    with stack.client() as client:
        head = {"authorization": f"Bearer {stack.token()}"}
        made = client.post("/openai/v1/conversations", json={}, headers=head)
        assert made.status_code == 200, made.text
        assert client.get(f"/openai/v1/conversations/{made.json()['id']}", headers=head).status_code == 200
    for words in (["show"], ["set", "--limit", "demo-tokens", "--amount", "5"], ["audit"],
                  ["set", "--limit", "demo-tokens", "--amount", "configured"], ["reset", "--limit", "demo-tokens"],
                  ["block", "--consumer", "tiny"], ["unblock", "--consumer", "tiny"]):
        told = limits(stack, *words)
        assert told.returncode == 0, told.stderr


def test_each_call_keeps_to_one_slot(make_stack):
    """A cluster refuses scripts whose keys are in several."""
    stack = make_stack(start=False, change=all_that_is_done)
    stack.config["ledger"] = {"file": str(stack.folder / "ledger.jsonl")}
    stack.start_redis("--cluster-enabled", "yes", "--cluster-port", free_port())
    stack.redis.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    wait_until("the cluster", lambda: stack.redis.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    stack.start_sim()
    stack.start_agent()
    stack.start_haproxy()
    do_all_that_is_done(stack)


def test_user_of_the_readme_may_do_all_that_is_done(make_stack):
    """And nothing else: the other keys, and what harms everybody."""
    (rights,) = re.findall(r"`ACL SETUSER gateway on >PASSWORD (.*)`", (ROOT / "spoa/store/README.md").read_text())

    def change(config):
        all_that_is_done(config)
        config["redis"]["url"] = config["redis"]["url"].replace("//", "//gateway@")

    stack = make_stack(start=False, change=change)
    stack.config["ledger"] = {"file": str(stack.folder / "ledger.jsonl")}
    stack.config["redis"]["password_file"] = str(stack.folder / "password")
    (stack.folder / "password").write_text("hush")
    stack.start_redis()
    stack.redis.execute_command("ACL", "SETUSER", "gateway", "on", ">hush", *rights.split())
    stack.start_sim()
    stack.start_agent()
    stack.start_haproxy()

    do_all_that_is_done(stack)
    assert stack.redis.acl_log() == []

    theirs = redis.Redis(port=stack.ports["redis"], username="gateway", password="hush")
    for harm in (["SET", "other", "1"], ["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["SCRIPT", "FLUSH"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            theirs.execute_command(*harm)


# ------------------------------------------------------------------------ Entra


def test_entra_token_is_the_password(make_stack):
    """Redis lets in whoever shows the token that Azure issued, and nobody else.
    The token ends in seconds: the next one counts on the same connection."""
    def change(config):
        by_day(config)
        config["redis"]["credential"] = "mi"

    stack = make_stack(start=False, change=change)
    stack.start_redis()
    stack.redis.execute_command("ACL", "SETUSER", SYSTEM_OID, "on", ">not-the-token", "~*", "+@all")
    stack.start_sim()
    stack.sim.post("/control/defaults", token_lifetime_s=24)  # renewed at half of it
    agent = stack.start_agent(ready=False)
    agent.wait_log("AUTH refused")
    stack.sim.post("/control/defaults", token_lifetime_s=86700)
    token = stack.sim.http.get("/control/redis-token").text
    assert token.count(".") == 2
    stack.redis.execute_command("ACL", "SETUSER", SYSTEM_OID, f">{token}")
    agent.wait_log("msg=connected")
    stack.wait_ready()
    (mine,) = [c for c in stack.redis.client_list() if c["user"] == SYSTEM_OID]

    def logins():
        return stack.redis.info("commandstats")["cmdstat_auth"]["calls"]

    before, mark = logins(), len(agent.log())
    stack.redis.execute_command("ACL", "SETUSER", SYSTEM_OID, "nopass")
    wait_until("the renewed token", lambda: logins() > before)
    assert [c["id"] for c in stack.redis.client_list() if c["user"] == SYSTEM_OID] == [mine["id"]]
    renewed = stack.sim.http.get("/control/redis-token").text
    assert renewed != token

    stack.start_haproxy()
    answer = stack.chat()
    assert answer.status_code == 200 and spent(stack) > 0
    assert not [said for said in ("no connection", token, renewed) if said in agent.log()[mark:]]
    assert token not in agent.log()

    # a command gets a token of its own, and Redis knows its user
    told = limits(stack, "show")
    assert told.returncode == 0, told.stderr
    assert "demo-tokens" in told.stdout and "token received" not in told.stderr
    stack.redis.execute_command("ACL", "SETUSER", SYSTEM_OID, "resetpass")
    told = limits(stack, "show")
    assert told.returncode == 1 and "AUTH refused" in told.stderr


def test_no_token_for_redis_yet(make_stack):
    """Without one nothing is tried; the first that comes is used at once."""
    def change(config):
        by_day(config)
        config["redis"].update(credential="other", required=False)
        config["credentials"]["other"] = {**config["credentials"]["mi"], "client_id": SYSTEM_OID}

    stack = make_stack(start=False, change=change)
    stack.start_redis()
    stack.start_sim()
    stack.sim.fault(match={"endpoint": "imds"}, status=500, times=-1)
    agent = stack.start_agent(ready=False)
    agent.wait_log("no token for it yet")
    told = limits(stack, "show")
    assert told.returncode == 1 and 'no token for Redis from credential "other"' in told.stderr
    assert "cmdstat_auth" not in stack.redis.info("commandstats")
    stack.redis.execute_command("ACL", "SETUSER", "88888888-0000-0000-0000-888888888888", "on", "nopass", "~*", "+@all")
    stack.sim.http.delete("/control/fault").raise_for_status()
    agent.wait_log("msg=connected")
    stack.wait_ready()
