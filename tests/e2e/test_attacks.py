"""Attacks on the gateway, each named by what it tries.

Each test compares what the simulator received and ran with what the agent decided and what the
caller was told. Bodies, paths and framing that try to name another model are in hostile.py."""
import contextlib
import json
import re
import uuid

import pytest

from harness import CHAT, GATEWAY_KEY, STREAMED, TINY_APP, header_values, request_id, wait_until
from refusals import Answer, chat_bytes, data_requests, exchange, nothing_sent, raw_chat, refused, split_answers
from steps import usage_records

MESSAGES = b'"messages":[{"role":"user","content":"Hello"}]'


# Sent after bytes that leave the connection open: the gateway closes it after this request.
# (Closing the test's half of the connection would look like a caller who left.)
LAST = b"GET /the-end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# The answers to bytes that are not HTTP: 400, or from HAProxy 3.2 on a closed connection (0).
NOT_HTTP = (0, 400)


def sent_once(gw):
    (seen,) = data_requests(gw)
    return seen


def ran_what_was_decided(gw, answer, model="gpt-4o", deployment="gpt-4o-east"):
    """One request arrived, for the deployment that was authorized, with the gateway's credential."""
    assert answer.status_code == 200, answer.text
    seen = sent_once(gw)
    decision = gw.decision(answer.headers["x-request-id"])
    assert decision["model"] == model and decision["deployment"] == deployment == seen["deployment"]
    (credential,) = header_values(seen, "authorization")
    assert credential.startswith("Bearer ey")
    return seen


# ---------------------------------------------- a model that is not the model

def test_model_of_the_path_counts_where_the_body_names_another(gw):
    """The resource uses the path, so the path is what must be authorized."""
    answer = gw.chat(path="/openai/deployments/gpt-4o/chat/completions", model="forbidden-model")
    ran_what_was_decided(gw, answer)


def test_model_from_query_or_header_is_ignored(gw):
    answer = gw.chat(path=CHAT + "?model=forbidden-model&deployment=forbidden-model",
                     headers={"x-ms-model": "forbidden-model", "x-ms-spillover-deployment": "forbidden-model",
                              "azureml-model-deployment": "forbidden-model"})
    seen = ran_what_was_decided(gw, answer)
    assert "forbidden" not in json.dumps([seen["headers"], seen["query"], seen["path"]])


# ------------------------------------------------------------------ the path


def test_escaped_name_in_the_path_is_the_name(gw):
    ran_what_was_decided(gw, raw_chat(gw, path="/openai/deployments/%67pt%2D4o/chat/completions"))
    assert sent_once(gw)["path"] == "/openai/deployments/gpt-4o-east/chat/completions"


def test_only_the_api_version_of_a_query_reaches_the_upstream(gw):
    for query in ("api-version=2024-10-21%26x=1", "api-version=../../x", "api-version=2024-10-21%0d%0aX:%20y",
                  "x=1&api-key=secret", "subscription-key=secret", "api-version=%32024-10-21",
                  "api-version=2024-10-21&api-version=2020-01-01"):
        gw.sim.reset()
        raw_chat(gw, path=f"/openai/deployments/gpt-4o/chat/completions?{query}")
        for seen in data_requests(gw):
            assert re.fullmatch(r"api-version=2024-10-21", seen["query"]), (query, seen["query"])


def test_absolute_uri_does_not_choose_the_host(gw):
    for uri in ("http://evil.example/openai/v1/chat/completions", "https://evil.example:1/openai/v1/chat/completions",
                f"http://127.0.0.1:{gw.ports['agent_http']}/openai/v1/chat/completions"):
        for host in ("localhost", "evil.example", uri.split("/")[2]):
            gw.sim.reset()
            answer = raw_chat(gw, path=uri, host=host)
            if answer.status_code in NOT_HTTP:  # HAProxy: authority and Host differ
                nothing_sent(gw)
                continue
            seen = ran_what_was_decided(gw, answer)
            assert header_values(seen, "host") == [f"127.0.0.1:{gw.ports['sim']}"]
            assert seen["path"].startswith("/openai/deployments/gpt-4o-east/")


