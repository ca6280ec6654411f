"""The counters in /metrics are those of the simulator, callers cannot create series, and every
expression of the dashboard finds its series."""
import collections
import json
import re
import sys
from xml.etree import ElementTree

import pytest

from harness import ROOT, STREAMED, TINY_APP, agent_command, http_get, request_id, told_usage, wait_until
from promql import Expression, Samples, needs, series
from steps import (Load, Stream, by_day_without_end, endless_streams, fast_streams, slow_streams, usage_records,
                   with_ledger)

USAGE = "gen_ai_client_inference_usage_"
DASHBOARD = ROOT / "haproxy-conf/grafana-dashboard.json"


def tokens(stack, kind, **labels):
    return stack.metric(f"{USAGE}{kind}_tokens_total", **labels)


def settled(stack):
    return usage_records(stack, "settled", "estimated")


# ------------------------------------------------------------------ the numbers


def test_counters_are_what_the_simulator_served(make_stack):
    stack = make_stack(change=by_day_without_end)
    told = collections.Counter()
    n = 0
    for more in ({}, STREAMED):
        for model in ("gpt-4o", "gpt-4o-mini"):
            for cached in (0, 7):
                answer = stack.chat(model=model, **more, headers={
                    "x-sim-prompt-tokens": "30", "x-sim-cached-tokens": str(cached), "x-sim-reasoning-tokens": "3"})
                assert answer.status_code == 200, answer.text
                n += 1
                usage = told_usage(answer)
                told["prompt"] += usage["prompt_tokens"]
                told["completion"] += usage["completion_tokens"]
                told["cached"] += usage["prompt_tokens_details"]["cached_tokens"]
                told["reasoning"] += usage["completion_tokens_details"]["reasoning_tokens"]
    wait_until("every request to be settled", lambda: settled(stack) == n)
    served = stack.sim.stats()["deployments"]
    assert tokens(stack, "input") == told["prompt"] == sum(d["prompt_tokens"] for d in served.values())
    assert tokens(stack, "output") == told["completion"] == sum(d["completion_tokens"] for d in served.values())
    assert tokens(stack, "cache_read_input") == told["cached"] > 0
    assert tokens(stack, "reasoning_output") == told["reasoning"] > 0
    assert stack.metric("foundry_estimated_tokens_total") == 0

    for model, deployment in (("gpt-4o", "gpt-4o-east"), ("gpt-4o-mini", "gpt-4o-mini")):
        labels = dict(gen_ai_request_model=model, gen_ai_operation_name="chat", consumer="demo", resource="east",
                      gen_ai_provider_name="azure.ai.openai")
        assert tokens(stack, "input", **labels) == served[deployment]["prompt_tokens"]
        assert tokens(stack, "output", **labels) == served[deployment]["completion_tokens"]
    # the histograms have one observation per request, and their sums are the tokens
    for kind, all_of_it in (("input", told["prompt"]), ("output", told["completion"])):
        assert stack.metric("gen_ai_client_token_usage_count", gen_ai_token_type=kind) == n
        assert stack.metric("gen_ai_client_token_usage_sum", gen_ai_token_type=kind) == all_of_it
    assert stack.metric("gen_ai_client_operation_duration_seconds_count") == n
    assert stack.metric("gen_ai_client_operation_time_to_first_chunk_seconds_count") == n / 2
    assert stack.metric("foundry_consumer_requests_total", consumer="demo", verdict="allow") == n
    assert stack.metric("foundry_consumer_streams") == 0


def test_cost_is_tokens_times_price(make_stack):
    stack = make_stack(change=by_day_without_end)
    answer = stack.chat(headers={"x-sim-prompt-tokens": "50", "x-sim-cached-tokens": "20"})
    usage = answer.json()["usage"]
    stack.usage(request_id(answer))
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    micro = (usage["prompt_tokens"] - cached) * 2.5 + cached * 1.25 + usage["completion_tokens"] * 10
    assert stack.metric("foundry_cost_usd_total", consumer="demo") == pytest.approx(micro / 1e6, abs=1e-9)


def test_tokens_of_a_client_that_hangs_up_are_counted_as_estimated(make_stack):
    stack = make_stack(change=by_day_without_end)
    slow_streams(stack, tokens=1000, event_delay_ms=20)
    stream = Stream(stack).wait_begun()
    assert stack.metric("foundry_consumer_streams", consumer="demo", gen_ai_request_model="gpt-4o") == 1
    stream.hang_up()
    usage = stack.usage(stream.id)
    assert usage["estimated"] == "true"
    assert stack.metric("foundry_estimated_tokens_total", gen_ai_token_type="input") == int(usage["input"])
    assert stack.metric("foundry_estimated_tokens_total", gen_ai_token_type="output") == int(usage["output"])
    assert tokens(stack, "input") == tokens(stack, "output") == 0
    assert stack.metric("foundry_consumer_streams") == 0


def trusting(config):
    by_day_without_end(config)
    config["consumers"]["demo"]["trust_foundry_headers"] = True


