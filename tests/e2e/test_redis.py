"""Redis as operators run it: a primary with a replica, a cluster, a user with few rights, and Entra
tokens in place of a password."""
import re
import signal

import pytest
import redis

from harness import REDIS, ROOT, agent_command, free_port, wait_until
from steps import (Load, Stream, by_day, open_records, reserved_by, slow_streams, spent, stream_entries, tokens_of,
                   used, with_ledger)

SYSTEM_OID = "66666666-6666-6666-6666-666666666666"  # of the simulator's managed identity


def limits(stack, verb, *words):
    return agent_command("limits", verb, stack.folder / "gateway.json", *words)


# ------------------------------------------------------ a primary and a replica


def start_replica(stack, port):
    folder = stack.folder / "replica"
    folder.mkdir()
    stack.redis.config_set("repl-diskless-sync-delay", 0)  # by default it waits for more replicas
    stack.start_child("replica", [REDIS, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
                             "--dir", folder, "--replicaof", "127.0.0.1", stack.ports["redis"]])
    replica = redis.Redis(port=port, decode_responses=True)

    def follows():
        try:
            return replica.info("replication")["master_link_status"] == "up"
        except redis.ConnectionError:  # also raised while the server loads its data
            return False

    wait_until("the replica to follow", follows)
    return replica


def with_replica(make_stack, **limit):
    """The stack, its replica and the replica's port. The replica is the first in the list of URLs:
    the agent must pass over it."""
    port = free_port()

    def change(config):
        with_ledger(config)
        by_day(config, **limit)
        config["redis"].update(url=[f"redis://127.0.0.1:{port}/0", config["redis"]["url"]], required=False)

    replicas = []
    stack = make_stack(change=change, before_agent=lambda stack: replicas.append(start_replica(stack, port)))
    log = stack.children["agent"].wait_log(rf"port={stack.ports['redis']} pending=0 msg=connected").string
    assert "it is a replica" in log
    return stack, replicas[0], port


def books_agree(stack):
    """What Redis counted is the sum of what was settled and of what is still reserved."""
    settled = stream_entries(stack)
    assert len({e["id"] for e in settled}) == len(settled)  # none twice
    still_open = open_records(stack)
    reserved = sum(reserved_by(d) for d in stack.lines("decision") if d["id"] in still_open)
    return spent(stack) == sum(map(tokens_of, settled)) + reserved


def test_replica_takes_over(make_stack):
    """The primary is killed under load and its replica is promoted. Callers do not notice, and
    counting goes on from what was replicated."""
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
        mark = agent.mark()
        stack.children["redis"].stop(signal.SIGKILL)
        agent.wait_log("no connection", after=mark)
        load.wait_more(4)  # counted by the agent meanwhile
        assert streams[0].complete()
        wait_until("its settle to wait", lambda: stack.metric("foundry_store_writes_pending") > 0)
        replica.replicaof("NO", "ONE")
        agent.wait_log(rf"port={port} pending=\d+ msg=connected", after=mark)
        connected = agent.mark()
        load.wait_more(4)  # counted by the new primary
        assert streams[1].complete()
    load.all_fine()

    wait_until("all settles", lambda: stack.metric("foundry_store_writes_pending") == 0)
    counted = {e["id"] for e in stream_entries(stack)}
    assert {s.id for s in streams} <= counted
    wait_until("a usage line of a counted request",
               lambda: {u["id"] for u in stack.lines("usage", after=connected)} & counted)
    wait_until("the books to agree", lambda: books_agree(stack))
    assert not {s.id for s in streams} & open_records(stack)
    assert spent(stack) >= of_first + used(stack, *[s.id for s in streams])


def test_agent_leaves_a_demoted_primary(make_stack):
    """Primary and replica change places while both run. The agent learns it from the first write."""
    stack, replica, port = with_replica(make_stack, on_store_failure="local")
    agent = stack.children["agent"]
    first = stack.chat()
    before = used(stack, first)
    old, stack.redis = stack.redis, replica
    wait_until("the replica to know of it", lambda: spent(stack) == before and not open_records(stack))
    replica.replicaof("NO", "ONE")
    old.replicaof("127.0.0.1", port)
    assert stack.chat().status_code == 200  # decided by the agent: Redis did not write
    agent.wait_log(rf"port={port} pending=\d+ msg=connected")
    after = stack.chat()
    assert after.status_code == 200
    wait_until("both to be counted", lambda: spent(stack) == before + used(stack, after))


# ------------------------------------------------------ what Redis may refuse


def with_every_command(config):
    with_ledger(config)
    config["objects"] = {"resource": "east"}


def use_every_command(stack):
    """Makes the agent and its commands send every command that they send to Redis."""
    answer = stack.chat()
    assert answer.status_code == 200
    wait_until("it to be counted", lambda: spent(stack) == used(stack, answer) and not open_records(stack))
    assert stack.redis.xlen("gw:{demo}:ledger") == 1
    made = stack.post("/openai/v1/conversations", json={})
    assert made.status_code == 200, made.text
    assert stack.get(f"/openai/v1/conversations/{made.json()['id']}").status_code == 200
    for words in (["show"], ["set", "--limit", "demo-tokens", "--amount", "5"], ["audit"],
                  ["set", "--limit", "demo-tokens", "--amount", "configured"], ["reset", "--limit", "demo-tokens"],
                  ["block", "--consumer", "tiny"], ["unblock", "--consumer", "tiny"]):
        told = limits(stack, *words)
        assert told.returncode == 0, told.stderr