def test_host_header_does_not_choose_the_host(gw):
    for head in ([], ["X-Forwarded-Host: evil.example"], ["X-Host: evil.example"], ["Forwarded: host=evil.example"],
                 ["X-Original-URL: /openai/deployments/forbidden-model/chat/completions"],
                 ["X-Rewrite-URL: /control/reset"], ["X-HTTP-Method-Override: DELETE"], ["X-Method: DELETE"]):
        gw.sim.reset()
        seen = ran_what_was_decided(gw, raw_chat(gw, host="evil.example", head=head))
        assert header_values(seen, "host") == [f"127.0.0.1:{gw.ports['sim']}"]
        assert seen["method"] == "POST"
        assert "evil" not in json.dumps(seen["headers"]) and "control" not in json.dumps(seen["headers"])
        assert "DELETE" not in json.dumps(seen["headers"])


def test_second_host_header_does_not_reach_the_upstream(gw):
    answer = raw_chat(gw, head=["Host: evil.example"])
    assert answer.status_code in (200, *NOT_HTTP)
    for seen in data_requests(gw):
        assert header_values(seen, "host") == [f"127.0.0.1:{gw.ports['sim']}"]


# ------------------------------------------------------------------ headers


def test_headers_that_only_the_gateway_may_set_are_removed(gw):
    names = ["x-gw-verdict", "x-gw-backend", "X-GW-Auth-Value", "x-ms-foundry-agent-id", "x-ms-useragent",
             "x-ms-spillover-deployment", "X-MS-Authorization-Auxiliary", "azureml-model-deployment",
             "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "via", "openai-project",
             "openai-organization", "x-azure-fdid", "x-arr-clientcert", "x-original-host", "proxy-authorization",
             "ocp-apim-subscription-key", "ocp-apim-trace", "cookie", "accept-encoding"]
    head = [f"{n}: smuggled" for n in names if n != "accept-encoding"] + ["Accept-Encoding: gzip"]
    seen = ran_what_was_decided(gw, raw_chat(gw, head=head))
    assert "smuggled" not in json.dumps(seen["headers"])
    assert not header_values(seen, "accept-encoding")


@pytest.mark.parametrize("name", ["txn.gw.verdict", "api_key", "x_api_key", "ocp_apim_subscription_key",
                                  "x.ms.spillover", "authorization_", "x!gw"])
def test_header_name_that_some_servers_read_as_another_is_removed(gw, name):
    seen = ran_what_was_decided(gw, raw_chat(gw, head=[f"{name}: smuggled"]))
    assert "smuggled" not in json.dumps(seen["headers"])


def test_variables_in_header_values_mean_nothing(gw):
    value = "%[var(txn.gw.auth_value)] %[env(PATH)] ${PATH} %ID"
    seen = ran_what_was_decided(gw, raw_chat(gw, head=[f"User-Agent: {value}"]))
    assert header_values(seen, "user-agent") == [value]


def test_format_of_haproxy_in_a_model_name_means_nothing(gw):
    """The name is part of the error text, which HAProxy prints as a format."""
    model = "%[var(txn.gw.challenge)]%[env(PATH)]%ID${PATH}%%"
    answer = gw.chat(model=model)
    refused(gw, answer, 404, "model_not_found")
    assert model in answer.json()["error"]["message"]


def test_request_id_of_the_caller_is_replaced(gw):
    mine = str(uuid.uuid4())
    for http2 in (False, True):
        gw.sim.reset()
        with gw.client(http2=http2) as client:
            answer = gw.chat(client=client, headers={"x-request-id": mine})
        assert request_id(answer) != mine
        assert answer.headers.get_list("x-request-id") == [request_id(answer)]
        seen = ran_what_was_decided(gw, answer)
        assert header_values(seen, "x-request-id") == [request_id(answer)]
    assert mine not in gw.children["agent"].log()


def test_request_id_of_an_open_reservation_cannot_be_taken_over(gw):
    """Two requests with one id would settle each other."""
    first = gw.chat()
    again = gw.chat(headers={"x-request-id": request_id(first)})
    assert request_id(again) != request_id(first)


@pytest.mark.parametrize("value", ["authorization", "Authorization, close", "host, authorization, content-type",
                                   "keep-alive, x-request-id", "content-length", "transfer-encoding, authorization"])