def test_a_thousand_names_chosen_by_callers_create_no_series(make_stack):
    """Models, agents, projects and paths that nobody configured."""
    stack = make_stack(change=trusting)
    token = stack.token()

    def ask(i, client, model):
        return stack.chat(model=model, token=token, client=client, headers={
            "x-ms-foundry-agent-id": f"agent-{i}", "x-ms-foundry-project-id": f"project-{i}"})

    with stack.client() as client:
        # one request of each kind, so that the others can only add names
        assert ask("x", client, "gpt-4o").status_code == 200
        assert ask("x", client, "no-such-model").status_code == 404
        wait_until("the first to be settled", lambda: settled(stack) == 1)
        before = len(series(stack.agent_get("/metrics").text))
        for i in range(1000):
            assert ask(i, client, "gpt-4o" if i % 10 == 0 else f"made-up-{i}").status_code in (200, 404)
        wait_until("all to be settled", lambda: settled(stack) == 101)
    page = stack.agent_get("/metrics").text
    assert not re.search(r"made-up|agent-\d|project-\d", page)
    assert len(series(page)) == before
    assert stack.metric("foundry_metrics_dropped_total") == 0


# -------------------------------------------------------------------------- top


def test_top_shows_consumers_and_models(make_stack):
    stack = make_stack(change=by_day_without_end)
    endless_streams(stack)
    held = Stream(stack, model="gpt-4o-mini").wait_begun()
    fast_streams(stack)
    with Load(stack, n_threads=1) as load, Load(stack, n_threads=1, model="forbidden-model") as refused:
        load.wait_more(3)
        refused.wait_more(3)
        shown = agent_command("top", f"http://127.0.0.1:{stack.ports['agent_http']}", "--once")
    held.hang_up()
    load.all_fine()
    assert shown.returncode == 0, shown.stderr
    assert "\033" not in shown.stdout
    head, *rows = [line.split() for line in shown.stdout.splitlines()]
    assert head[:2] == ["consumer", "model"]
    found = {(r[0], r[1]): [float(v) for v in r[2:]] for r in rows if r[0] != "total"}
    requests, denied, read, written, running = found["demo", "gpt-4o"]
    assert requests > 0 and denied == 0 and read > 0 and written > 0
    assert found["demo", "gpt-4o-mini"][4] == 1
    assert found["demo", "forbidden-model"][1] > 0 and found["demo", "forbidden-model"][3] == 0
    (total,) = [[float(v) for v in r[1:]] for r in rows if r[0] == "total"]
    assert total[0] >= requests and total[4] >= 1


def test_top_without_an_agent_says_so():
    shown = agent_command("top", "http://127.0.0.1:1", "--once")
    assert shown.returncode == 1 and "127.0.0.1:1/metrics" in shown.stderr and shown.stdout == ""


# ---------------------------------------------------------------- the dashboard


def with_warnings(config):
    with_ledger(config)
    config["limits"]["tiny-tokens"]["warn_at"] = 0.01


@pytest.fixture(scope="module")
def busy(module_pool):
    """A stack in which everything that the dashboard shows has happened."""
    stack = module_pool(change=with_warnings)
    stack.sim.defaults(tokens=50)
    assert stack.chat(headers={"x-sim-cached-tokens": "1"}).status_code == 200
    assert stack.chat(**STREAMED).status_code == 200
    tiny = stack.token(appid=TINY_APP, azp=TINY_APP)
    assert stack.chat(token=tiny, max_tokens=5000).status_code == 400
    assert stack.chat(token=tiny, max_tokens=100).status_code == 200
    stack.sim.fault(status=500)
    assert stack.chat().status_code == 500
    slow_streams(stack, tokens=1000, event_delay_ms=20)
    stack.usage(Stream(stack).wait_begun().hang_up().id)
    return stack


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels(dashboard):
    return [p for p in dashboard["panels"] if p["type"] != "row"]


def pages(stack):
    haproxy = http_get(f"http://127.0.0.1:{stack.ports['stats']}/metrics").text
    return series(stack.agent_get("/metrics").text) + series(haproxy)


def lacking(have, metric, labels):
    """What is missing for an expression that needs this metric with these labels; None if nothing is."""
    mine = [l for name, l, _ in have if name == metric]
    if not mine:
        return f"{metric} is nowhere"
    if not any(all(k in l and v in (None, l[k]) for k, v in labels.items()) for l in mine):
        return f"{metric} has no series with {labels}, but {mine[:3]}"
    return None


def test_dashboard_finds_every_series_and_label(busy, dashboard):
    have = pages(busy)
    missing, n = [], 0
    for panel in panels(dashboard):
        for target in panel["targets"]:
            found = needs(target["expr"])
            assert found, target["expr"]
            n += len(found)
            missing += [f"{panel['title']}: {m}" for m in (lacking(have, *need) for need in found) if m]
    assert not missing, "\n".join(missing)
    assert n > 30


def test_search_for_series_can_fail(busy):
    have = pages(busy)
    for expr in ("sum(foundry_no_such_total)", 'foundry_requests_total{verdict="maybe"}',
                 "sum by (colour) (foundry_requests_total)", 'foundry_requests_total{colour=~".*"}'):
        (need,) = needs(expr)
        assert lacking(have, *need), expr
    for expr in ("sum(", "nonsense(x)", "sum by (a (x)", "x{a=b}", "x y", "rate(x[])", ""):
        with pytest.raises(ValueError):
            Expression(expr)


