"""Starts, stops, reloads and deaths of the agent, its workers and HAProxy while requests run."""
import os
import re
import signal

from harness import CHAT, GATEWAY_KEY, TENANT, wait_until
from steps import (Load, Stream, by_day, error_code, fast_streams, open_records, reserved_by, retry_after,
                   slow_streams, spent, usage_records, used, wait_spent)


def wait_worker_pids(stack, n):
    """The pids of the workers, which are children of the agent, when there are n."""
    def children():
        path = f"/proc/{stack.children['agent'].pid}/task/{stack.children['agent'].pid}/children"
        pids = [int(p) for p in open(path).read().split()]
        return pids if len(pids) == n else None

    return wait_until(f"{n} workers", children)


# ------------------------------------------------------------- agent: its end


def test_agent_is_killed_during_streams_and_comes_back(make_stack):
    stack = make_stack(change=by_day)
    slow_streams(stack, tokens=100)
    streams = [Stream(stack).wait_begun() for _ in range(3)]
    kept = sum(reserved_by(stack.decision(s.id)) for s in streams)
    stack.children["agent"].stop(signal.SIGKILL)

    for path, code in ((CHAT, "decision_unavailable"), ("/anthropic/v1/messages", None)):
        answer = stack.chat(path=path)
        assert answer.status_code == 503, answer.text
        assert "decision_unavailable" in answer.text
        assert answer.headers["content-type"] == "application/json"
        retry_after(answer)
        assert code is None or error_code(answer) == code
    assert all(s.running() for s in streams), "the streams end too early for this test"
    assert all(s.complete() for s in streams)

    # the usage records of the streams reached no agent: the estimates stay charged
    fast_streams(stack)
    assert spent(stack) == kept
    stack.restart_agent()
    answer = stack.wait_served()
    wait_spent(stack, kept + used(stack, answer))
    assert open_records(stack) == {s.id for s in streams}


def test_stopping_agent_finishes_the_decision_that_it_has_begun(make_stack):
    def change(config):
        by_day(config)
        config["decision_timeout_ms"] = 9000

    stack = make_stack(change=change, env={"GATEWAY_SPOE_TIMEOUT": "10s"}, ready=False,
                       before_agent=lambda s: s.sim.fault(match={"endpoint": "imds"}, delay_ms=2500))
    agent = stack.children["agent"]
    assert (stack.folder / "spop.sock").exists()
    stream = Stream(stack)
    wait_until("the request to be parked", lambda: stack.metric("foundry_inflight_requests") == 1)
    agent.signal(signal.SIGTERM)
    agent.wait_log("draining")
    assert stream.complete()
    assert agent.wait_end() == 0
    assert not (stack.folder / "spop.sock").exists()
    assert stack.decision(stream.id)["verdict"] == "allow"


def test_stopping_agent_sends_the_settles_that_wait(make_stack):
    def change(config):
        by_day(config)
        config["redis"]["required"] = False

    stack = make_stack(change=change)
    slow_streams(stack)
    stream = Stream(stack).wait_begun()
    agent = stack.children["agent"]
    with stack.children["redis"].frozen():
        assert stream.complete()
        wait_until("the settle to wait", lambda: stack.metric("foundry_store_writes_pending") == 1)
        agent.signal(signal.SIGTERM)
        agent.wait_log("draining")
    assert agent.wait_end() == 0
    assert spent(stack) == used(stack, stream.id) == stream.usage()["total_tokens"]
    assert open_records(stack) == set()


def test_agent_starts_where_a_killed_one_left_its_socket(make_stack):
    stack = make_stack()
    stack.children["agent"].stop(signal.SIGKILL)
    assert (stack.folder / "spop.sock").exists()
    stack.restart_agent()
    stack.wait_served()


# ---------------------------------------------------------------- agent: reload


def add_model(stack, name):
    stack.config["models"][name] = {
        "deployments": [{"resource": "west", "name": f"{name}-west", "surface": "azure"}]}