def test_connection_header_that_names_headers_of_the_gateway(gw, value):
    answer = Answer(exchange(gw, chat_bytes(gw, close=False, head=[f"Connection: {value}"]) + LAST))
    if answer.status_code in NOT_HTTP:
        nothing_sent(gw)
        return
    seen = ran_what_was_decided(gw, answer)
    assert not [v for v in header_values(seen, "connection") if "auth" in v.lower() or "host" in v.lower()]


@pytest.mark.parametrize("kind", [b"X-A: b\rX-Gw: smuggled", b"X-A: b\nApi-Key: smuggled", b"X-A: b\x00c",
                                  b"X-A: b\r\n Api-Key: smuggled", b"X A: smuggled", b"X-A : smuggled", b": smuggled",
                                  b"X-A\r\n: smuggled"],
                         ids=["cr", "lf", "nul", "folded", "blank-in-name", "blank-before-colon", "no-name", "split"])
def test_malformed_header_adds_no_header(gw, kind):
    answer = raw_chat(gw, head=[kind])
    if answer.status_code in NOT_HTTP:
        nothing_sent(gw)
        return
    if answer.status_code == 401:  # it became a second credential of the caller
        assert gw.decision(answer.headers["x-request-id"])["verdict"] == "deny"
        nothing_sent(gw)
        return
    seen = ran_what_was_decided(gw, answer)
    assert not header_values(seen, "api-key") and not header_values(seen, "x-gw")


AUTHORIZATIONS = {
    "lower-case-scheme": ("bearer {t}", 200),
    "upper-case-scheme": ("BEARER {t}", 200),
    "two-blanks": ("Bearer  {t}", 401),
    "tab": ("Bearer\t{t}", 401),
    "no-blank": ("Bearer{t}", 401),
    "no-scheme": ("{t}", 401),
    "basic": ("Basic {t}", 401),
    "comma-list": ("Bearer {t}, Bearer {t}", 401),
    "quoted": ('Bearer "{t}"', 401),
    "blank-in-token": ("Bearer {t} x", 401),
    "empty": ("Bearer ", 401),
    "scheme-only": ("Bearer", 401),
    "no-break-space": ("Bearer \xa0{t}", 401),
    "negotiate-first": ("Negotiate x, Bearer {t}", 401),
}


@pytest.mark.parametrize("name", AUTHORIZATIONS)
def test_spelling_of_the_authorization_header(gw, name):
    form, status = AUTHORIZATIONS[name]
    answer = raw_chat(gw, token="", head=["Authorization: " + form.format(t=gw.token())])
    assert answer.status_code == status, answer.raw
    if status == 200:
        ran_what_was_decided(gw, answer)
    else:
        code = gw.decision(answer.headers["x-request-id"])["code"]
        assert code in ("credential_missing", "token_malformed", "key_unknown"), code
        nothing_sent(gw)


def test_upstream_never_sees_a_key_of_the_caller(make_stack, tmp_path):
    """The resource has a key, and callers send the header that the gateway sends it in."""
    def change(config):
        config["credentials"]["key"] = {"type": "key", "key_file": str(key_file)}
        config["resources"]["east"]["credential"] = "key"

    key_file = tmp_path / "key"
    key_file.write_text("the-resources-own-key")
    key_file.chmod(0o600)
    stack = make_stack(change=change)
    stack.sim.defaults(auth=False)
    token = stack.token()
    for head in ([f"api-key: {GATEWAY_KEY}"], [f"Api-Key: {GATEWAY_KEY}", f"X-Api-Key: {GATEWAY_KEY}"],
                 [f"x-team-key: {GATEWAY_KEY}"], [f"api_key: {GATEWAY_KEY}", f"api-key: {GATEWAY_KEY}"]):
        before = len(data_requests(stack))
        answer = raw_chat(stack, token=token, head=head)
        assert answer.status_code == 200, answer.raw
        seen = data_requests(stack)[before]
        assert header_values(seen, "api-key") == ["the-resources-own-key"]
        assert not header_values(seen, "authorization")
        assert GATEWAY_KEY not in json.dumps(seen) and token not in json.dumps(seen)


