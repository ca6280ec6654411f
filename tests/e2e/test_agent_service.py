"""A client that calls the gateway as the Foundry Agent Service does: every kind of connection, every
credential, every turn of an agent.

It is a strict client. It always streams, accepts no byte that does not belong to an event, asks
three times when an answer is not what it expects, and then only reports a "server_error"."""
import collections
import hashlib
import json
import re
import urllib.parse
import uuid

import httpx
import pytest

from harness import GATEWAY_KEY, PATIENCE, STREAMED, TENANT, bearer, request_id
from refusals import data_requests
from steps import day

PROJECT_ID = "77777777-7777-7777-7777-777777777777"
AGENT = "supply-agent:3"
AGENT_NAME = "supply-agent"

# The project's managed identity.
IDENTITY_APP = "88888888-8888-8888-8888-888888888888"
MIRID = ("/subscriptions/99999999-9999-9999-9999-999999999999/resourceGroups/rg-Agents/providers"
         "/Microsoft.CognitiveServices/accounts/Contoso/projects/Supply")
# The app registration of a connection with OAuth2.
OAUTH_APP = "66666666-6666-6666-6666-666666666666"
OAUTH_SECRET = "sim-client-secret"
# The key of a program that is not a Foundry connection.
APP_KEY = "test-gateway-key-app"

AZURE = "https://cognitiveservices.azure.com"


def configure(config):
    config["tenants"]["contoso"]["audiences"] = ["api://foundry-gateway", AZURE]
    config["tenants"]["contoso"]["callers"] = [IDENTITY_APP, OAUTH_APP]
    config["keys"]["entries"]["app-key"] = {"sha256": hashlib.sha256(APP_KEY.encode()).hexdigest()}
    config["consumers"] = {
        "foundry": {
            "match": [
                {"tenant": "contoso", "mirids": [MIRID.replace("Supply", "*")]},
                {"tenant": "contoso", "apps": [OAUTH_APP]},
                {"keys": ["dev-key"]},
            ],
            "trust_foundry_headers": True,
        },
        "program": {"match": {"keys": ["app-key"]}},
    }
    config["limits"] = {}


@pytest.fixture
def gw(shared_stack):
    return shared_stack(change=configure)


# ---------------------------------------------------------------- the service


class ServerError(Exception):
    """What the service reports, whatever the gateway answered."""


def parse_events(answer):
    """The JSON events of a chat stream. Every byte must belong to one."""
    assert answer.status_code == 200, (answer.status_code, answer.text)
    assert re.match(r"text/event-stream(;|$)", answer.headers["content-type"]), answer.headers
    text = answer.content.decode("utf-8")
    assert text.endswith("\n\n")
    datas = []
    for block in text[:-2].split("\n\n"):
        assert block.startswith("data: ") and "\n" not in block, block
        datas.append(block[6:])
    assert datas[-1] == "[DONE]" and datas.count("[DONE]") == 1
    return [json.loads(d) for d in datas[:-1]]


class Turn:
    """The text, tool calls and usage of one streamed answer."""

    def __init__(self, answer):
        self.answer = answer
        self.text, self.calls, self.finish, self.usage = "", {}, None, None
        for i, event in enumerate(parse_events(answer)):
            # Azure begins with the result of its filter on the prompt; that object has no type
            assert event["object"] == "chat.completion.chunk" or i == 0 and "prompt_filter_results" in event
            assert self.usage is None, "an event after the usage"
            if event.get("usage"):
                assert event["choices"] == []
                self.usage = event["usage"]
            for choice in event["choices"]:
                self.add(choice)
        assert self.usage and self.usage["total_tokens"] > 0
        assert self.finish in ("stop", "tool_calls")

    def add(self, choice):
        delta = choice.get("delta") or {}
        self.text += delta.get("content") or ""
        self.finish = choice.get("finish_reason") or self.finish
        for call in delta.get("tool_calls") or ():
            mine = self.calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
            mine["id"] += call.get("id") or ""
            mine["name"] += call["function"].get("name") or ""
            mine["arguments"] += call["function"].get("arguments") or ""