def test_each_command_keeps_to_one_slot_of_a_cluster(make_stack):
    """A cluster refuses scripts whose keys are in several slots."""
    stack = make_stack(start=False, change=with_every_command)

    def give_slots(stack):
        stack.redis.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until("the cluster", lambda: stack.redis.execute_command("CLUSTER INFO")["cluster_state"] == "ok")

    stack.start(before_agent=give_slots, redis_args=["--cluster-enabled", "yes", "--cluster-port", free_port()])
    use_every_command(stack)


def test_redis_user_of_the_readme_has_the_rights_that_the_agent_needs(make_stack, tmp_path):
    """And no others."""
    (rights,) = re.findall(r"`ACL SETUSER gateway on >PASSWORD (.*)`", (ROOT / "spoa/store/README.md").read_text())
    (tmp_path / "password").write_text("hush")

    def change(config):
        with_every_command(config)
        config["redis"]["url"] = config["redis"]["url"].replace("//", "//gateway@")
        config["redis"]["password_file"] = str(tmp_path / "password")

    stack = make_stack(change=change, before_agent=lambda stack: stack.redis.execute_command(
        "ACL", "SETUSER", "gateway", "on", ">hush", *rights.split()))
    use_every_command(stack)
    assert stack.redis.acl_log() == []

    theirs = redis.Redis(port=stack.ports["redis"], username="gateway", password="hush")
    for harm in (["SET", "other", "1"], ["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["SCRIPT", "FLUSH"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            theirs.execute_command(*harm)


# ------------------------------------------------------------------------ Entra


def with_entra(config):
    by_day(config)
    config["redis"]["credential"] = "mi"


def redis_token(stack):
    """The token for Redis that the simulator issued last."""
    token = stack.sim.http.get("/control/redis-token").text
    assert token.count(".") == 2
    return token


def set_user(stack, *rules):
    stack.redis.execute_command("ACL", "SETUSER", SYSTEM_OID, *rules)


def test_entra_token_is_the_password(make_stack):
    """Redis accepts only the token that Azure issued. It ends in seconds; the agent logs in with the
    next one on the same connection."""
    def before_agent(stack):
        set_user(stack, "on", ">not-the-token", "~*", "+@all")
        stack.sim.defaults(token_lifetime_s=24)  # renewed at half of it

    stack = make_stack(change=with_entra, before_agent=before_agent, ready=False)
    agent = stack.children["agent"]
    agent.wait_log("AUTH refused")
    stack.sim.defaults(token_lifetime_s=86700)
    token = redis_token(stack)
    set_user(stack, f">{token}")
    agent.wait_log("msg=connected")
    stack.wait_ready()
    connections = lambda: [c["id"] for c in stack.redis.client_list() if c["user"] == SYSTEM_OID]
    logins = lambda: stack.redis.info("commandstats")["cmdstat_auth"]["calls"]
    (mine,) = connections()
    before, mark = logins(), agent.mark()
    set_user(stack, "nopass")
    wait_until("the renewed token", lambda: logins() > before)
    assert connections() == [mine]
    renewed = redis_token(stack)
    assert renewed != token

    answer = stack.chat()
    assert answer.status_code == 200 and spent(stack) > 0
    assert not [said for said in ("no connection", token, renewed) if said in agent.log()[mark:]]
    assert token not in agent.log()


def test_limits_command_logs_in_with_a_token_of_its_own(make_stack):
    stack = make_stack(change=with_entra, before_agent=lambda stack: set_user(stack, "on", "nopass", "~*", "+@all"))
    assert stack.chat().status_code == 200
    told = limits(stack, "show")
    assert told.returncode == 0, told.stderr
    assert "demo-tokens" in told.stdout and "token received" not in told.stderr
    set_user(stack, "resetpass")
    told = limits(stack, "show")
    assert told.returncode == 1 and "AUTH refused" in told.stderr


def test_without_a_token_for_redis_the_agent_does_not_log_in(make_stack):
    """It uses the first token that comes at once."""
    def change(config):
        by_day(config)
        config["redis"].update(credential="other", required=False)
        config["credentials"]["other"] = {**config["credentials"]["mi"], "client_id": SYSTEM_OID}

    stack = make_stack(change=change, ready=False,
                       before_agent=lambda s: s.sim.fault(match={"endpoint": "imds"}, status=500, times=-1))
    agent = stack.children["agent"]
    agent.wait_log("no token for it yet")
    told = limits(stack, "show")
    assert told.returncode == 1 and 'no token for Redis from credential "other"' in told.stderr
    assert "cmdstat_auth" not in stack.redis.info("commandstats")
    stack.redis.execute_command("ACL", "SETUSER", "88888888-0000-0000-0000-888888888888", "on", "nopass", "~*", "+@all")
    stack.sim.clear_faults()
    agent.wait_log("msg=connected")
    stack.wait_ready()
