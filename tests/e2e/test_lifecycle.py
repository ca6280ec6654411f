"""The processes come and go: agent, its workers, HAProxy. Requests go on."""
import json
import os
import re
import signal
import socket

from harness import GATEWAY_KEY, TENANT, request_id, sse_events, wait_until
from steps import (Load, Stream, by_day, error_code, fast_streams, open_records, retry_after,
                   slow_streams, spent, used, wait_spent)


def bucket(stack, n):
    """Reserved for a stream whose usage nobody told: the estimate."""
    decision = stack.decision(n)
    return int(decision["prompt"]) + int(decision["output"])


def wait_worker_pids(stack, n):
    """Workers are children of the agent."""
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
    kept = sum(bucket(stack, s.id) for s in streams)
    stack.children["agent"].stop(signal.SIGKILL)

    for path, code in (("/openai/v1/chat/completions", "decision_unavailable"), ("/anthropic/v1/messages", None)):
        answer = stack.chat(path=path)
        assert answer.status_code == 503, answer.text
        assert "decision_unavailable" in answer.text
        assert answer.headers["content-type"] == "application/json"
        retry_after(answer)
        assert code is None or error_code(answer) == code
    assert all(s.running() for s in streams), "the streams end too early for this test"
    assert all(s.complete() for s in streams)

    # the usage records of the streams found nobody: the estimates stay
    fast_streams(stack)
    assert spent(stack) == kept
    stack.start_agent()
    stack.wait_agent_up()
    answer = wait_until("an answer", lambda: (a := stack.chat()).status_code == 200 and a)
    wait_spent(stack, kept + used(stack, answer))
    assert open_records(stack) == {s.id for s in streams}


def test_stopping_agent_answers_the_decision_it_has_begun(make_stack):
    def change(config):
        by_day(config)
        config["decision_timeout_ms"] = 9000

    stack = make_stack(start=False, change=change, env={"GATEWAY_SPOE_TIMEOUT": "10s"})
    stack.start_redis()
    stack.start_sim()
    stack.sim.fault(match={"endpoint": "imds"}, delay_ms=2500)
    agent = stack.start_agent(ready=False)
    stack.start_haproxy()
    assert (stack.folder / "spop.sock").exists()
    stream = Stream(stack)
    wait_until("the request to be parked", lambda: stack.metric("foundry_inflight_requests") == 1)
    agent.signal(signal.SIGTERM)
    agent.wait_log("draining")
    assert stream.complete()
    agent.process.wait(30)
    assert agent.process.returncode == 0
    assert not (stack.folder / "spop.sock").exists()
    assert stack.decision(stream.id)["verdict"] == "allow"


def test_stopping_agent_sends_the_settles_that_wait(make_stack):
    def change(config):
        by_day(config)
        config["redis"]["required"] = False

    stack = make_stack(change=change)
    slow_streams(stack)
    stream = Stream(stack).wait_begun()
    hung, agent = stack.children["redis"], stack.children["agent"]
    hung.signal(signal.SIGSTOP)
    try:
        assert stream.complete()
        wait_until("the settle to wait", lambda: stack.metric("foundry_store_writes_pending") == 1)
        agent.signal(signal.SIGTERM)
        agent.wait_log("draining")
    finally:
        hung.signal(signal.SIGCONT)
    agent.process.wait(30)
    assert agent.process.returncode == 0
    reported = json.loads(sse_events(stream.text)[-2])["usage"]
    assert spent(stack) == used(stack, stream.id) == reported["total_tokens"]
    assert open_records(stack) == set()


def test_agent_starts_where_a_killed_one_left_its_socket(make_stack):
    stack = make_stack()
    stack.children["agent"].stop(signal.SIGKILL)
    assert (stack.folder / "spop.sock").exists()
    stack.start_agent()
    stack.wait_agent_up()
    wait_until("an answer", lambda: stack.chat().status_code == 200)


# ---------------------------------------------------------------- agent: reload


def reload_agent(stack, expect):
    agent = stack.children["agent"]
    before = len(agent.log())
    stack.write_config()
    agent.signal(signal.SIGHUP)
    agent.wait_log(expect, after=before)
    return agent.log()[before:]


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
            reload_agent(stack, "gateway.json loaded")
            load.wait_more(4)
            answer = stack.chat(model=f"gpt-new{n}")
            assert answer.status_code == 200, answer.text
            load.answers.append(answer)
    load.all_fine()
    wait_spent(stack, used(stack, *load.answers))
    assert open_records(stack) == set()