TOOLS = [{"type": "function", "function": {
    "name": "get_stock", "description": "What is in stock.",
    "parameters": {"type": "object", "properties": {"sku": {"type": "string"}}}}}]
SYSTEM = {"role": "system", "content": "You order parts."}
ASK = {"role": "user", "content": "How many screws are left?"}
TURNS = {
    "plain": {"messages": [SYSTEM, ASK]},
    "tools": {"messages": [SYSTEM, ASK], "tools": TOOLS, "tool_choice": "auto"},
    "tool result": {"tools": TOOLS, "messages": [
        SYSTEM, ASK,
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_stock", "arguments": '{"sku":"s"}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12"}]},
}


class AgentService:
    def __init__(self, stack, credential, client=None, agent=AGENT):
        self.stack, self.credential, self.agent = stack, credential, agent
        self.client = client or stack.client()
        self.asked = 0

    def url(self, target, in_path, api_version, model):
        path = f"{target}/deployments/{urllib.parse.quote(model, safe='')}" if in_path else target
        return f"{path}/chat/completions" + ("" if api_version is None else f"?api-version={api_version}")

    def headers(self, model):
        return {
            "content-type": "application/json",
            "x-ms-foundry-agent-id": self.agent,
            "x-ms-foundry-model-id": f"gateway/{urllib.parse.quote(model)}",
            "x-ms-foundry-project-id": PROJECT_ID,
            "openai-project": "Supply",
            "x-ms-client-request-id": str(uuid.uuid4()),
            "x-ms-foundry-models": "byom",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            **self.credential,
        }

    def ask(self, turn="plain", model="gpt-4o", target="", in_path=False, api_version=None):
        """One turn of an agent."""
        body = {**STREAMED, "max_completion_tokens": 16384, "temperature": 0.3, **TURNS[turn]}
        if not in_path:
            body["model"] = model
        headers = self.headers(model)
        if turn == "tools":  # the simulator then calls one
            headers["x-sim-tool"] = "get_stock"
        url = self.url(target, in_path, api_version, model)
        for _ in range(3):
            self.asked += 1
            self.answer = self.client.post(url, content=json.dumps(body), headers=headers)
            try:
                return Turn(self.answer)
            except (AssertionError, KeyError, ValueError) as why:
                last = why
        raise ServerError(f"{url}: {last!r}") from last


def oauth_token(stack):
    """As Foundry's broker gets it: from the token URL of the connection."""
    answer = httpx.post(f"{stack.sim.url}/{TENANT}/oauth2/v2.0/token", trust_env=False, timeout=PATIENCE, data={
        "grant_type": "client_credentials", "client_id": OAUTH_APP, "client_secret": OAUTH_SECRET,
        "scope": "api://foundry-gateway/.default"})
    return answer.json()["access_token"]


def identity_token(stack, aud=AZURE, mirid=MIRID, **claims):
    """A v1 token of the project's managed identity."""
    return stack.sim.token({"aud": aud, "appid": IDENTITY_APP, "oid": str(uuid.uuid4()), "roles": None,
                            "xms_mirid": mirid, **claims}, version="1.0")


# What the connection's authType, authConfig and customHeaders put on the wire.
CREDENTIALS = {
    "api-key": lambda gw: {"api-key": GATEWAY_KEY},
    "bearer key": lambda gw: bearer(GATEWAY_KEY),
    "x-api-key": lambda gw: {"x-api-key": GATEWAY_KEY},
    "custom header": lambda gw: {"X-Team-Key": f"Token {GATEWAY_KEY}"},
    "oauth2": lambda gw: bearer(oauth_token(gw)),
    "identity": lambda gw: bearer(identity_token(gw)),
    "identity, aud/": lambda gw: bearer(identity_token(gw, aud=AZURE + "/")),
    "identity, lower mirid": lambda gw: bearer(identity_token(gw, mirid=MIRID.lower())),
    "identity, resourcegroups": lambda gw: bearer(identity_token(gw, mirid=MIRID.replace("eGroups", "egroups"))),
    "identity and api-key": lambda gw: {**bearer(identity_token(gw)), "api-key": GATEWAY_KEY},
}
# Paths before the API in the target URLs of connections.
TARGETS = ["", "/api/v1/custom", "/v2/custom", "/openai", "/models", "/openai/v1", "/v1", "/default/models/openai/v1"]
API_VERSIONS = [None, "", "2024-10-21", "v1"]