def test_reload_under_load_loses_no_request(make_stack):
    stack = make_stack(change=by_day)
    assert stack.chat(model="gpt-new").status_code == 404
    with Load(stack) as load:
        load.wait_more()
        for n in range(5):
            add_model(stack, f"gpt-new{n}")
            stack.reload_agent()
            load.wait_more(4)
            answer = stack.chat(model=f"gpt-new{n}")
            assert answer.status_code == 200, answer.text
            load.answers.append(answer)
    load.all_fine()
    wait_spent(stack, used(stack, *load.answers))
    assert open_records(stack) == set()


def test_reload_of_a_broken_file_changes_nothing_and_logs_its_errors(make_stack):
    stack = make_stack(change=by_day)
    with Load(stack) as load:
        load.wait_more()
        add_model(stack, "gpt-new")
        stack.config["models"]["gpt-4o"]["deployments"][0]["resource"] = "nowhere"
        stack.config["limits"]["demo-tokens"]["amuont"] = 5
        said = stack.reload_agent("the old configuration stays in force")
        assert "models.gpt-4o.deployments[0].resource" in said
        assert "limits.demo-tokens.amuont" in said
        assert stack.metric("foundry_reloads_total", result="refused") == 1
        load.wait_more()
        assert stack.chat(model="gpt-new").status_code == 404
    load.all_fine()


def test_tokens_of_a_removed_tenant_stop_working(make_stack):
    stack = make_stack()
    token = stack.token()
    assert stack.chat(token=token).status_code == 200
    other = "99999999-0000-0000-0000-999999999999"
    stack.config["tenants"]["contoso"]["id"] = other
    stack.reload_agent()
    answer = stack.chat(token=token)
    assert answer.status_code == 401, answer.text
    key = stack.chat(token="", headers={"api-key": GATEWAY_KEY})
    assert key.status_code == 200, key.text
    stack.config["tenants"]["contoso"]["id"] = TENANT
    stack.reload_agent()
    wait_until("the tenant to be back", lambda: stack.chat(token=token).status_code == 200)


def test_removed_gateway_key_stops_working(make_stack):
    stack = make_stack()
    ask = lambda: stack.chat(token="", headers={"api-key": GATEWAY_KEY}).status_code
    assert ask() == 200
    stack.config["keys"]["entries"]["dev-key"]["sha256"] = "00" * 32
    stack.reload_agent()
    assert ask() == 401


def test_stream_over_a_reload_is_settled_by_the_limits_it_began_with(make_stack):
    stack = make_stack(change=by_day)
    slow_streams(stack)
    stream = Stream(stack).wait_begun()
    stack.config["limits"]["demo-tokens"]["amount"] = 777777
    stack.config["models"]["gpt-4o"]["price"]["output"] = 99
    stack.reload_agent()
    assert stream.running()
    assert stream.complete()
    assert used(stack, stream.id) == spent(stack)
    assert open_records(stack) == set()


# --------------------------------------------------------------------- workers


def two_workers(config):
    by_day(config)
    config["workers"] = 2


def kill(pid):
    """Only pids that wait_worker_pids() found among our own children."""
    os.kill(pid, signal.SIGKILL)


def test_two_workers_share_limits_and_metrics(make_stack):
    stack = make_stack(change=two_workers)
    wait_worker_pids(stack, 2)
    with Load(stack, n_threads=6) as load:
        load.wait_more(60)
    load.all_fine()
    wait_spent(stack, used(stack, *load.answers))
    assert stack.metric("foundry_requests_total", verdict="allow") == len(load.answers)
    assert usage_records(stack, "settled") == len(load.answers)
    assert open_records(stack) == set()
    # each worker writes its own gauges, and each gauge has one writer
    page = stack.agent_get("/metrics").text
    for gauge in ("foundry_spop_connections", "foundry_inflight_requests", "foundry_worker_ready"):
        assert re.findall(rf"^{gauge}{{(.*)}} ", page, re.M) == ['worker="0"', 'worker="1"']


def test_reload_reaches_every_worker(make_stack):
    stack = make_stack(change=two_workers)
    add_model(stack, "gpt-new")
    with Load(stack, n_threads=6) as load:
        load.wait_more()
        said = stack.reload_agent(r"(?s)loaded.*loaded")
        assert {"worker=0", "worker=1"} <= set(re.findall(r"worker=\d", said))
        with Load(stack, n_threads=6, model="gpt-new") as new:
            new.wait_more(40)
        new.all_fine()
    load.all_fine()