def some_samples():
    """Ten seconds of two counters, one of which restarted, and of a histogram."""
    samples = Samples({"$__rate_interval": 4, "$__range": 10})
    for t in range(11):
        samples.add(t, [("x_total", {"a": "1"}, 2.0 * t), ("x_total", {"a": "2"}, 10.0 * (t if t < 8 else t - 8)),
                        ("y", {"a": "1"}, 7.0), ("h_bucket", {"le": "1"}, 1.0 * t), ("h_bucket", {"le": "2"}, 3.0 * t),
                        ("h_bucket", {"le": "+Inf"}, 4.0 * t)])
    samples.add(9, [("young_total", {"a": "1"}, 0.0)])
    samples.add(10, [("young_total", {"a": "1"}, 6.0), ("young_total", {"a": "2"}, 5.0)])
    for t in range(9):
        samples.add(t, [("old_total", {}, 1.0 * t)])
    return samples


@pytest.mark.parametrize("text, expected", [
    ("sum(rate(x_total[$__rate_interval]))", {"": 2 + (10 + 0 + 10 + 10) / 4}),
    # a counter that started a second ago at 0, and one with a single sample
    ("rate(young_total[4s])", {"1": 1.5}),
    ("irate(young_total[4s])", {"1": 6}),
    # a counter whose samples end before the window
    ("increase(old_total[4s])", {"": 2 * (2 + 0.5) / 2}),
    ("sum by (a) (increase(x_total[$__range]))", {"1": 20, "2": 70 + 0 + 20}),
    ('sum(x_total{a="1"}) + 2 * 3 - 1', {"": 25}),
    ('x_total{a=~"1|3"} / y', {"1": 20 / 7}),
    ('x_total{a!="1"} > 100', {}),
    ("x_total > 15 ", {"1": 20, "2": 20}),
    ("1 - y", {"1": -6}),
    ("time() - max(y)", {"": 3}),
    ("sum(no_such)", {}),
    ("clamp_max(y, 5)", {"1": 5}),
    # the median lies in the second bucket
    ("histogram_quantile(0.5, sum by (le) (rate(h_bucket[4s])))", {"": 1.5}),
    ("histogram_quantile(0.99, sum by (le) (rate(h_bucket[4s])))", {"": 2}),
])
def test_value_of_an_expression_is_that_of_prometheus(text, expected):
    found = Expression(text).value(some_samples(), 10)
    assert {dict(k).get("a", ""): pytest.approx(v) for k, v in found.items()} == expected


def test_dashboard_variables_are_labels(busy, dashboard):
    have = pages(busy)
    names = set()
    for variable in dashboard["templating"]["list"]:
        names.add(variable["name"])
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            assert variable["query"]["query"] == variable["definition"]
            assert not lacking(have, metric, {label: None})
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])))
    assert used - names <= {"__rate_interval", "__range"}, used - names
    assert names <= used


def test_dashboard_is_drawn(busy, dashboard):
    """The program that draws the picture of the README knows every kind of panel."""
    sys.path.insert(0, str(ROOT / "tests/picture"))
    from picture import draw

    samples = Samples({"$__rate_interval": 4, "$__range": 10})
    for t in range(3):
        samples.add(t, pages(busy))
    svg = ElementTree.fromstring(draw(dashboard, samples, [0, 1, 2]))
    texts = [e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    for panel in dashboard["panels"]:
        assert any(t.endswith(panel["title"]) for t in texts), panel["title"]
    # running now: nothing; workers that decide: one
    assert {"0", "1"} <= set(texts)


def test_legends_name_labels_of_the_result(dashboard):
    for panel in panels(dashboard):
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert wanted <= Expression(target["expr"]).by, (panel["title"], target)


def test_dashboard_follows_the_model_of_grafana(dashboard):
    """The members of the classic dashboard model that Grafana needs."""
    assert dashboard["title"] and re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", dashboard["uid"])
    assert isinstance(dashboard["schemaVersion"], int) and dashboard["schemaVersion"] >= 36
    assert dashboard.get("id") is None, "an id belongs to one Grafana"
    assert set(dashboard["time"]) == {"from", "to"}
    assert isinstance(dashboard["annotations"]["list"], list)
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and all(isinstance(i, int) and i > 0 for i in ids)
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert set(at) == {"h", "w", "x", "y"}
        assert at["h"] > 0 and at["w"] > 0 and at["x"] >= 0 and at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        assert panel["title"]
        if panel["type"] == "row":
            assert panel["panels"] == [] and panel["collapsed"] is False
            continue
        assert panel["type"] in ("timeseries", "stat")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["overrides"] == [] and panel["fieldConfig"]["defaults"]["unit"]
        refs = [t["refId"] for t in panel["targets"]]
        assert refs and len(refs) == len(set(refs))
        assert all(t["datasource"] == panel["datasource"] for t in panel["targets"])