# ------------------------------------------------------------------ the matrix


@pytest.mark.parametrize("in_path", [False, True], ids=["model in body", "model in path"])
@pytest.mark.parametrize("credential", CREDENTIALS)
def test_agent_answers_through_the_gateway(gw, credential, in_path):
    sent = CREDENTIALS[credential](gw)
    with gw.client() as client:
        service = AgentService(gw, sent, client)
        for target in TARGETS:
            for api_version in API_VERSIONS:
                for name in TURNS:
                    turn = service.ask(name, target=target, in_path=in_path, api_version=api_version)
                    where = (target, api_version, name)
                    if name == "tools":
                        assert turn.finish == "tool_calls", where
                        (call,) = turn.calls.values()
                        assert call["name"] == "get_stock" and call["id"] and json.loads(call["arguments"]) is not None
                    else:
                        assert turn.finish == "stop" and turn.text and not turn.calls, where
    n = len(TARGETS) * len(API_VERSIONS) * len(TURNS)
    assert service.asked == n, "the service had to ask again"
    check_upstream(gw, n, sent)
    decision = gw.decision(request_id(service.answer))
    assert decision["consumer"] == "foundry" and decision["agent"] == AGENT and decision["project"] == PROJECT_ID
    usage = gw.usage(request_id(service.answer))
    assert (usage["agent"], usage["project"]) == (AGENT, PROJECT_ID)
    assert int(usage["output"]) == turn.usage["completion_tokens"] and "estimated" not in usage


def check_upstream(gw, n, sent):
    """The resource received the gateway's credential and no header of Foundry's."""
    seen = data_requests(gw)
    assert len(seen) == n
    secrets = {v.split(" ")[-1] for v in sent.values()}
    for request in seen:
        names = collections.Counter(k.lower() for k, _ in request["headers"])
        assert not [k for k in names if k.startswith("x-ms-foundry") or k.startswith("openai-")], names
        assert not names.keys() & {"api-key", "x-api-key", "x-team-key"} and names["authorization"] == 1
        assert names["x-ms-client-request-id"] == 1
        assert request["deployment"] == "gpt-4o-east" and request["status"] == 200
        text = json.dumps(request)
        assert not [s for s in secrets if s in text]
        assert request["path"] == "/openai/deployments/gpt-4o-east/chat/completions"
        version = dict(urllib.parse.parse_qsl(request["query"]))
        assert list(version) == ["api-version"] and version["api-version"] == "2024-10-21"


@pytest.mark.parametrize("in_path", [False, True], ids=["model in body", "model in path"])
def test_model_name_that_must_be_escaped_is_found(make_stack, in_path):
    """The service puts {deploymentName} into the path with quote(safe='')."""
    def change(config):
        configure(config)
        config["models"]["gpt-4.1 (ü)"] = {"deployments": [
            {"resource": "east", "name": "gpt-4o-east", "surface": "azure"}]}

    gw = make_stack(change=change)
    turn = AgentService(gw, {"api-key": GATEWAY_KEY}).ask(model="gpt-4.1 (ü)", in_path=in_path)
    assert turn.finish == "stop"
    assert [r["deployment"] for r in data_requests(gw)] == ["gpt-4o-east"]


# For connections that ask for their models: paths behind the target URL, and the members of the
# answer that hold the list and a name.
DISCOVERY = {
    "AzureOpenAI": ("/deployments", "/deployments/{deploymentName}", "value", "name"),
    "OpenAI": ("/v1/models", "/v1/models/{deploymentName}", "data", "id"),
}


