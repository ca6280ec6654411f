"""The ledger has one line per request, with the tokens that the simulator served, and the sums of
the report are those of the lines."""
import csv
import io
import json
import re
import signal
from collections import Counter

import httpx
import pytest

from harness import GATEWAY_KEY, STREAMED, TINY_APP, agent_command, request_id, told_usage, wait_until
from steps import (Load, Stream, send_usage, slow_streams, stream_entries, tokens_of, usage_line, usage_records,
                   with_ledger)


def files(stack):
    return sorted(stack.folder.glob("ledger.jsonl*"))


def lines(stack):
    """All lines of all files. Each line must be complete."""
    found = []
    for path in files(stack):
        text = path.read_text()
        assert text == "" or text.endswith("\n"), f"{path} ends with half a line"
        found += [json.loads(line) for line in text.splitlines()]
    return found


def wait_lines(stack, n):
    """id -> line, when there are n lines and no more."""
    wait_until(f"{n} lines of the ledger", lambda: len(lines(stack)) >= n)
    assert len(lines(stack)) == n
    assert len({e["id"] for e in lines(stack)}) == n
    return {e["id"]: e for e in lines(stack)}


def report(stack, *words):
    done = agent_command("report", stack.folder / "gateway.json", *words)
    assert done.returncode == 0, done.stderr
    said = [l for l in done.stderr.splitlines() if not l.startswith("warning: ")]
    assert said == []  # no line was left out
    return done.stdout


def report_json(stack, *words):
    """The report with its dollars as text, because a float would hide a difference."""
    return json.loads(report(stack, "--format", "json", *words), parse_float=str)


def total(entries, *names):
    return sum(e[n] for e in entries for n in names)


def pico(entry):
    """The cost in pico-dollars: gpt-4o costs 2.5, 1.25 (cached) and 10 USD per million tokens."""
    if entry["model"] != "gpt-4o":
        return 0
    return (entry["input"] - entry["cached"]) * 2500000 + entry["cached"] * 1250000 + entry["output"] * 10000000


def pico_of(usd):
    return int(usd.replace(".", ""))


def usd_of(pico):
    return f"{pico // 10**12}.{pico % 10**12:012d}"


def usd(entries):
    return usd_of(sum(map(pico, entries)))


def test_lines_are_what_was_served_token_by_token(make_stack):
    stack = make_stack(change=with_ledger)
    answers = {}
    for stream in (False, True):
        for i in range(4):
            answer = stack.chat(**(STREAMED if stream else {}), headers={
                "x-sim-prompt-tokens": str(40 + i), "x-sim-cached-tokens": str(i), "x-sim-tokens": str(10 + i)})
            assert answer.status_code == 200
            answers[request_id(answer)] = (stream, told_usage(answer))
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
    """The resource sends its headers at once and the first token later."""
    stack = make_stack(change=with_ledger)
    slow_streams(stack, tokens=3, event_delay_ms=200)
    streamed = request_id(stack.chat(path="/openai/deployments/gpt-4o/chat/completions", **STREAMED))
    plain = request_id(stack.chat())
    ledger = wait_lines(stack, 2)
    line = ledger[streamed]
    # the first token cannot come before it was sent; no more is certain
    assert max(150, line["ttfb_ms"]) <= line["ttft_ms"] <= line["total_ms"]
    assert int(stack.usage(streamed)["ttft_ms"]) == line["ttft_ms"]
    assert ledger[plain]["ttft_ms"] == 0


def test_client_that_hangs_up_has_one_line(make_stack):
    stack = make_stack(change=with_ledger)
    slow_streams(stack, tokens=1000, event_delay_ms=10)
    stream = Stream(stack).wait_begun().hang_up()
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


def test_settle_whose_answer_is_lost_is_in_both_ledgers_once(make_stack):
    """Redis executes it, but the agent closes the connection before the answer comes. It sends it
    again, and Redis answers that it was counted."""
    def change(config):
        with_ledger(config)
        # the connection is closed after eight of these: long enough for the settles to be sent
        config["redis"].update(required=False, deadline_ms=500)
        config["decision_timeout_ms"] = 1000

    stack = make_stack(change=change)
    slow_streams(stack, tokens=20)
    streams = [Stream(stack).wait_begun() for _ in range(4)]
    with stack.children["redis"].frozen():
        assert all(s.complete() for s in streams)
        wait_until("the settles to wait", lambda: stack.metric("foundry_store_writes_pending") >= len(streams))
        stack.children["agent"].wait_log("no answer to anything for many deadlines")
    ledger = wait_lines(stack, len(streams))
    for s in streams:
        assert tokens_of(ledger[s.id]) == s.usage()["total_tokens"]
    entries = stream_entries(stack)
    assert {e["id"]: e for e in entries} == ledger and len(entries) == len(ledger)
    assert usage_records(stack, "unknown") == 0
    assert stack.metric("foundry_settle_lag_seconds_count") == len(streams)