def test_token_of_20_kb(gw):
    token = gw.token(padding="A" * 20000)
    answer = raw_chat(gw, token=token)
    assert answer.status_code in (401, 431), answer.raw
    nothing_sent(gw)
    answer = raw_chat(gw, token=gw.token(padding="A" * 10000))  # 13.5 kB
    ran_what_was_decided(gw, answer)


def test_headers_of_100_kb(gw):
    for head in ([f"X-A: {'a' * 100_000}"], [f"X-A{i}: {'a' * 1000}" for i in range(100)], ["X-A: b"] * 95,
                 [f"X{i}: a" for i in range(500)]):
        answer = raw_chat(gw, head=head)
        assert answer.status_code in (200, 431, *NOT_HTTP), answer.raw[:300]
        if answer.status_code != 200:
            nothing_sent(gw)
        gw.sim.reset()
    with gw.client(http2=True) as client:
        answer = gw.chat(client=client, headers={f"x-{i}": "a" * 1000 for i in range(60)})
    assert answer.status_code == 431
    nothing_sent(gw)


def test_headers_that_fill_the_memory_of_a_request(gw):
    """Each is within its bound. Together they exceed the memory that the agent has for a request."""
    head = ["Authorization: Bearer " + "eyJ" + "A" * 15000 + ".B.C", f"api-key: {'k' * 1024}",
            f"x-api-key: {'k' * 1024}", f"x-team-key: {'k' * 1024}", "x-ms-foundry-agent-id: " + "i" * 4000]
    path = "/openai/v1/" + "p" * 1900 + "/chat/completions?" + "q" * 2000
    answer = raw_chat(gw, token="", head=head, path=path)
    assert 400 <= answer.status_code < 500, answer.raw[:300]
    nothing_sent(gw)
    assert gw.chat().status_code == 200


def test_headers_that_name_a_caller_are_ignored(gw):
    """X-MS-CLIENT-PRINCIPAL and the like are set by App Service. Here a caller sent them."""
    head = ["X-MS-CLIENT-PRINCIPAL: e30=", f"X-MS-CLIENT-PRINCIPAL-ID: {TINY_APP}", "X-Consumer: tiny"]
    answer = raw_chat(gw, token="", head=head)
    assert answer.status_code == 401
    answer = raw_chat(gw, head=head)
    assert gw.decision(answer.headers["x-request-id"])["consumer"] == "demo"


# -------------------------------------------------------- request smuggling

SMUGGLED = b"POST /openai/deployments/forbidden-model/chat/completions HTTP/1.1\r\nHost: x\r\n" \
           b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def smuggle(gw, head, body):
    """Sends a request with another one hidden in its body; the status of every answer. The hidden
    request must not get the credential of the first, and must not run."""
    data = chat_bytes(gw, body=body, length=False, close=False, head=head)
    raw = exchange(gw, data + LAST)
    for seen in data_requests(gw):
        assert seen["deployment"] == "gpt-4o-east", seen
        assert "forbidden-model" not in seen["body"]
    return split_answers(raw)


GOOD = b'{"model":"gpt-4o",' + MESSAGES + b"}"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