@pytest.mark.parametrize("provider", DISCOVERY)
@pytest.mark.parametrize("credential", ["api-key", "bearer key", "custom header", "oauth2", "identity"])
def test_models_of_dynamic_discovery_can_be_used(gw, credential, provider):
    """Lists the models, gets each by its escaped name, and asks each chat model."""
    list_at, get_at, members, key = DISCOVERY[provider]
    sent = CREDENTIALS[credential](gw)
    with gw.client() as client:
        service = AgentService(gw, sent, client)
        for target in TARGETS:
            for version in ("", "?api-version=2023-05-01"):
                base = target.removesuffix("/v1") if provider == "OpenAI" else target
                listed = client.get(base + list_at + version, headers=sent)
                assert listed.status_code == 200, (target, listed.text)
                names = [m[key] for m in listed.json()[members]]
                assert "gpt-4o" in names and "forbidden-model" not in names
                for name in names:
                    path = get_at.replace("{deploymentName}", urllib.parse.quote(name, safe=""))
                    found = client.get(base + path + version, headers=sent).json()
                    check_found(found, name, provider)
            chat = [n for n in names if n.startswith("gpt-")]
            for name in chat:
                assert service.ask(model=name, target=target).finish == "stop"
        unknown = client.get(list_at + "/no-such-model", headers=sent)
        assert unknown.status_code == 404 and unknown.json()["error"]["message"]
        assert client.get(list_at).status_code == client.get(list_at + "/gpt-4o").status_code == 401
    assert service.asked == len(TARGETS) * len(chat)


def check_found(found, name, provider):
    """The members that the service reads."""
    if provider == "OpenAI":
        assert found["id"] == name and "properties" not in found
        return
    assert found["name"] == name
    assert found["properties"]["model"]["name"] and found["properties"]["model"]["format"] in ("OpenAI", "Anthropic")


def test_model_of_the_path_wins_over_that_of_the_body(gw):
    """Some versions of the service send both."""
    service = AgentService(gw, {"api-key": GATEWAY_KEY})
    answer = service.client.post("/deployments/gpt-4o/chat/completions", headers=service.headers("gpt-4o"),
                                 json={"model": "gpt-4o-mini", **STREAMED, **TURNS["plain"]})
    Turn(answer)
    assert [r["deployment"] for r in data_requests(gw)] == ["gpt-4o-east"]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_stream_in_chunks_of_any_size(gw, size):
    service = AgentService(gw, {"api-key": GATEWAY_KEY, "x-sim-chunk": str(size)})
    turn = service.ask("tools")
    assert service.asked == 1
    assert int(gw.usage(request_id(turn.answer))["output"]) == turn.usage["completion_tokens"]


# ------------------------------------------------------------ who is refused


def refused_service(gw, credential, **more):
    service = AgentService(gw, credential)
    with pytest.raises(ServerError):
        service.ask(**more)
    assert service.asked == 3 and data_requests(gw) == []
    assert service.answer.headers["content-type"] == "application/json"
    return service.answer


@pytest.mark.parametrize("credential", [
    {},
    {"api-key": "wrong"},
    {"x-team-key": "Token wrong"},
    {"authorization": "Bearer wrong"},
], ids=["none", "api-key", "custom header", "bearer"])
def test_wrong_key_is_401(gw, credential):
    assert refused_service(gw, credential).status_code == 401


@pytest.mark.parametrize("claims", [
    {"aud": "https://cognitiveservices.azure.com.evil.example"},
    {"aud": "https://cognitiveservices.azure.com//"},
    {"aud": "https://management.azure.com"},
    {"appid": "12345678-1234-1234-1234-123456789012"},
], ids=["longer-aud", "two-slashes", "other-aud", "unlisted-app"])
def test_token_for_another_audience_or_app_is_refused(gw, claims):
    aud = claims.pop("aud", AZURE)
    answer = refused_service(gw, bearer(identity_token(gw, aud=aud, **claims)))
    assert answer.status_code in (401, 403)


