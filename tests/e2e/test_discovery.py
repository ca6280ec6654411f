"""Which models are there: asked by Foundry and by SDKs, answered from the
configuration, for the caller who asks."""
import pytest

from harness import GATEWAY_KEY, TINY_APP, request_id


def get(gw, path, token=None, headers=None, http2=False):
    head = dict(headers or {})
    if token != "":
        head["authorization"] = f"Bearer {token or gw.token()}"
    with gw.client(http2=http2) as client:
        return client.get(path, headers=head)


def names_azure(answer):
    return {m["name"] for m in answer.json()["value"]}


ALLOWED = {"gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "claude-sonnet-4-5"}


@pytest.mark.parametrize("path", ["/deployments", "/deployments?api-version=2023-05-01", "/openai/deployments",
                                  "/api/v1/custom/deployments"])
def test_list_as_azure(gw, path):
    answer = get(gw, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert names_azure(answer) == ALLOWED  # forbidden-model is not shown
    one = next(m for m in answer.json()["value"] if m["name"] == "claude-sonnet-4-5")
    assert one["properties"]["model"] == {"format": "Anthropic", "name": "claude-sonnet-4-5", "version": ""}
    assert gw.decision(request_id(answer))["verdict"] == "answer"


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/openai/models?api-version=2024-10-21", "/openai/v1/models"])
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_list_as_openai(gw, path, http2):
    answer = get(gw, path, http2=http2)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "list"
    assert {m["id"] for m in body["data"]} == ALLOWED
    assert all(m["object"] == "model" for m in body["data"])


def test_one(gw):
    answer = get(gw, "/deployments/gpt-4o")
    assert answer.json() == {"name": "gpt-4o", "properties": {"model": {"format": "OpenAI", "name": "gpt-4o", "version": ""}}}
    answer = get(gw, "/v1/models/gpt-4o")
    assert answer.json()["id"] == "gpt-4o"
    # an alias answers under the name that was asked for
    assert get(gw, "/deployments/gpt-4o-latest").json()["name"] == "gpt-4o-latest"


def test_one_with_percent_encoded_name(make_stack):
    def change(config):
        config["models"]["gpt 4o (eu)"] = {"deployments": [{"resource": "east", "name": "gpt-4o-eu"}]}

    stack = make_stack(change=change)
    for path in ("/deployments/gpt%204o%20%28eu%29", "/v1/models/gpt%204o%20%28eu%29"):
        assert get(stack, path).status_code == 200
    assert "gpt 4o (eu)" in names_azure(get(stack, "/deployments"))


@pytest.mark.parametrize("path", ["/deployments/no-such", "/v1/models/no-such", "/deployments/forbidden-model",
                                  "/deployments/gpt-4o%2f..", "/deployments/%00", "/v1/models/.."])
def test_unknown_and_forbidden_look_the_same(gw, path):
    answer = get(gw, path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_nothing_for_strangers(gw):
    for path in ("/deployments", "/v1/models", "/deployments/gpt-4o"):
        answer = get(gw, path, token="")
        assert answer.status_code == 401
        assert "gpt" not in answer.text
        assert get(gw, path, token="", headers={"api-key": GATEWAY_KEY}).status_code == 200


def test_only_what_rules_allow(make_stack):
    def change(config):
        config["rules"] = [
            {"name": "tiny", "effect": "allow", "consumers": ["tiny"], "models": ["gpt-4o-mini"], "operations": ["chat"]},
            {"name": "demo", "effect": "allow", "consumers": ["demo"]},
        ]

    stack = make_stack(change=change)
    assert names_azure(get(stack, "/deployments", token=stack.token(appid=TINY_APP))) == {"gpt-4o-mini"}
    assert "gpt-4o" in names_azure(get(stack, "/deployments"))
    assert get(stack, "/deployments/gpt-4o", token=stack.token(appid=TINY_APP)).status_code == 404


def test_nothing_reaches_azure(gw):
    get(gw, "/v1/models")
    get(gw, "/deployments/gpt-4o")
    assert not [r for r in gw.sim.requests() if "/models" in r["path"] or "/deployments" in r["path"]]


def test_other_methods_are_refused(gw):
    with gw.client() as client:
        head = {"authorization": f"Bearer {gw.token()}"}
        assert client.delete("/v1/models/gpt-4o", headers=head).status_code == 405
        assert client.put("/deployments/gpt-4o", headers=head).status_code == 405


def test_a_list_larger_than_an_answer_may_be_says_so(make_stack):
    def change(config):
        for i in range(400):
            config["models"][f"model-{i:03}-with-a-name-of-some-length"] = {
                "deployments": [{"resource": "east", "name": f"d{i}"}]
            }

    stack = make_stack(change=change)
    answer = get(stack, "/deployments")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "answer_too_large"
    assert get(stack, "/deployments/gpt-4o").status_code == 200