def test_requests_counted_without_redis_have_one_line_each(make_stack):
    """Redis is away. Each worker counts for itself, and a usage record may come to any of them."""
    def change(config):
        with_ledger(config)
        config["workers"] = 2
        config["redis"]["required"] = False
        config["limits"]["demo-tokens"]["on_store_failure"] = "local"

    stack = make_stack(change=change)
    stack.ticket_key()
    stack.children["redis"].stop()
    answers = [stack.chat() for _ in range(20)]
    assert [a.status_code for a in answers] == [200] * len(answers)
    ledger = wait_lines(stack, len(answers))
    assert set(ledger) == {request_id(a) for a in answers}
    assert total(ledger.values(), "input", "output") == sum(a.json()["usage"]["total_tokens"] for a in answers)
    assert stack.metric("foundry_reservations_open") == 0
    # the same records again, to either worker, are not counted
    for line in list(ledger.values()) * 3:
        send_usage(stack, usage_line(stack, line["id"]))
    stack.start_redis()
    wait_until("all of them", lambda: usage_records(stack, "unknown") == 3 * len(answers))
    assert lines(stack) == list(ledger.values())


def test_refused_request_has_no_line(make_stack):
    stack = make_stack(change=with_ledger)
    assert stack.chat(model="forbidden-model").status_code == 403
    assert stack.chat(token="").status_code == 401
    assert stack.chat(token=stack.token(appid=TINY_APP, azp=TINY_APP), max_tokens=5000).status_code == 400
    answer = stack.chat()
    (line,) = wait_lines(stack, 1).values()
    assert line["id"] == request_id(answer)


def test_error_of_the_resource_has_a_line_and_costs_nothing(make_stack):
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
    stack.sim.defaults(tokens=7)
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


def test_report_of_a_period_counts_its_lines(make_stack):
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
def test_rotation_neither_loses_nor_doubles_a_line(make_stack, workers):
    def change(config):
        with_ledger(config)
        config["ledger"]["max_mb"] = 0  # left to logrotate
        config["workers"] = workers

    stack = make_stack(change=change)
    with Load(stack, n_threads=3, reuse=False) as load:
        for i in range(3):
            load.wait_more(10)
            # as logrotate does, with the name that the agent gives to old files
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


def test_line_that_cannot_be_written_is_counted(make_stack):
    def change(config):
        with_ledger(config)
        config["ledger"]["file"] = config["ledger"]["file"].replace("ledger.jsonl", "no-such-folder/ledger.jsonl")

    stack = make_stack(change=change)
    assert stack.chat().status_code == 200
    wait_until("the lost line", lambda: stack.metric("foundry_ledger_records_total", result="lost") == 1)
    stack.children["agent"].wait_log(r"error ledger .*cannot be opened")


def provisioned(config):
    """gpt-4o is paid per hour, gpt-4o-mini per token and request."""
    with_ledger(config)
    config["models"]["gpt-4o"]["deployments"][0]["ptu"] = {
        "units": 100, "usd_per_unit_hour": "1.00", "tokens_per_minute_per_unit": 2500, "output_weight": 4}
    config["models"]["gpt-4o-mini"]["price"] = {"input": 1, "output": 2, "request": "0.000000000007"}


def test_cost_of_provisioned_throughput_is_divided_by_use(make_stack):
    stack = make_stack(change=provisioned)
    tokens = {"x-sim-prompt-tokens": "1000", "x-sim-cached-tokens": "300"}
    keys = {"demo": {}, "developers": {"token": "", "headers": {**tokens, "api-key": GATEWAY_KEY}}}
    for consumer, n in (("demo", 2), ("developers", 1)):
        for _ in range(n):
            assert stack.chat(**{"headers": tokens, **keys[consumer]}).status_code == 200
    assert stack.chat(model="gpt-4o-mini", headers=tokens).status_code == 200
    # Azure had no capacity left there, and another deployment answered
    stack.sim.fault(headers={"x-ms-is-spilled-over": "True"}, times=1)
    spilled = request_id(stack.chat(headers=tokens))
    ledger = wait_lines(stack, 5)
    paid = {i for i, e in ledger.items() if e["nano_usd"]}
    assert {i for i, e in ledger.items() if e["spilled"]} == {spilled}
    assert paid == {spilled} | {i for i, e in ledger.items() if e["model"] == "gpt-4o-mini"}

    ended = "--from", "2024-01-01", "--to", "2024-01-02"  # no requests, but 24 hours are paid
    (idle,) = report_json(stack, *ended)
    assert idle["consumer"] == "(idle)" and idle["requests"] == 0 and idle["usd"] == "2400.000000000000"

    # the capacity is far larger than its use; the rest is the line (idle)
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
    # costs are in the ratio of use; a pico-dollar may have been rounded off
    assert abs(demo * use["developers"] - shown["developers", "gpt-4o-east"] * use["demo"]) <= use.total()
    assert shown["(idle)", "(idle) gpt-4o-east"] > demo > 0

    table = report(stack, "--from", "2024", "--by", "consumer,deployment").splitlines()
    assert table[-1].startswith("gpt-4o-east of east: 100 units for ") and table[-1].endswith(" % used")
    total = next(line for line in table if line.startswith("total")).split()
    assert pico_of(total[-1]) == sum(pico_of(line.split()[-1]) for line in table[1:table.index("") - 1])