@pytest.mark.parametrize("mirid", [MIRID.replace("Contoso", "Contoso2"), "/x" + MIRID,
                                   MIRID.replace("rg-Agents", "rg-Other"), None],
                         ids=["longer account", "prefix", "other group", "none"])
def test_identity_of_another_account_is_refused(gw, mirid):
    assert refused_service(gw, bearer(identity_token(gw, mirid=mirid))).status_code == 403


@pytest.mark.parametrize("in_path", [False, True], ids=["model in body", "model in path"])
def test_unknown_model_is_404_with_json(gw, in_path):
    answer = refused_service(gw, {"api-key": GATEWAY_KEY}, model="no-such-model", in_path=in_path)
    assert answer.status_code == 404 and answer.json()["error"]["message"]


def test_token_and_key_must_be_good_where_both_are_required(make_stack):
    def change(config):
        configure(config)
        config["keys"]["require"] = "both"
        config["consumers"]["foundry"]["match"] = {"tenant": "contoso", "mirids": [MIRID]}

    gw = make_stack(change=change)
    token = identity_token(gw)
    AgentService(gw, {**bearer(token), "api-key": GATEWAY_KEY}).ask()
    gw.sim.reset()
    for credential in (bearer(token), {"api-key": GATEWAY_KEY}, {**bearer(token), "api-key": "wrong"},
                       {**bearer(gw.sim.token({}, key="other")), "api-key": GATEWAY_KEY}):
        assert refused_service(gw, credential).status_code == 401


# ------------------------------------------- headers that name agent and project


def test_foundry_headers_of_a_program_are_ignored(gw):
    """Anybody can send them. The gateway uses them only for consumers with trust_foundry_headers."""
    service = AgentService(gw, {"api-key": APP_KEY})
    turn = service.ask()
    decision = gw.decision(request_id(turn.answer))
    assert decision["consumer"] == "program" and "agent" not in decision and "project" not in decision
    usage = gw.usage(request_id(turn.answer))
    assert "agent" not in usage and "project" not in usage
    log = gw.children["agent"].log()
    assert not any(AGENT in line for line in log.splitlines() if request_id(turn.answer) in line)
    check_upstream(gw, 1, {"api-key": APP_KEY})


def three_a_day(config):
    """Three requests a day for every agent."""
    configure(config)
    config["limits"] = {"agent-day": day(3, per="agent")}
    for consumer in config["consumers"].values():
        consumer["limits"] = ["agent-day"]


@pytest.fixture
def per_agent(shared_stack):
    return shared_stack(change=three_a_day)


def test_each_agent_has_its_own_budget(per_agent):
    for name in ("first", "second"):
        service = AgentService(per_agent, {"api-key": GATEWAY_KEY}, agent=f"{name}:1")
        for _ in range(3):
            service.ask()
        with pytest.raises(ServerError):
            service.ask()
        assert service.answer.status_code == 429 and int(service.answer.headers["retry-after"]) > 0
    assert len(data_requests(per_agent)) == 6


def test_new_version_of_an_agent_has_no_new_budget(per_agent):
    for version in range(1, 4):
        AgentService(per_agent, {"api-key": GATEWAY_KEY}, agent=f"a:{version}").ask()
    with pytest.raises(ServerError):
        AgentService(per_agent, {"api-key": GATEWAY_KEY}, agent="a:4").ask()
    assert len(data_requests(per_agent)) == 3


def test_program_cannot_name_itself_a_new_agent(per_agent):
    """Otherwise it could have a new budget whenever it likes, and use up that of another agent."""
    for i in range(3):
        AgentService(per_agent, {"api-key": APP_KEY}, agent=f"mine-{i}:1").ask()
    with pytest.raises(ServerError):
        AgentService(per_agent, {"api-key": APP_KEY}, agent="mine-4:1").ask()
    assert len(data_requests(per_agent)) == 3
    AgentService(per_agent, {"api-key": GATEWAY_KEY}, agent="mine-0:1").ask()