def test_killed_worker_is_replaced_and_its_requests_are_settled(make_stack):
    stack = make_stack(change=two_workers)
    pids = wait_worker_pids(stack, 2)
    agent = stack.children["agent"]
    slow_streams(stack, tokens=150)
    # each connection of HAProxy goes to one worker; this many streams reach both
    streams = [Stream(stack).wait_begun() for _ in range(6)]
    mark = agent.mark()
    kill(pids[0])
    agent.wait_log("will be replaced", after=mark)
    agent.wait_log("msg=\"serving\"", after=mark)
    replaced = wait_worker_pids(stack, 2)
    assert pids[1] in replaced and pids[0] not in replaced
    assert all(s.running() for s in streams)
    assert all(s.complete() for s in streams)
    fast_streams(stack)
    wait_spent(stack, used(stack, *[s.id for s in streams]))
    assert open_records(stack) == set()
    stack.wait_ready()
    stack.wait_agent_up()
    with Load(stack, n_threads=4) as load:
        load.wait_more(20)
    load.all_fine()


def test_replaced_worker_has_the_configuration_in_force(make_stack):
    stack = make_stack(change=two_workers)
    pids = wait_worker_pids(stack, 2)
    agent = stack.children["agent"]
    add_model(stack, "gpt-new")
    stack.reload_agent(r"(?s)loaded.*loaded")
    # a new worker neither stops at the broken file nor starts with an older configuration
    stack.config["models"]["broken"] = {}
    stack.reload_agent(r"(?s)stays in force.*stays in force")
    mark = agent.mark()
    for pid in pids:
        kill(pid)
    agent.wait_log(r"(?s)msg=\"serving\".*msg=\"serving\"", after=mark)
    wait_worker_pids(stack, 2)
    stack.wait_ready()
    stack.wait_agent_up()
    stack.wait_served()
    with Load(stack, n_threads=4, model="gpt-new") as load:
        load.wait_more(20)
    load.all_fine()


def test_workers_end_when_their_parent_is_killed(make_stack):
    stack = make_stack(change=two_workers)
    pids = wait_worker_pids(stack, 2)
    stack.children["agent"].stop(signal.SIGKILL)
    wait_until("the workers to end", lambda: not any(is_running(p) for p in pids))
    stack.restart_agent()
    stack.wait_served()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_drain_together(make_stack):
    stack = make_stack(change=two_workers)
    pids = wait_worker_pids(stack, 2)
    assert stack.chat().status_code == 200
    agent = stack.children["agent"]
    agent.signal(signal.SIGTERM)
    assert agent.wait_end() == 0
    assert not any(is_running(p) for p in pids)
    assert not (stack.folder / "spop.sock").exists()


# --------------------------------------------------------------------- HAProxy


def reload_haproxy(stack):
    """As an init system does it: the new process takes over the sockets. The old and the new one."""
    old = stack.children.pop("haproxy")
    stack.children["haproxy-old"] = old
    argv = stack.haproxy_argv() + ["-x", stack.folder / "haproxy.sock", "-sf", old.pid]
    new = stack.start_child("haproxy", argv, stack.full_haproxy_env())

    def replaced():
        assert new.alive(), new.log()[-4000:]
        return answering_pid(stack) == new.pid

    wait_until("the new process to serve", replaced)
    return old, new


def answering_pid(stack):
    """The process that has the runtime socket."""
    return int(re.search(r"(?m)^Pid: (\d+)$", stack.haproxy_says("show info")).group(1))


def test_haproxy_reload_during_streams(make_stack):
    stack = make_stack(change=by_day)
    slow_streams(stack, tokens=200)
    streams = [Stream(stack).wait_begun() for _ in range(3)]
    fast_streams(stack)
    # Each request has a new connection: the old process closes those that are kept alive, and
    # HTTP allows a request to be lost then.
    with Load(stack, reuse=False) as load:
        load.wait_more()
        old, new = reload_haproxy(stack)
        load.wait_more(20)
        assert old.alive() and all(s.running() for s in streams)
    load.all_fine()
    assert all(s.complete() for s in streams)
    lines = used(stack, *load.answers, *[s.id for s in streams])
    wait_spent(stack, lines)
    assert open_records(stack) == set()
    old.process.wait(60)
    assert new.alive()