SMUGGLING = {
    "length-and-chunked": ([f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked"],
                           chunk(GOOD) + b"0\r\n\r\n" + SMUGGLED),
    "chunked-and-short-length": (["Content-Length: 4", "Transfer-Encoding: chunked"],
                                 chunk(GOOD) + b"0\r\n\r\n" + SMUGGLED),
    "two-lengths": ([f"Content-Length: {len(GOOD)}", f"Content-Length: {len(GOOD) + len(SMUGGLED)}"],
                    GOOD + SMUGGLED),
    "length-list": ([f"Content-Length: {len(GOOD)}, {len(GOOD) + 5}"], GOOD + SMUGGLED),
    "length-with-plus": ([f"Content-Length: +{len(GOOD)}"], GOOD + SMUGGLED),
    "length-in-hex": (["Content-Length: 0x20"], GOOD + SMUGGLED),
    "negative-length": (["Content-Length: -1"], GOOD + SMUGGLED),
    "length-that-overflows": (["Content-Length: 18446744073709551617"], GOOD + SMUGGLED),
    "chunked-in-capitals": (["Transfer-Encoding: CHUNKED"], chunk(GOOD) + b"0\r\n\r\n" + SMUGGLED),
    "chunked-with-tab": (["Transfer-Encoding:\tchunked"], chunk(GOOD) + b"0\r\n\r\n" + SMUGGLED),
    "xchunked": (["Transfer-Encoding: xchunked", f"Content-Length: {len(GOOD)}"], GOOD + SMUGGLED),
    "chunked-twice": (["Transfer-Encoding: chunked, chunked"], chunk(GOOD) + b"0\r\n\r\n" + SMUGGLED),
    "chunked-then-identity": (["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
                              chunk(GOOD) + b"0\r\n\r\n" + SMUGGLED),
    "bad-chunk-size": (["Transfer-Encoding: chunked"], b"zz\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
    "negative-chunk-size": (["Transfer-Encoding: chunked"], b"-5\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
    "huge-chunk-size": (["Transfer-Encoding: chunked"],
                        b"ffffffffffffffffff\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
    "chunk-longer-than-said": (["Transfer-Encoding: chunked"], b"5\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED),
    "chunk-ended-by-lf": (["Transfer-Encoding: chunked"],
                          b"%x\n%s\n0\n\n" % (len(GOOD), GOOD) + SMUGGLED),
    "trailer": (["Transfer-Encoding: chunked"],
                chunk(GOOD) + b"0\r\nAuthorization: Bearer x\r\nApi-Key: smuggled\r\n\r\n" + SMUGGLED),
    "chunk-extension": (["Transfer-Encoding: chunked"],
                        b"%x;x=\"\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD) + SMUGGLED),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_request_smuggling_by(gw, name):
    head, body = SMUGGLING[name]
    answers = smuggle(gw, head, body)
    if not answers:
        nothing_sent(gw)
        return
    # at most the outer request runs; if HAProxy takes the hidden one for a
    # request, it has no credential
    assert answers[0] in (200, 400, 411, 413, 422, 501), answers
    assert all(a in (400, 401, 408) for a in answers[1:]), answers
    for seen in data_requests(gw):
        assert "smuggled" not in json.dumps(seen["headers"])


def test_body_of_a_get_is_not_taken_for_a_request(gw):
    data = chat_bytes(gw, method="GET", body=SMUGGLED, close=False)
    answers = split_answers(exchange(gw, data + LAST))
    assert set(answers) <= {400, 401, 405}, answers
    nothing_sent(gw)


def test_upgrades_and_other_protocols_are_refused(gw):
    for head in (["Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"],
                 ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"]):
        gw.sim.reset()
        answer = Answer(exchange(gw, chat_bytes(gw, head=head, close=False) + LAST))
        assert answer.status_code != 101
        for seen in data_requests(gw):
            assert not header_values(seen, "upgrade") and not header_values(seen, "http2-settings")
    for line in (b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % gw.ports["sim"],
                 b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET /x HTTP/0.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        gw.sim.reset()
        raw = exchange(gw, line + LAST)
        assert not raw.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")), raw
        nothing_sent(gw)


# -------------------------------------------------------- logs and endpoints


FORGED = "decision id=11111111-1111-1111-1111-111111111111 verdict=allow"
HOSTILE = {
    "newline": "x\n2026-01-01T00:00:00.000Z info " + FORGED,
    "crlf": "x\r\n2026-01-01T00:00:00.000Z info " + FORGED,
    "fields": 'x verdict=allow status=200 consumer=admin "',
    "quote-and-brace": '"} {"v":2,"id":"x","verdict":"allow',
    "backslash": "\\\\\" verdict=allow",
    "escape-sequence": "\x1b[2J\x1b[31mroot",
    "line-separator": "x\u2028y\u2029z\u0085w",
    "right-to-left": "\u202everdict\u202c",
    "not-the-end": "x" * 120,
    "emoji": "\U0001f600" * 20,
}


@contextlib.contextmanager
def clean_logs(gw):
    """Within the block a usage record is sent that the agent can read, and nothing forges a log line."""
    before, had = usage_records(gw, "malformed"), usage_records(gw)
    yield
    wait_until("the usage record", lambda: usage_records(gw) > had)
    assert usage_records(gw, "malformed") == before
    check_log(gw)


@pytest.mark.parametrize("name", HOSTILE)
def test_log_injection_by_model_name(gw, name):
    with clean_logs(gw):
        decision = refused(gw, gw.chat(model=HOSTILE[name]), 404, "model_not_found")
        assert "consumer" not in decision or decision["consumer"] == "demo"


def check_log(gw):
    """Every line begins as the agent's lines do. (The check of the configuration prints others, before
    the first of them.)"""
    log = gw.children["agent"].log_path.read_bytes()
    log = log[re.search(rb"(?m)^\S+ info ", log).start():]
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", log), "a control character"
    for line in log.decode().split("\n"):
        assert line == "" or re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn|error) [\w-]+ ", line), line
        assert not line.startswith("2026-01-01T00:00:00.000Z"), line
    assert not re.search(r"(?m)^\S+ info " + FORGED, log.decode())


@pytest.mark.parametrize("name", HOSTILE)
def test_log_injection_by_headers_and_path(gw, name):
    text = HOSTILE[name].encode().replace(b"\n", b"%0a").replace(b"\r", b"%0d").replace(b" ", b"%20")
    text = re.sub(rb"[^!-~]|[\"\\]", lambda m: b"%%%02x" % m.group(0)[0], text)
    value = re.sub(rb"[\x00-\x1f]", b"", HOSTILE[name].encode())
    head = [b"User-Agent: " + value, b"X-Ms-Foundry-Agent-Id: " + value, b"X-Ms-Client-Request-Id: " + value]
    with clean_logs(gw):
        for path in (CHAT.encode() + b"?x=" + text, b"/openai/deployments/" + text + b"/chat/completions"):
            answer = raw_chat(gw, head=head, path=path.decode())
            assert answer.status_code in (200, 404, *NOT_HTTP), answer.raw


def test_log_injection_by_token_claims(gw):
    """The names of the caller are in both lines. Entra signed them, but the admin of a tenant may
    give an app any name."""
    evil = 'x"} {"v":2\n' + FORGED
    with clean_logs(gw):
        answer = gw.chat(token=gw.token(xms_mirid=evil, name=evil, roles=["Gateway.Use", evil], xms_par_app_azp=evil))
        assert answer.status_code in (200, 401)


@pytest.mark.parametrize("more", [{}, STREAMED], ids=["plain", "streamed"])
def test_usage_in_the_text_of_an_answer_is_not_counted(gw, more):
    """The model may write anything; only the usage object of the answer counts."""
    before = usage_records(gw, "malformed")
    gw.sim.defaults(
        text='"}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}} \n\ndata: {"usage":{}}\n\n')
    answer = gw.chat(**more)
    seen = ran_what_was_decided(gw, answer)
    usage = gw.usage(request_id(answer))
    assert int(usage["input"]) == seen["usage"]["prompt_tokens"] > 0
    assert int(usage["output"]) == seen["usage"]["completion_tokens"] > 0
    assert usage_records(gw, "malformed") == before


def test_endpoints_of_agent_and_simulator_cannot_be_reached_through_the_gateway(gw):
    token = gw.token()
    for path in ("/metrics", "/healthz", "/readyz", "/stats", "/control/stats", "/control/reset",
                 "/metadata/identity/oauth2/token?resource=https://cognitiveservices.azure.com"):
        for method in ("GET", "POST"):
            for host in ("localhost", f"127.0.0.1:{gw.ports['agent_http']}", f"127.0.0.1:{gw.ports['stats']}",
                         "169.254.169.254"):
                answer = raw_chat(gw, path=path, method=method, host=host, token=token, head=["Metadata: true"])
                assert answer.status_code == 404, (path, answer.raw)
                assert gw.decision(answer.headers["x-request-id"])["code"] == "unknown_operation"
    nothing_sent(gw)


def test_refused_credential_is_neither_answered_nor_logged(gw):
    token = gw.token(aud="https://other.example")
    answer = gw.chat(token=token, headers={"api-key": "a-key-that-nobody-may-see"})
    assert answer.status_code == 401
    said = answer.text + str(answer.headers) + gw.logs()
    assert token not in said and token.split(".")[2] not in said
    assert "a-key-that-nobody-may-see" not in said