@pytest.mark.parametrize("headers, spilled", [
    ({"x-ms-is-spilled-over": "true"}, True),
    ({"X-MS-Is-Spilled-Over": "True", "x-ms-spillover-from-deployment": "gpt-4o-east"}, True),
    ({"x-ms-spillover-from-gpt-4o-east": "1"}, True),
    ({"x-ms-is-spilled-over": "false", "x-ms-spillover-from-deployment": ""}, False),
    ({"x-ms-spillover-error": "429"}, False),
])
def test_spelling_of_the_spillover_headers(shared_stack, headers, spilled):
    stack = shared_stack(change=provisioned)
    stack.sim.fault(headers=headers, times=1)
    rid = request_id(stack.chat())
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
def test_batch_counts_once_however_often_it_is_read(make_stack, query, backend):
    stack = make_stack(change=with_batches)
    file = stack.post("/openai/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "batch"}).json()["id"]
    made = stack.post("/openai/v1/batches", json={
        "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}).json()
    before = backend_requests(stack, backend)
    asked = [stack.get(f"/openai/v1/batches/{made['id']}{query}") for _ in range(3)]
    assert backend_requests(stack, backend) == before + 3
    usage = asked[0].json()["usage"]
    ledger = wait_lines(stack, 5)
    lines_of_batch = [ledger[request_id(a)] for a in asked]
    for line in lines_of_batch:
        assert (line["batch"], line["model"], line["operation"]) == (made["id"], "gpt-4o", "batches")
        assert (line["input"], line["output"]) == (usage["input_tokens"], usage["output_tokens"])
        # reading costs nothing, and no limit counts it
        assert line["requests"] == line["nano_usd"] == 0
    (row,) = [r for r in report_json(stack, "--by", "operation,model") if r["model"] == "gpt-4o"]
    assert (row["operation"], row["requests"]) == ("batches", 3)
    cached = usage["input_tokens_details"]["cached_tokens"]
    assert (row["input"], row["cached"], row["output"]) == (usage["input_tokens"], cached, usage["output_tokens"])
    assert pico_of(row["usd"]) == (row["input"] - cached) * 1250000 + cached * 500000 + row["output"] * 5000000
    check_months(stack, lines_of_batch[0])


def check_months(stack, line):
    """The batch had used something in one month, and more in the next."""
    older = stack.folder / "older.jsonl"
    told = [("2026-03-31T23:00:00.000Z", 100), ("2026-04-01T01:00:00.000Z", 250), ("2026-04-02T01:00:00.000Z", 250)]
    older.write_text("".join(json.dumps({**line, "time": time, "output": output}) + "\n" for time, output in told))
    count = lambda *words: sum(r["output"] for r in report_json(stack, "--ledger", older, *words))
    assert [count("--to", "2026-04"), count("--from", "2026-04"), count("--from", "2026-04-02"), count()] == [
        100, 150, 0, 250]


def test_report_counts_with_converted_prices(make_stack):
    stack = make_stack(change=with_ledger)
    answer = stack.chat(headers={"x-sim-prompt-tokens": "1000", "x-sim-cached-tokens": "300"})
    wait_lines(stack, 1)
    usage = answer.json()["usage"]
    table = stack.folder / "prices.json"
    table.write_text('{"azure/gpt-4o": {"input_cost_per_token": 1.1e-07, "cache_read_input_token_cost": 1e-12, '
                     '"output_cost_per_token": 0.000000330001, "mode": "chat"}, "azure/tts": {"mode": "audio_speech"}}')
    done = agent_command("prices", table)
    assert done.returncode == 0 and "azure/tts: skipped" in done.stderr, done.stderr
    stack.config["models"]["gpt-4o"].update(json.loads(done.stdout)["gpt-4o"])
    stack.write_config()
    (row,) = report_json(stack)
    assert row["usd"] == usd_of(700 * 110000 + 300 * 1 + usage["completion_tokens"] * 330001)
