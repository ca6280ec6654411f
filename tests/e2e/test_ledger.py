"""The bill: one line a request, token by token what the simulator served, and
a report whose sums are those of the lines."""
import csv
import io
import json
import re
import signal
import subprocess
from collections import Counter

import httpx
import pytest

from harness import AGENT, GATEWAY_KEY, TINY_APP, Stack, request_id, sse_events, wait_until
from steps import Load, send_usage, slow_streams, Stream, usage_line


def with_ledger(config):
    config["limits"]["demo-tokens"].update(amount=10**12, window="day")
    folder = config["listen"]["spop"][1].removeprefix("unix:").rsplit("/", 1)[0]
    config["ledger"] = {"file": f"{folder}/ledger.jsonl"}


def files(stack):
    return sorted(stack.folder.glob("ledger.jsonl*"))


def lines(stack):
    """All lines of all files; each must be whole."""
    found = []
    for path in files(stack):
        text = path.read_text()
        assert text == "" or text.endswith("\n"), f"{path} ends with half a line"
        found += [json.loads(line) for line in text.splitlines()]
    return found


def wait_lines(stack, n):
    wait_until(f"{n} lines of the ledger", lambda: len(lines(stack)) >= n)
    assert len(lines(stack)) == n
    assert len({e["id"] for e in lines(stack)}) == n
    return {e["id"]: e for e in lines(stack)}


