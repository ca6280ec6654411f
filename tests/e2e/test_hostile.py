"""The requests of hostile.py, sent through HAProxy, and what the simulator executed of them."""
import contextlib
import email
import json
import re
import urllib.parse

import httpx
import pytest

import hostile
from harness import APP, PATIENCE, header_value
from hostile import CHAT, HARMLESS, RUNS, SAFE, TABLE
from refusals import Answer, data_requests, exchange, split_answers

# Bodies that name no model, and are served where the path does.
NO_MODEL = ("model is null", "model is empty", "no model", "only nested")

# What the agent may give as the reason.
CODES = {
    400: ("invalid_json", "invalid_form", "model_missing", "no_deployment", "ambiguous_header", "object_refused"),
    404: ("unknown_operation", "model_not_found", "object_not_found"),
}

RICH_APP = "44444444-4444-4444-4444-444444444444"


def deployments(name, surface):
    return {"deployments": [{"resource": "east", "name": name, "surface": surface},
                            {"resource": "west", "name": name, "surface": "anthropic"}]}


def configure(config, surface):
    """`poor` may use cheap, `rich` both. The rules of `poor` name the model
    and nothing else, as most operators would write them."""
    config["consumers"] = {"poor": {"match": {"tenant": "contoso", "apps": [APP]}},
                           "rich": {"match": {"tenant": "contoso", "apps": [RICH_APP]}}}
    config["rules"] = [{"name": "poor", "effect": "allow", "consumers": ["poor"], "models": ["cheap"]},
                       {"name": "rich", "effect": "allow", "consumers": ["rich"]}]
    config["limits"] = {}
    config["models"] = {name: deployments(name, surface) for name in ("cheap", "dear")}


def azure(config):
    """The path of a request to the resource names the model that runs."""
    configure(config, "azure")


def v1(config):
    """The body of a request to the resource names the model that runs."""
    configure(config, "v1")


@pytest.fixture(params=[azure, v1], ids=lambda f: f.__name__)
def gw(request, shared_stack):
    return shared_stack(change=request.param)


def ask(gw, row, tls=False):
    secrets = {"good": gw.token(), "forged": gw.sim.token({"appid": RICH_APP}, key="other")}
    raw = exchange(gw, hostile.wire(row, **secrets), tls=tls)
    # HAProxy 3.2 may close while the test still sends bytes that are not HTTP: its answer is lost
    raw = raw or b"HTTP/1.1 400 Closed\r\n\r\n"
    return Answer(raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))


def names(seen):
    """Every model that a resource may find in this request."""
    if "deployment" in seen:
        return [seen["deployment"]]
    if found := re.findall(r"/deployments/([^/]*)/", seen["path"]):
        return found
    if seen["path"].endswith("/realtime"):
        return [v for k, v in urllib.parse.parse_qsl(seen["query"]) if k in ("model", "deployment")]
    kind = header_value(seen, "content-type")
    if "json" in kind:
        body = json.loads(seen["body"])
        return sorted({o["model"] for o in (body, body.get("session", {})) if "model" in o})
    form = email.message_from_string(f"Content-Type: {kind}\n\n{seen['body']}")
    return [part.get_payload() for part in form.get_payload() if part.get_param("name", header="content-disposition")
            == "model"]


def executed(gw):
    """The models that ran: those of the requests that were answered with 200."""
    return [n for r in data_requests(gw) if r["status"] == 200 for n in names(r)]


def judge(gw, row, answer):
    ran, reached = executed(gw), [n for r in data_requests(gw) for n in names(r)]
    assert len(data_requests(gw)) == len(reached) <= 1, (row.name, data_requests(gw))
    told = (row.name, answer.status_code, answer.text[:300], reached)
    assert ran in ([], ["cheap"]) and reached in ([], ["cheap"]), told
    if answer.status_code == 200:
        assert ran == ["cheap"], told
        assert gw.decision(answer.headers["x-request-id"])["model"] == "cheap", told
    else:
        assert ran == [], told
    if answer.status_code in CODES and "x-request-id" in answer.headers:
        code = gw.decision(answer.headers["x-request-id"])["code"]
        assert code in CODES[answer.status_code], (code, *told)
    if row.expect == RUNS:
        assert answer.status_code == 200, told
    elif row.expect == SAFE:
        assert answer.status_code == 200 or 400 <= answer.status_code < 502, told
    else:
        assert answer.status_code == row.expect, told


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_what_runs_is_what_was_authorized(gw, row):
    judge(gw, row, ask(gw, row))


@pytest.mark.parametrize("row", [r for r in hostile.BODIES if r.expect == 400], ids=lambda r: r.name)
def test_body_that_is_refused_is_also_refused_with_the_model_in_the_path(gw, row):
    """Unless it only lacks a model."""
    at_path = row._replace(path=hostile.D + "cheap/chat/completions")
    judge(gw, at_path._replace(expect=SAFE if row.name in NO_MODEL else 400), ask(gw, at_path))


def test_what_runs_is_what_was_authorized_over_tls(gw):
    for row in TABLE:
        gw.sim.reset()
        judge(gw, row, ask(gw, row, tls=True))


def test_names_are_unique_and_many():
    assert len({r.name for r in TABLE}) == len(TABLE) >= 60


def test_dear_runs_for_a_caller_who_may_use_it(gw):
    """Otherwise the table would prove nothing."""
    answer = gw.chat(token=gw.token(appid=RICH_APP), content=hostile.DEAR.replace(b"@", hostile.REST[CHAT]))
    assert answer.status_code == 200 and executed(gw) == ["dear"]


def test_without_the_gateway_dear_would_run(gw):
    """The simulator reads these bodies as a resource might: the last of equal keys counts, escapes
    are decoded."""
    fooled = set()
    for row in hostile.BODIES:
        gw.sim.reset()
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(gw.sim.url + CHAT, content=row.content(), trust_env=False, verify=False, timeout=PATIENCE,
                       headers={"api-key": "sim-resource-key", "content-type": "application/json"})
        if "dear" in executed(gw):
            fooled.add(row.name)
    assert {"key twice, dear last", "escaped key last", "second key behind 200 kB", "string of backslashes"} <= fooled


def test_second_request_behind_the_body_of_the_first(gw):
    """It has its own decision."""
    row = next(r for r in TABLE if r.name == "nothing")
    token = gw.token()
    first = hostile.wire(row, good=token).replace(b"Connection: close\r\n", b"")
    second = hostile.wire(hostile.Row("", 403, hostile.DEAR), good=token)
    raw = exchange(gw, first + second)
    assert split_answers(raw) == [200, 403]
    assert executed(gw) == ["cheap"]
    assert HARMLESS.replace(b"@", hostile.REST[CHAT]) in first