def test_broken_file_changes_nothing_and_says_where(make_stack):
    stack = make_stack(change=by_day)
    with Load(stack) as load:
        load.wait_more()
        add_model(stack, "gpt-new")
        stack.config["models"]["gpt-4o"]["deployments"][0]["resource"] = "nowhere"
        stack.config["limits"]["demo-tokens"]["amuont"] = 5
        said = reload_agent(stack, "the old configuration stays in force")
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
    reload_agent(stack, "gateway.json loaded")
    answer = stack.chat(token=token)
    assert answer.status_code == 401, answer.text
    key = stack.chat(token="", headers={"api-key": GATEWAY_KEY})
    assert key.status_code == 200, key.text
    stack.config["tenants"]["contoso"]["id"] = TENANT
    reload_agent(stack, "gateway.json loaded")
    wait_until("the tenant to be back", lambda: stack.chat(token=token).status_code == 200)


def test_removed_gateway_key_stops_working(make_stack):
    stack = make_stack()
    ask = lambda: stack.chat(token="", headers={"api-key": GATEWAY_KEY}).status_code
    assert ask() == 200
    stack.config["keys"]["entries"]["dev-key"]["sha256"] = "00" * 32
    reload_agent(stack, "gateway.json loaded")
    assert ask() == 401


def test_stream_over_a_reload_is_settled_by_the_limits_it_began_with(make_stack):
    stack = make_stack(change=by_day)
    slow_streams(stack)
    stream = Stream(stack).wait_begun()
    stack.config["limits"]["demo-tokens"]["amount"] = 777777
    stack.config["models"]["gpt-4o"]["price"]["output"] = 99
    reload_agent(stack, "gateway.json loaded")
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
    assert stack.metric("foundry_usage_records_total", result="settled") == len(load.answers)
    assert open_records(stack) == set()


def test_reload_reaches_every_worker(make_stack):
    stack = make_stack(change=two_workers)
    add_model(stack, "gpt-new")
    with Load(stack, n_threads=6) as load:
        load.wait_more()
        said = reload_agent(stack, r"(?s)loaded.*loaded")
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
    # one connection of HAProxy goes to one worker: enough streams for both
    streams = [Stream(stack).wait_begun() for _ in range(6)]
    mark = len(agent.log())
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
    reload_agent(stack, r"(?s)loaded.*loaded")
    # a broken file must not stop the new worker, nor take it back in time
    stack.config["models"]["broken"] = {}
    reload_agent(stack, r"(?s)stays in force.*stays in force")
    mark = len(agent.log())
    for pid in pids:
        kill(pid)
    agent.wait_log(r"(?s)msg=\"serving\".*msg=\"serving\"", after=mark)
    wait_worker_pids(stack, 2)
    stack.wait_ready()
    stack.wait_agent_up()
    wait_until("an answer", lambda: stack.chat().status_code == 200)
    with Load(stack, n_threads=4, model="gpt-new") as load:
        load.wait_more(20)
    load.all_fine()


def test_workers_end_when_their_parent_is_killed(make_stack):
    stack = make_stack(change=two_workers)
    pids = wait_worker_pids(stack, 2)
    stack.children["agent"].stop(signal.SIGKILL)
    wait_until("the workers to end", lambda: not any(is_running(p) for p in pids))
    stack.start_agent()
    stack.wait_agent_up()
    wait_until("an answer", lambda: stack.chat().status_code == 200)


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
    agent.process.wait(30)
    assert agent.process.returncode == 0
    assert not any(is_running(p) for p in pids)
    assert not (stack.folder / "spop.sock").exists()


# --------------------------------------------------------------------- HAProxy


def reload_haproxy(stack):
    """As an init system does: the new process takes the sockets over."""
    old = stack.children.pop("haproxy")
    stack.children["haproxy-old"] = old
    argv = stack.haproxy_argv() + ["-x", stack.folder / "haproxy.sock", "-sf", old.pid]
    new = stack._start("haproxy", argv, stack.full_haproxy_env())

    def replaced():
        assert new.alive(), new.log()[-4000:]
        return answering_pid(stack) == new.pid

    wait_until("the new process to serve", replaced)
    return old, new


def answering_pid(stack):
    """Of the process that has the runtime socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(stack.folder / "haproxy.sock"))
        s.sendall(b"show info\n")
        said = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    return int(re.search(r"(?m)^Pid: (\d+)$", said).group(1))


def test_haproxy_reload_during_streams(make_stack):
    stack = make_stack(change=by_day)
    slow_streams(stack, tokens=200)
    streams = [Stream(stack).wait_begun() for _ in range(3)]
    fast_streams(stack)
    # A connection that is kept alive ends with the old process, and a request
    # may cross its end on the way: that is HTTP. A new one must be served.
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