def report(stack, *words):
    done = subprocess.run([AGENT, "report", stack.folder / "gateway.json", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [l for l in done.stderr.splitlines() if not l.startswith("warning: ")]
    assert said == []  # of lines that were left out, for one
    return done.stdout


def report_json(stack, *words):
    """The report with its dollars as text: a float would hide a difference."""
    return json.loads(report(stack, "--format", "json", *words), parse_float=str)


def total(entries, *names):
    return sum(e[n] for e in entries for n in names)


def pico(entry):
    """Of gpt-4o at the prices of the harness: 2.5, 1.25 and 10 USD a million."""
    if entry["model"] != "gpt-4o":
        return 0
    return (entry["input"] - entry["cached"]) * 2500000 + entry["cached"] * 1250000 + entry["output"] * 10000000


def pico_of(usd):
    return int(usd.replace(".", ""))


def usd(entries):
    value = sum(map(pico, entries))
    return f"{value // 10**12}.{value % 10**12:012d}"


def test_lines_are_what_was_served_token_by_token(make_stack):
    stack = make_stack(change=with_ledger)
    answers = {}
    for stream in (False, True):
        for i in range(4):
            body = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            answer = stack.chat(model="gpt-4o", headers={
                "x-sim-prompt-tokens": str(40 + i), "x-sim-cached-tokens": str(i), "x-sim-tokens": str(10 + i)}, **body)
            assert answer.status_code == 200
            usage = json.loads(answer.text.split("data: ")[-2])["usage"] if stream else answer.json()["usage"]
            answers[request_id(answer)] = (stream, usage)
    ledger = wait_lines(stack, 8)
    for rid, (stream, usage) in answers.items():
        line = ledger[rid]
        assert (line["input"], line["cached"], line["output"]) == (
            usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], usage["completion_tokens"])
        assert line["stream"] is stream and line["estimated"] is False
        assert (line["consumer"], line["model"], line["deployment"], line["resource"], line["operation"]) == (
            "demo", "gpt-4o", "gpt-4o-east", "east", "chat")
        assert (line["status"], line["termination"]) == (200, "--")
        assert line["nano_usd"] == -(-pico(line) // 1000)
        assert line["bytes"] > 0 and line["total_ms"] >= 0
    stats = stack.sim.stats()["deployments"]["gpt-4o-east"]
    assert total(ledger.values(), "input") == stats["prompt_tokens"]
    assert total(ledger.values(), "output") == stats["completion_tokens"]


def test_first_token_of_a_stream_is_timed(make_stack):
    """The resource says at once that it has begun, and the first word later."""
    stack = make_stack(change=with_ledger)
    stack.sim.post("/control/defaults", tokens=3, event_delay_ms=200)
    streamed = request_id(stack.chat(model="gpt-4o", path="/openai/deployments/gpt-4o/chat/completions",
                                     stream=True, stream_options={"include_usage": True}))
    plain = request_id(stack.chat(model="gpt-4o"))
    ledger = wait_lines(stack, 2)
    line = ledger[streamed]
    # the first word cannot have come before it was sent; no more is sure
    assert max(150, line["ttfb_ms"]) <= line["ttft_ms"] <= line["total_ms"]
    assert int(stack.usage(streamed)["ttft_ms"]) == line["ttft_ms"]
    assert ledger[plain]["ttft_ms"] == 0


def test_a_client_that_hangs_up_has_one_line(make_stack):
    stack = make_stack(change=with_ledger)
    stack.sim.post("/control/defaults", tokens=1000, event_delay_ms=10)
    stream = Stream(stack).wait_begun()
    stream.leave.set()
    stream.finish()
    (line,) = wait_lines(stack, 1).values()
    assert line["id"] == stream.id and line["estimated"] is True
    assert line["termination"] != "--"
    # one token a streamed event, the prompt from its bytes
    assert line["output"] == line["events"] > 0
    assert line["output"] < 1000
    assert line["input"] >= 1
    (row,) = report_json(stack)
    assert (row["requests"], row["estimated"]) == (1, 1)
    assert (row["input"], row["output"]) == (line["input"], line["output"])


def test_a_settle_whose_answer_is_lost_is_in_both_ledgers_once(make_stack):
    """Redis reads it, but the connection is given up before it answers: it is
    sent again, and whoever sent it is told that it has counted."""
    def change(config):
        with_ledger(config)
        # given up after eight of these: long enough for the settles to be sent
        config["redis"].update(required=False, deadline_ms=500)
        config["decision_timeout_ms"] = 1000

    stack = make_stack(change=change)
    slow_streams(stack, tokens=20)
    streams = [Stream(stack).wait_begun() for _ in range(4)]
    agent, hung = stack.children["agent"], stack.children["redis"]
    hung.signal(signal.SIGSTOP)
    try:
        assert all(s.complete() for s in streams)
        wait_until("the settles to wait", lambda: stack.metric("foundry_store_writes_pending") >= len(streams))
        agent.wait_log("no answer to anything for many deadlines")
    finally:
        hung.signal(signal.SIGCONT)
    ledger = wait_lines(stack, len(streams))
    for s in streams:
        reported = json.loads(sse_events(s.text)[-2])["usage"]
        assert total([ledger[s.id]], "input", "output") == reported["total_tokens"]
    entries = [json.loads(e["entry"]) for _, e in stack.redis.xrange("gw:{demo}:ledger")]
    assert {e["id"]: e for e in entries} == ledger and len(entries) == len(ledger)
    assert stack.metric("foundry_usage_records_total", result="unknown") == 0
    # each has a lag
    assert stack.metric("foundry_settle_lag_seconds_count") == len(streams)


def test_what_is_counted_in_the_memory_of_workers_has_its_lines(make_stack):
    """Redis is away: each worker counts on its own, and usage records come to
    any of them."""
    def change(config):
        with_ledger(config)
        config["workers"] = 2
        config["redis"]["required"] = False
        config["limits"]["demo-tokens"]["on_store_failure"] = "local"

    stack = make_stack(change=change)
    stack.children["redis"].stop()
    answers = [stack.chat() for _ in range(20)]
    assert [a.status_code for a in answers] == [200] * len(answers)
    ledger = wait_lines(stack, len(answers))
    assert set(ledger) == {request_id(a) for a in answers}
    assert total(ledger.values(), "input", "output") == sum(a.json()["usage"]["total_tokens"] for a in answers)
    assert stack.metric("foundry_reservations_open") == 0
    # the same records again, to either worker: nothing counts twice
    for line in list(ledger.values()) * 3:
        send_usage(stack, usage_line(line["id"], account="demo"))
    stack.start_redis()
    wait_until("all records to be judged", lambda: stack.metric(
        "foundry_usage_records_total", result="unknown") == 3 * len(answers))
    assert lines(stack) == list(ledger.values())


def test_what_was_refused_has_no_line(make_stack):
    stack = make_stack(change=with_ledger)
    assert stack.chat(model="forbidden-model").status_code == 403
    assert stack.chat(token="").status_code == 401
    assert stack.chat(token=stack.token(appid=TINY_APP, azp=TINY_APP), max_tokens=5000).status_code == 400
    answer = stack.chat()
    (line,) = wait_lines(stack, 1).values()
    assert line["id"] == request_id(answer)


def test_an_error_of_the_resource_costs_nothing_and_is_told(make_stack):
    stack = make_stack(change=with_ledger)
    stack.sim.fault(status=400)
    answer = stack.chat()
    assert answer.status_code == 400
    (line,) = wait_lines(stack, 1).values()
    assert line["status"] == 400 and line["input"] == line["output"] == line["nano_usd"] == 0
    (row,) = report_json(stack)
    assert (row["requests"], row["failed"], row["input"]) == (1, 1, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_report_sums_are_those_of_the_lines(make_stack, workers):
    def change(config):
        with_ledger(config)
        config["workers"] = workers
        config["consumers"]["demo"]["team"] = "research"

    stack = make_stack(change=change)
    stack.sim.post("/control/defaults", tokens=7)
    with Load(stack, n_threads=3, reuse=False) as a, Load(stack, n_threads=2, model="gpt-4o-mini", reuse=False) as b, \
            Load(stack, n_threads=1, token=stack.token(appid="no-such"), reuse=False) as refused:
        a.wait_more(40)
        b.wait_more(20)
        refused.wait_more(1)
    a.all_fine()
    b.all_fine()
    ledger = wait_lines(stack, len(a.answers) + len(b.answers))
    assert set(ledger) == {request_id(x) for x in a.answers + b.answers}
    stats = stack.sim.stats()["deployments"]
    for deployment in ("gpt-4o-east", "gpt-4o-mini"):
        mine = [e for e in ledger.values() if e["deployment"] == deployment]
        assert len(mine) == stats[deployment]["ok"]
        assert total(mine, "input", "output") == stats[deployment]["total_tokens"]

    rows = {r["model"]: r for r in report_json(stack, "--by", "team,model")}
    assert set(rows) == {"gpt-4o", "gpt-4o-mini"}
    for model, row in rows.items():
        mine = [e for e in ledger.values() if e["model"] == model]
        assert row["team"] == "research" and row["requests"] == len(mine)
        for name in ("input", "cached", "output", "reasoning"):
            assert row[name] == total(mine, name), (model, name)
        assert row["usd"] == usd(mine)
    (row,) = csv.DictReader(io.StringIO(report(stack, "--format", "csv")))
    assert row["consumer"] == "demo" and int(row["requests"]) == len(ledger)
    assert int(row["output"]) == total(ledger.values(), "output")
    assert row["usd"] == usd(ledger.values())
    last = report(stack).splitlines()[-1].split()
    assert last[0] == "total" and int(last[1]) == len(ledger)


def test_report_of_a_time_has_the_lines_of_that_time(make_stack):
    stack = make_stack(change=with_ledger)
    for _ in range(5):
        assert stack.chat().status_code == 200
    times = sorted(e["time"] for e in wait_lines(stack, 5).values())
    count = lambda *words: sum(r["requests"] for r in report_json(stack, *words))
    assert count() == 5
    for t in times:
        assert count("--from", t) == sum(x >= t for x in times)
        assert count("--to", t) == sum(x < t for x in times)
    assert count("--to", times[0]) == 0
    assert Counter({r["day"]: r["requests"] for r in report_json(stack, "--by", "day")}) == Counter(
        t[:10] for t in times)


@pytest.mark.parametrize("workers", [1, 2])
def test_rotation_loses_and_doubles_no_line(make_stack, workers):
    def change(config):
        with_ledger(config)
        config["ledger"]["max_mb"] = 0  # left to logrotate
        config["workers"] = workers

    stack = make_stack(change=change)
    with Load(stack, n_threads=3, reuse=False) as load:
        for i in range(3):
            load.wait_more(10)
            # what logrotate does with the name the agent gives them itself
            path = stack.folder / "ledger.jsonl"
            path.rename(stack.folder / f"ledger.jsonl.20260101T00000{i}Z")
            stack.children["agent"].signal(signal.SIGHUP)
            wait_until("the ledger to be there again", path.exists)
        load.wait_more(10)
    load.all_fine()
    ledger = wait_lines(stack, len(load.answers))
    assert len(files(stack)) == 4
    assert set(ledger) == {request_id(a) for a in load.answers}
    (row,) = report_json(stack)
    assert row["requests"] == len(ledger)
    assert row["output"] == total(ledger.values(), "output")
    assert row["output"] == stack.sim.stats()["deployments"]["gpt-4o-east"]["completion_tokens"]
    assert stack.metric("foundry_ledger_records_total", result="written") == len(ledger)
    assert stack.metric("foundry_ledger_records_total", result="lost") == 0


def test_a_ledger_that_cannot_be_written_is_counted(make_stack):
    def change(config):
        with_ledger(config)
        config["ledger"]["file"] = config["ledger"]["file"].replace("ledger.jsonl", "no-such-folder/ledger.jsonl")

    stack = make_stack(change=change)
    assert stack.chat().status_code == 200
    wait_until("the lost line", lambda: stack.metric("foundry_ledger_records_total", result="lost") == 1)
    stack.children["agent"].wait_log(r"error ledger .*cannot be opened")


def provisioned(config):
    """gpt-4o is paid by the hour, gpt-4o-mini by token and request."""
    with_ledger(config)
    config["models"]["gpt-4o"]["deployments"][0]["ptu"] = {
        "units": 100, "usd_per_unit_hour": "1.00", "tokens_per_minute_per_unit": 2500, "output_weight": 4}
    config["models"]["gpt-4o-mini"]["price"] = {"input": 1, "output": 2, "request": "0.000000000007"}


@pytest.fixture(scope="module")
def paid_by_the_hour(tmp_path_factory, certificate):
    stack = Stack(tmp_path_factory.mktemp("paid"), change=provisioned, certificate=certificate)
    try:
        yield stack.start()
    finally:
        stack.stop()


def test_provisioned_throughput_is_shared_by_use(make_stack):
    stack = make_stack(change=provisioned)
    tokens = {"x-sim-prompt-tokens": "1000", "x-sim-cached-tokens": "300"}
    keys = {"demo": {}, "developers": {"token": "", "headers": {**tokens, "api-key": GATEWAY_KEY}}}
    for consumer, n in (("demo", 2), ("developers", 1)):
        for _ in range(n):
            assert stack.chat(**{"headers": tokens, **keys[consumer]}).status_code == 200
    assert stack.chat(model="gpt-4o-mini", headers=tokens).status_code == 200
    # what Azure had no room for there, and let another deployment answer
    stack.sim.fault(headers={"x-ms-is-spilled-over": "True"}, times=1)
    spilled = request_id(stack.chat(headers=tokens))
    ledger = wait_lines(stack, 5)
    paid = {i for i, e in ledger.items() if e["nano_usd"]}
    assert {i for i, e in ledger.items() if e["spilled"]} == {spilled}
    assert paid == {spilled} | {i for i, e in ledger.items() if e["model"] == "gpt-4o-mini"}

    ended = "--from", "2024-01-01", "--to", "2024-01-02"  # no line, but 24 hours that were paid
    (idle,) = report_json(stack, *ended)
    assert idle["consumer"] == "(idle)" and idle["requests"] == 0 and idle["usd"] == "2400.000000000000"

    # the capacity is far larger, so that what is left is idle; all of it
    # together is what the hours cost, and what the tokens cost
    rows = report_json(stack, "--from", "2024", "--by", "consumer,deployment")
    last = rows[-1]
    assert (last["consumer"], last["deployment"]) == ("(idle)", "(idle) gpt-4o-east")
    assert sum(r["requests"] for r in rows) == len(ledger)
    shown = {(r["consumer"], r["deployment"]): pico_of(r["usd"]) for r in rows}
    (mini,) = [e for e in ledger.values() if e["model"] == "gpt-4o-mini"]
    assert shown.pop(("demo", "gpt-4o-mini")) == mini["input"] * 10**6 + mini["output"] * 2 * 10**6 + 7
    weight = lambda e: e["input"] - e["cached"] + 4 * e["output"]
    use = Counter()
    for i, e in ledger.items():
        if e["model"] == "gpt-4o" and i != spilled:
            use[e["consumer"]] += weight(e)
    demo = shown["demo", "gpt-4o-east"] - pico(ledger[spilled])
    # the shares are as the weights; a pico-dollar may have been cut off
    assert abs(demo * use["developers"] - shown["developers", "gpt-4o-east"] * use["demo"]) <= use.total()
    assert shown["(idle)", "(idle) gpt-4o-east"] > demo > 0

    table = report(stack, "--from", "2024", "--by", "consumer,deployment").splitlines()
    assert table[-1].startswith("gpt-4o-east of east: 100 units for ") and table[-1].endswith(" % used")
    total = next(line for line in table if line.startswith("total")).split()
    assert pico_of(total[-1]) == sum(pico_of(line.split()[-1]) for line in table[1:table.index("") - 1])


@pytest.mark.parametrize("headers,spilled", [
    ({"x-ms-is-spilled-over": "true"}, True),
    ({"X-MS-Is-Spilled-Over": "True", "x-ms-spillover-from-deployment": "gpt-4o-east"}, True),
    ({"x-ms-spillover-from-gpt-4o-east": "1"}, True),
    ({"x-ms-is-spilled-over": "false", "x-ms-spillover-from-deployment": ""}, False),
    ({"x-ms-spillover-error": "429"}, False),
])
def test_spelling_of_what_spilled_over(paid_by_the_hour, headers, spilled):
    stack = paid_by_the_hour
    stack.sim.fault(headers=headers, times=1)
    rid = request_id(stack.chat())
    stack.usage(rid)
    wait_until("the line", lambda: any(e["id"] == rid for e in lines(stack)))
    (line,) = [e for e in lines(stack) if e["id"] == rid]
    assert line["spilled"] is spilled
    assert (line["nano_usd"] > 0) is spilled


def with_batches(config):
    with_ledger(config)
    config["objects"] = {"resource": "east"}
    config["models"]["gpt-4o"]["price"]["batch"] = {"input": 1.25, "cached": 0.5, "output": 5}


def backend_requests(stack, name):
    """How many requests HAProxy has sent to a backend."""
    text = httpx.get(f"http://127.0.0.1:{stack.ports['stats']}/metrics", trust_env=False).text
    return int(re.search(rf'(?m)^haproxy_backend_http_requests_total{{proxy="{name}"}} (\d+)', text).group(1))


@pytest.mark.parametrize("query, backend", [("", "r.east"), ("?stream=true", "s.east")])
def test_a_batch_counts_once_however_often_it_is_asked_for(make_stack, query, backend):
    stack = make_stack(change=with_batches)
    head = {"authorization": f"Bearer {stack.token()}"}
    with stack.client() as client:
        file = client.post("/openai/v1/files", headers=head, files={"file": ("a.jsonl", b"{}\n")},
                           data={"purpose": "batch"}).json()["id"]
        made = client.post("/openai/v1/batches", headers=head, json={
            "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}).json()
        before = backend_requests(stack, backend)
        asked = [client.get(f"/openai/v1/batches/{made['id']}{query}", headers=head) for _ in range(3)]
    assert backend_requests(stack, backend) == before + 3
    usage = asked[0].json()["usage"]
    ledger = wait_lines(stack, 5)
    lines_of_batch = [ledger[request_id(a)] for a in asked]
    for line in lines_of_batch:
        assert (line["batch"], line["model"], line["operation"]) == (made["id"], "gpt-4o", "batches")
        assert (line["input"], line["output"]) == (usage["input_tokens"], usage["output_tokens"])
        # no request is paid for, and no limit counts what ran before
        assert line["requests"] == line["nano_usd"] == 0
    (row,) = [r for r in report_json(stack, "--by", "operation,model") if r["model"] == "gpt-4o"]
    assert (row["operation"], row["requests"]) == ("batches", 3)
    cached = usage["input_tokens_details"]["cached_tokens"]
    assert (row["input"], row["cached"], row["output"]) == (usage["input_tokens"], cached, usage["output_tokens"])
    assert pico_of(row["usd"]) == (row["input"] - cached) * 1250000 + cached * 500000 + row["output"] * 5000000
    # it had used something in one month, and more in the next
    older = stack.folder / "older.jsonl"
    older.write_text("".join(json.dumps({**lines_of_batch[0], "time": time, "output": output}) + "\n" for time, output in (
        ("2026-03-31T23:00:00.000Z", 100), ("2026-04-01T01:00:00.000Z", 250), ("2026-04-02T01:00:00.000Z", 250))))
    count = lambda *words: sum(r["output"] for r in report_json(stack, "--ledger", older, *words))
    assert (count("--to", "2026-04"), count("--from", "2026-04"), count("--from", "2026-04-02"), count()) == (100, 150, 0, 250)


def test_converted_prices_are_what_the_report_counts_with(make_stack):
    stack = make_stack(change=with_ledger)
    answer = stack.chat(headers={"x-sim-prompt-tokens": "1000", "x-sim-cached-tokens": "300"})
    wait_lines(stack, 1)
    usage = answer.json()["usage"]
    table = stack.folder / "prices.json"
    table.write_text('{"azure/gpt-4o": {"input_cost_per_token": 1.1e-07, "cache_read_input_token_cost": 1e-12, '
                     '"output_cost_per_token": 0.000000330001, "mode": "chat"}, "azure/tts": {"mode": "audio_speech"}}')
    done = subprocess.run([AGENT, "prices", table], capture_output=True, text=True)
    assert done.returncode == 0 and "azure/tts: skipped" in done.stderr, done.stderr
    ours = json.loads(json.dumps(stack.config))
    ours["models"]["gpt-4o"].update(json.loads(done.stdout)["gpt-4o"])
    (stack.folder / "gateway.json").write_text(json.dumps(ours))
    (row,) = report_json(stack)
    value = 700 * 110000 + 300 * 1 + usage["completion_tokens"] * 330001
    assert row["usd"] == f"{value // 10**12}.{value % 10**12:012d}"
