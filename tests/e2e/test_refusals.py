"""Every refusal: what the caller receives, what is logged, and that no resource is asked."""
import base64
import hashlib
import json
import re
import time

import pytest

from harness import CHAT, GATEWAY_KEY, HELLO, TENANT, TINY_APP, bearer, jwt_part, request_id, wait_until
from refusals import SHAPES, data_requests, nothing_sent, raw_chat, refused
from steps import by_day, day, limits, reserved_by

OTHER_TENANT = "99999999-1111-1111-1111-111111111111"
BODIES = {"anthropic": {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": HELLO}}


def ask(stack, shape="openai", headers=None, client=None):
    """A request that is served if its headers are right. It has no credential but those."""
    return stack.post(SHAPES[shape], token="", client=client, headers=headers,
                      json=BODIES.get(shape, {"model": "gpt-4o", "messages": HELLO}))


def now(offset=0):
    return int(time.time()) + offset


# ----------------------------------------------------------------- credentials


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_no_credential(gw, shape, http2):
    with gw.client(http2=http2) as client:
        answer = ask(gw, shape, client=client)
    refused(gw, answer, 401, "credential_missing", shape)
    # RFC 6750, 3.1: no error code when nothing was presented
    assert answer.headers["www-authenticate"] == 'Bearer realm="foundry-gateway"'


@pytest.mark.parametrize("shape", SHAPES)
def test_expired_token_in_each_shape(gw, shape):
    answer = ask(gw, shape, bearer(gw.token(exp=now(-3600), nbf=now(-7200))))
    refused(gw, answer, 401, "token_expired", shape)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


ISSUER = "{sim}/{tid}/"
BAD_CLAIMS = {
    "expired": ({"exp": now(-3600), "nbf": now(-7200)}, 401, "token_expired"),
    "not-yet-valid": ({"nbf": now(7200), "exp": now(9000)}, 401, "token_not_yet_valid"),
    "other-audience": ({"aud": "https://management.azure.com"}, 401, "token_audience"),
    "audience-as-prefix": ({"aud": "api://foundry-gateway.evil.example"}, 401, "token_audience"),
    "audience-list-of-others": ({"aud": ["https://a.example", "https://b.example"]}, 401, "token_audience"),
    "audience-number": ({"aud": 7}, 401, "token_claims"),
    "other-issuer": ({"iss": "https://evil.example/"}, 401, "token_issuer"),
    "issuer-without-slash": ({"iss": ISSUER[:-1]}, 401, "token_issuer"),
    "v2-issuer-in-v1-token": ({"iss": ISSUER + "v2.0"}, 401, "token_issuer"),
    "issuer-of-other-tenant": ({"iss": f"{{sim}}/{OTHER_TENANT}/"}, 401, "token_issuer"),
    "foreign-tenant": ({"tid": OTHER_TENANT, "iss": f"{{sim}}/{OTHER_TENANT}/"}, 401, "token_tenant"),
    "foreign-tid-our-issuer": ({"tid": OTHER_TENANT}, 401, "token_tenant"),
    "no-tid": ({"tid": None}, 401, "token_tenant"),
    "no-exp": ({"exp": None}, 401, "token_claims"),
    "exp-as-text": ({"exp": str(now(3600))}, 401, "token_claims"),
    "exp-far-beyond-64-bit": ({"exp": 1e300}, 401, "token_claims"),
    "no-aud": ({"aud": None}, 401, "token_claims"),
    "no-caller": ({"appid": None, "oid": None}, 401, "token_claims"),
    "app-is-no-guid": ({"appid": "*"}, 401, "token_claims"),
    "no-roles": ({"roles": None}, 403, "token_permission"),
    "other-roles": ({"roles": ["Gateway.User", "gateway.use", "Gateway.Use "]}, 403, "token_permission"),
    "roles-as-text": ({"roles": "Gateway.Use"}, 401, "token_claims"),
    "scope-of-an-app-does-not-count": ({"roles": None, "idtyp": "app", "scp": "Gateway.Access"}, 403,
                                       "token_permission"),
    "role-of-a-user-does-not-count": ({"idtyp": "user", "scp": "Files.Read"}, 403, "token_permission"),
    "scope-as-part-of-a-word": ({"idtyp": "user", "scp": "xGateway.Access Gateway.AccessX"}, 403,
                                "token_permission"),
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_token_with_wrong_claims(gw, name):
    claims, status, code = BAD_CLAIMS[name]
    claims = {k: v.format(sim=gw.sim.url, tid=TENANT) if isinstance(v, str) else v for k, v in claims.items()}
    refused(gw, ask(gw, headers=bearer(gw.sim.token(claims))), status, code)


@pytest.mark.parametrize("claims, more", [
    ({}, {}), ({"idtyp": "user", "scp": "Files.Read Gateway.Access"}, {}), ({}, {"version": "2.0"}),
    ({"aud": ["x", "api://foundry-gateway"]}, {})], ids=["app", "user", "v2", "list of audiences"])
def test_token_with_right_claims_is_served(gw, claims, more):
    """So the tokens of the refusals have one wrong claim, and no other."""
    assert ask(gw, headers=bearer(gw.sim.token(claims, **more))).status_code == 200


def kid_of(gw):
    return jwt_part(gw.token(), 0)["kid"]


def forgeries(gw):
    kid, good = kid_of(gw), gw.token()
    head, payload, sig = good.split(".")
    changed = jwt_part(good, 1) | {"roles": ["Gateway.Use", "Admin"]}
    changed = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
    claims = json.dumps(jwt_part(good, 1))
    mint = gw.sim.token
    return {
        "other-key": (mint(key="other"), "token_unknown_key"),
        "other-key-under-our-kid": (mint(key="other", header={"kid": kid, "x5t": kid}), "token_signature"),
        "key-in-header": (mint(key="other", header={"kid": kid, "jwk": {"kty": "RSA"}}), "token_signature"),
        "kid-as-path": (mint(header={"kid": "../../dev/null"}), "token_unknown_key"),
        "no-kid": (mint(header={"kid": None}), "token_unknown_key"),
        "alg-none": (mint(header={"alg": "none"}), None),
        "alg-None-with-signature": (mint(header={"alg": "None"}, raw={"signature": sig}), "token_algorithm"),
        "no-alg": (mint(header={"alg": None}, raw={"signature": sig}), "token_algorithm"),
        "hs256-with-public-key-pem": (mint(header={"alg": "HS256"}, hmac_key="pem"), "token_algorithm"),
        "rs384": (mint(header={"alg": "RS384"}), "token_algorithm"),
        "ps256": (mint(header={"alg": "PS256"}), "token_algorithm"),
        "crit": (mint(header={"crit": ["exp"]}), "token_algorithm"),
        "changed-payload": (f"{head}.{changed}.{sig}", "token_signature"),
        "signature-of-another-token": (f"{head}.{payload}.{gw.token().split('.')[2]}", "token_signature"),
        "empty-signature": (f"{head}.{payload}.", None),
        "two-parts": (f"{head}.{payload}", "token_malformed"),
        "four-parts": (good + ".x", "token_malformed"),
        "padding": (good + "=", "token_malformed"),
        "tail": (good + "A", None),
        "tid-twice": (mint(raw={"payload": claims[:-1] + f',"tid":"{OTHER_TENANT}"}}'}), "token_malformed"),
        "TID-twice": (mint(raw={"payload": claims[:-1] + f',"TID":"{OTHER_TENANT}"}}'}), "token_malformed"),
        "alg-twice": (mint(raw={"header": '{"alg":"RS256","alg":"none","kid":"%s"}' % kid}), None),
        "payload-is-no-json": (mint(raw={"payload": "{"}), "token_malformed"),
        "v2-version-on-v1-claims": (mint({"ver": "2.0"}), "token_issuer"),
        "version-3": (mint({"ver": "3.0"}), None),
    }


FORGERIES = ["other-key", "other-key-under-our-kid", "key-in-header", "kid-as-path", "no-kid", "alg-none",
             "alg-None-with-signature", "no-alg", "hs256-with-public-key-pem", "rs384", "ps256", "crit",
             "changed-payload", "signature-of-another-token", "empty-signature", "two-parts", "four-parts",
             "padding", "tail", "tid-twice", "TID-twice", "alg-twice", "payload-is-no-json",
             "v2-version-on-v1-claims", "version-3"]


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_token(gw, name):
    token, code = forgeries(gw)[name]
    answer = ask(gw, headers=bearer(token))
    if code is None:  # several checks refuse it, and any of them may be the first
        code = gw.decision(request_id(answer))["code"]
        assert code.startswith("token_"), code
    refused(gw, answer, 401, code)


def test_every_forgery_is_tried(gw):
    assert set(forgeries(gw)) == set(FORGERIES)


@pytest.mark.parametrize("headers", [{"api-key": "wrong"}, {"x-api-key": "wrong"}, {"x-team-key": "wrong"},
                                     bearer("wrong")], ids=["api-key", "x-api-key", "configured header", "bearer"])
def test_unknown_gateway_key(gw, headers):
    refused(gw, ask(gw, headers=headers), 401, "key_unknown")


def test_good_token_with_a_bad_key_is_refused(gw):
    """Every credential that came must be good, unless keys.require ignores its kind."""
    refused(gw, ask(gw, headers={**bearer(gw.token()), "api-key": "wrong"}), 401, "key_unknown")


def test_good_key_with_a_bad_token_is_refused(gw):
    token = gw.token(aud="https://management.azure.com")
    refused(gw, ask(gw, headers={**bearer(token), "api-key": GATEWAY_KEY}), 401, "token_audience")


AMBIGUOUS = {
    "two-authorizations": [("authorization", "TOKEN"), ("authorization", "TOKEN")],
    "token-and-basic": [("authorization", "TOKEN"), ("authorization", "Basic YTpi")],
    "api-key-twice": [("api-key", GATEWAY_KEY), ("api-key", GATEWAY_KEY)],
    "x-api-key-twice": [("x-api-key", GATEWAY_KEY), ("x-api-key", "other")],
    "api-key-is-not-x-api-key": [("api-key", GATEWAY_KEY), ("x-api-key", "other")],
    "x-api-key-is-not-api-key": [("api-key", "other"), ("x-api-key", GATEWAY_KEY)],
    "key-as-bearer-is-not-api-key": [("authorization", f"Bearer {GATEWAY_KEY}"), ("api-key", "other")],
    "configured-header-is-not-api-key": [("x-team-key", GATEWAY_KEY), ("api-key", "other")],
    "configured-header-twice": [("x-team-key", GATEWAY_KEY), ("x-team-key", GATEWAY_KEY)],
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_credential(gw, name):
    token = gw.token()
    head = [(n, f"Bearer {token}" if v == "TOKEN" else v) for n, v in AMBIGUOUS[name]]
    with gw.client() as client:  # the same header twice
        answer = client.post(CHAT, json={"model": "gpt-4o", "messages": HELLO}, headers=head)
    refused(gw, answer, 401, "credential_ambiguous")


def test_same_key_in_several_headers_is_served(gw):
    head = {"api-key": GATEWAY_KEY, "x-api-key": GATEWAY_KEY, "x-team-key": f"Bearer {GATEWAY_KEY}"}
    assert ask(gw, headers=head).status_code == 200


REQUIRE = {
    # keys.require: (nothing, token, key, both) -> code of the refusal
    "any": ("credential_missing", None, None, None),
    "token": ("credential_missing", None, "credential_missing", None),
    "key": ("credential_missing", "credential_missing", None, None),
    "both": ("credential_missing", "credential_missing", "credential_missing", None),
}


@pytest.mark.parametrize("rule", REQUIRE)
def test_which_credential_is_required(make_stack, rule):
    def change(config):
        config["keys"]["require"] = rule
        config["keys"]["entries"]["old-key"] = {"sha256": hashlib.sha256(b"old").hexdigest(),
                                                "not_after": "2020-01-01T00:00:00Z"}

    stack = make_stack(change=change)
    token, key = bearer(stack.token()), {"api-key": GATEWAY_KEY}
    for headers, code in zip(({}, token, key, {**token, **key}), REQUIRE[rule]):
        stack.sim.reset()
        answer = ask(stack, headers=headers)
        if code:
            refused(stack, answer, 401, code)
        else:
            assert answer.status_code == 200, answer.text
    stack.sim.reset()
    answer = ask(stack, headers={**token, "api-key": "old"})
    if rule == "token":  # keys are ignored, whatever they are
        assert answer.status_code == 200
    else:
        refused(stack, answer, 401, "key_expired")


# ---------------------------------------------------------------- who and what


def test_unknown_consumer(gw):
    token = gw.token(appid="55555555-5555-5555-5555-555555555555")
    for shape in SHAPES:
        refused(gw, ask(gw, shape, bearer(token)), 403, "consumer_unknown", shape)


@pytest.mark.parametrize("claim", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": True}])
def test_token_without_its_groups_is_explained_to_the_operator(gw, claim):
    """Entra names no groups when there are more than 200: rules by group do not hold."""
    token = gw.token(appid="55555555-5555-5555-5555-555555555555", **claim)
    decision = refused(gw, ask(gw, "openai", bearer(token)), 403, "consumer_unknown", "openai")
    assert "too many groups" in decision["reason"]


def test_model_that_a_rule_forbids(gw):
    for path, body in ((CHAT, "forbidden-model"),
                       ("/openai/deployments/forbidden-model/chat/completions", "gpt-4o")):
        answer = gw.chat(path=path, model=body)
        decision = refused(gw, answer, 403, "not_allowed")
        assert decision["reason"] == "rule=no-forbidden" and decision["rule"] == "no-forbidden"


def test_operation_that_no_rule_allows(make_stack):
    def change(config):
        config["rules"] = [{"name": "chat-only", "effect": "allow", "operations": ["chat"]}]

    stack = make_stack(change=change)
    answer = stack.post("/openai/v1/embeddings", json={"model": "text-embedding-3-small", "input": "x"})
    assert refused(stack, answer, 403, "not_allowed")["reason"] == "rule=default-deny"


@pytest.mark.parametrize("shape", SHAPES)
def test_unknown_model(gw, shape):
    answer = gw.post(SHAPES[shape].replace("gpt-4o", "no-such"),
                     json={"model": "no-such", "max_tokens": 3, "messages": HELLO})
    refused(gw, answer, 404, "model_not_found", shape)
    assert "no-such" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path, shape", [("/openai/v1/containers/secret", "openai"), ("/", "openai"),
                                         ("/chat", "openai"), ("/openai/assistants", "openai"),
                                         ("/anthropic/v1/skills", "anthropic")])
def test_unknown_operation(gw, path, shape):
    refused(gw, gw.post(path, json={"model": "gpt-4o"}), 404, "unknown_operation", shape)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("shape", SHAPES)
def test_wrong_method(gw, method, shape):
    refused(gw, gw.request(method, SHAPES[shape]), 405, "method_not_allowed", shape)


def test_head_is_refused_without_a_body(gw):
    answer = gw.request("HEAD", CHAT)
    assert answer.status_code == 405 and answer.content == b""
    assert gw.decision(request_id(answer))["code"] == "method_not_allowed"
    nothing_sent(gw)


@pytest.mark.parametrize("path, model", [(CHAT, "no-such"), ("/no/such", "gpt-4o")], ids=["model", "operation"])
def test_unknown_names_without_a_credential(gw, path, model):
    """The answer does not tell which models and operations exist."""
    refused(gw, gw.post(path, token="", json={"model": model}), 401, "credential_missing")


# ------------------------------------------------------------------- the body


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                                  "application/jsonp", "text/json", "application/octet-stream", None])
@pytest.mark.parametrize("shape", SHAPES)
def test_wrong_content_type(gw, kind, shape):
    answer = gw.post(SHAPES[shape], content=b'{"model":"gpt-4o"}', headers={"content-type": kind} if kind else {})
    refused(gw, answer, 415, "unsupported_media_type", shape)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"])
def test_content_type_that_is_json_is_served(gw, kind):
    assert gw.chat(headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"])
@pytest.mark.parametrize("shape", SHAPES)
def test_content_encoding(gw, encoding, shape):
    answer = ask(gw, shape, {**bearer(gw.token()), "content-encoding": encoding})
    refused(gw, answer, 415, "unsupported_encoding", shape)


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut": b'{"model":"gpt-4o"',
    "array": b'[{"model":"gpt-4o"}]',
    "single-quotes": b"{'model':'gpt-4o'}",
    "trailing-comma": b'{"model":"gpt-4o",}',
    "comment": b'{"model":"gpt-4o"/* */}',
    "not-utf8": b'{"model":"gpt-4o","user":"\xff"}',
    "deep": b'{"model":"gpt-4o","x":' + b"[" * 300 + b"]" * 300 + b"}",
    "max-tokens-negative": b'{"model":"gpt-4o","max_tokens":-5}',
    "max-tokens-text": b'{"model":"gpt-4o","max_tokens":"5"}',
    "stream-text": b'{"model":"gpt-4o","stream":"true"}',
    "model-number": b'{"model":4}',
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("shape", SHAPES)
def test_broken_json(gw, name, shape):
    refused(gw, gw.chat(path=SHAPES[shape], content=BROKEN[name]), 400, "invalid_json", shape)


@pytest.mark.parametrize("shape", ["openai", "anthropic"])
@pytest.mark.parametrize("content", ['{}', '{"messages":[]}', '{"model":null}', '{"model":""}'])
def test_no_model(gw, content, shape):
    refused(gw, gw.chat(path=SHAPES[shape], content=content), 400, "model_missing", shape)


def large(size=300_000, model_last=True):
    text = json.dumps("a " * (size // 2))
    model = '"model":"gpt-4o"'
    messages = f'"messages":[{{"role":"user","content":{text}}}]'
    return ("{" + (f"{messages},{model}" if model_last else f"{model},{messages}") + "}").encode()


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_body_that_is_too_large(gw, http2, chunked):
    """The model stands behind 300 kB of messages or in front of them: either way the part that was
    not read may name another. With the model in the path, the body does not matter."""
    def body(**more):
        data = large(**more)
        return iter([data[i:i + 16384] for i in range(0, len(data), 16384)]) if chunked else data

    with gw.client(http2=http2) as client:
        for more in ({}, {"model_last": False}):
            answer = gw.chat(content=body(**more), client=client)
            refused(gw, answer, 413, "body_too_large")
            assert "GATEWAY_BUFSIZE" in answer.json()["error"]["message"]
        answer = gw.chat(content=body(), client=client, path=SHAPES["anthropic"])
        refused(gw, answer, 413, "body_too_large", "anthropic")
        answer = gw.chat(content=body(), client=client, path=SHAPES["azure"])
    assert answer.status_code == 200, answer.text
    (seen,) = data_requests(gw)
    assert seen["body_size"] == len(large())
    usage = gw.usage(request_id(answer))
    assert int(usage["input"]) == answer.json()["usage"]["prompt_tokens"] > 50_000


def test_body_of_200_kb_is_served(gw):
    answer = gw.chat(content=large(200_000))
    assert answer.status_code == 200, answer.text


# ------------------------------------------------------------------- limits


def seconds_to_midnight():
    return 86400 - time.time() % 86400


@pytest.mark.parametrize("shape", SHAPES)
def test_retry_after_of_a_day_limit_is_the_end_of_the_day(gw, shape):
    nearly_used_up = {"tiny-tokens:tiny": f"2:{int(time.time() // 86400)}:590"}
    gw.redis.hset("gw:{tiny}:limits", mapping=nearly_used_up)
    latest = seconds_to_midnight()
    answer = ask(gw, shape, bearer(gw.token(appid=TINY_APP)))
    soonest = seconds_to_midnight()
    decision = refused(gw, answer, 429, "rate_limit_exceeded", shape)
    assert decision["limit"] == "tiny-tokens" and decision["consumer"] == "tiny"
    # a second each way: the header is rounded up, Redis has its own clock
    assert soonest - 1 <= int(answer.headers["retry-after"]) <= latest + 2
    assert answer.headers["retry-after"] in answer.json()["error"]["message"]
    assert gw.limit_state("tiny") == nearly_used_up


def test_retry_after_of_a_minute_limit_is_when_the_bucket_holds_enough(make_stack):
    """With the bucket set to what it holds after that time, the same request is served."""
    amount = 60_000  # refilled by a thousand per second

    def change(config):
        config["limits"]["demo-tokens"].update(amount=amount, window="minute")

    stack = make_stack(change=change)
    body = {"max_tokens": 50_000}
    key, field = "gw:{demo}:limits", "demo-tokens:demo"

    def redis_ms():
        seconds, micro = stack.redis.time()
        return seconds * 1000 + micro // 1000

    def set_level(level):
        now_ms = redis_ms()
        stack.redis.hset(key, field, f"0:{level}:0:{now_ms}:{amount}")
        return now_ms

    began = set_level(0)
    answer = stack.chat(**body)
    filled = redis_ms() - began  # at most, when it was refused
    decision = refused(stack, answer, 429, "rate_limit_exceeded")
    assert decision["limit"] == "demo-tokens"
    retry, need = int(answer.headers["retry-after"]), reserved_by(decision)
    # the bucket fills while the request is on its way, so it may be less
    assert 0 < retry <= -(-need // 1000)
    assert retry * 1000 >= need - filled
    set_level(filled + retry * 1000)
    answer = stack.chat(**body)
    assert answer.status_code == 200, answer.text


def test_requests_limit(make_stack):
    stack = make_stack(change=lambda c: limits(c, three=day(3)))
    for _ in range(3):
        answer = stack.chat()
        assert answer.status_code == 200
        stack.usage(request_id(answer))
    refused(stack, stack.chat(), 429, "rate_limit_exceeded", sent=3)


@pytest.mark.parametrize("shape", SHAPES)
def test_request_larger_than_the_limit_ever_allows(gw, shape):
    model = "claude-sonnet-4-5" if shape == "anthropic" else "gpt-4o"
    answer = gw.chat(path=SHAPES[shape], model=model, token=gw.token(appid=TINY_APP), max_tokens=5000)
    assert refused(gw, answer, 400, "request_exceeds_limit", shape)["limit"] == "tiny-tokens"
    assert "600" in answer.json()["error"]["message"]
    assert gw.limit_state("tiny") == {}


@pytest.mark.parametrize("most", [2**31, 2**40, 2**53, 2**63 - 1, 2**64 - 1, 2**64, 10**30])
def test_huge_max_tokens_does_not_wrap_around(gw, most):
    answer = gw.chat(token=gw.token(appid=TINY_APP), max_tokens=most, n=128)
    code = gw.decision(request_id(answer))["code"]
    assert code in ("request_exceeds_limit", "invalid_json"), code
    refused(gw, answer, 400, code)


# ---------------------------------------------- resources, Redis, Entra, agent


def test_no_deployment_speaks_the_api_that_was_called(gw):
    refused(gw, gw.chat(model="claude-sonnet-4-5"), 400, "no_deployment")


def test_all_deployments_throttle(make_stack):
    stack = make_stack()
    stack.sim.fault(match={"endpoint": "data"}, times=1, status=429, retry_after=30)
    answer = stack.chat()
    assert answer.status_code == 429  # the upstream's own, passed on
    stack.sim.reset()
    answer = stack.chat()
    refused(stack, answer, 429, "upstream_busy")
    assert 0 < int(answer.headers["retry-after"]) <= 30


def test_limits_cannot_be_checked(make_stack):
    def change(config):
        config["limits"]["demo-tokens"]["on_store_failure"] = "deny"

    stack = make_stack(change=change)
    stack.children["redis"].stop()
    for shape in SHAPES:
        refused(stack, ask(stack, shape, bearer(stack.token())), 503, "limit_store_unavailable", shape)


def start_without(make_stack, change=None, **fault):
    """The fault is there before the agent starts."""
    return make_stack(change=change, before_agent=lambda stack: stack.sim.fault(**fault), ready=False)


def test_no_outbound_credential(make_stack):
    stack = start_without(make_stack, change=by_day, match={"endpoint": "imds"}, times=-1, status=500)
    wait_until("the agent to have asked", lambda: stack.sim.stats()["endpoints"]["imds"] > 0)
    for shape in SHAPES:
        answer = ask(stack, shape, bearer(stack.token()))
        code = stack.decision(request_id(answer))["code"]
        assert code in ("upstream_credential_unavailable", "decision_timeout")
        refused(stack, answer, 503, code, shape)
    # what had been reserved is given back
    wait_until("the reservations to be undone", lambda: re.fullmatch(
        r"2:\d+:0", stack.limit_state("demo").get("demo-tokens:demo", "")))


def test_no_signing_keys(make_stack):
    stack = start_without(make_stack, match={"endpoint": "metadata"}, times=-1, status=503)
    wait_until("the agent to have asked", lambda: stack.sim.stats()["endpoints"]["metadata"] > 0)
    answer = ask(stack, headers=bearer(stack.token()))
    code = stack.decision(request_id(answer))["code"]
    assert code in ("keys_unavailable", "decision_timeout")
    refused(stack, answer, 503, code)


def test_signing_keys_do_not_come_in_time(make_stack):
    stack = start_without(make_stack, match={"endpoint": "metadata"}, times=-1, delay_ms=60000)
    answer = ask(stack, headers=bearer(stack.token()))
    decision = refused(stack, answer, 503, "decision_timeout")
    assert decision["step"] == "authenticate"
    assert "signing keys" in answer.json()["error"]["message"]


def test_agent_is_away(make_stack):
    stack = make_stack()
    token = stack.token()
    stack.children["agent"].stop()
    for shape in SHAPES:
        answer = ask(stack, shape, bearer(token))
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert "agent did not answer" in answer.json()["error"]["message"]
        body = answer.json()
        if shape == "anthropic":
            assert body["type"] == "error" and body["request_id"] == request_id(answer)
        else:
            assert body["error"]["code"] == "decision_unavailable"
    nothing_sent(stack)


def test_haproxy_does_not_know_the_backend(make_stack):
    """backends.cfg is older than the configuration of the agent."""
    stack = make_stack()
    stack.config["resources"]["north"] = dict(stack.config["resources"]["east"])
    stack.config["models"]["gpt-4o"]["deployments"][0]["resource"] = "north"
    stack.reload_agent()
    answer = stack.chat()
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "backend_unknown"
    assert answer.headers["retry-after"] == "5" and request_id(answer)
    nothing_sent(stack)


def test_upstream_token_is_too_long_for_the_buffer_of_haproxy(make_stack):
    stack = make_stack(before_agent=lambda stack: stack.sim.defaults(token_padding=4000),
                       env={"GATEWAY_BUFSIZE": "65536", "GATEWAY_BODY_MAX": "32768"})
    for shape in SHAPES:
        refused(stack, ask(stack, shape, bearer(stack.token())), 500, "answer_too_large", shape)


# --------------------------------------------- refusals that HAProxy decides


def test_headers_are_too_large(gw):
    answer = gw.chat(headers={"x-filler": "a" * 30000})
    assert answer.status_code == 431 and answer.json()["error"]["code"] == "headers_too_large"
    assert request_id(answer)
    nothing_sent(gw)


def test_url_is_too_long(gw):
    answer = gw.chat(path=CHAT + "?x=" + "a" * 5000)
    assert answer.status_code == 414 and answer.json()["error"]["code"] == "url_too_long"
    nothing_sent(gw)


def test_body_does_not_come(make_stack):
    stack = make_stack(env={"GATEWAY_BODY_TIMEOUT": "200ms"})
    answer = raw_chat(stack, head=["Content-Length: 1000"], length=False, body="{")
    assert answer.status_code == 408 and answer.json()["error"]["code"] == "request_timeout"
    nothing_sent(stack)
