"""The lists of models that Foundry and SDKs ask for. The gateway answers them from the configuration,
with the models that the caller may use."""
import pytest

from harness import GATEWAY_KEY, TINY_APP, request_id


def names_azure(answer):
    return {m["name"] for m in answer.json()["value"]}


ALLOWED = {"gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "claude-sonnet-4-5"}


@pytest.mark.parametrize("path", ["/deployments", "/deployments?api-version=2023-05-01", "/openai/deployments",
                                  "/api/v1/custom/deployments"])
def test_list_as_azure(gw, path):
    answer = gw.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert names_azure(answer) == ALLOWED  # forbidden-model is not shown
    one = next(m for m in answer.json()["value"] if m["name"] == "claude-sonnet-4-5")
    assert one["properties"]["model"] == {"format": "Anthropic", "name": "claude-sonnet-4-5", "version": ""}
    assert gw.decision(request_id(answer))["verdict"] == "answer"


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/openai/models?api-version=2024-10-21",
                                  "/openai/v1/models"])
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_list_as_openai(gw, path, http2):
    with gw.client(http2=http2) as client:
        answer = gw.get(path, client=client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["object"] == "list"
    assert {m["id"] for m in body["data"]} == ALLOWED
    assert all(m["object"] == "model" for m in body["data"])


def test_get_one_model(gw):
    answer = gw.get("/deployments/gpt-4o")
    assert answer.json() == {
        "name": "gpt-4o", "properties": {"model": {"format": "OpenAI", "name": "gpt-4o", "version": ""}}}
    answer = gw.get("/v1/models/gpt-4o")
    assert answer.json()["id"] == "gpt-4o"
    # an alias answers under the name that was asked for
    assert gw.get("/deployments/gpt-4o-latest").json()["name"] == "gpt-4o-latest"


def test_get_a_model_with_a_percent_encoded_name(make_stack):
    def change(config):
        config["models"]["gpt 4o (eu)"] = {"deployments": [{"resource": "east", "name": "gpt-4o-eu"}]}

    stack = make_stack(change=change)
    for path in ("/deployments/gpt%204o%20%28eu%29", "/v1/models/gpt%204o%20%28eu%29"):
        assert stack.get(path).status_code == 200
    assert "gpt 4o (eu)" in names_azure(stack.get("/deployments"))


@pytest.mark.parametrize("path", ["/deployments/no-such", "/v1/models/no-such", "/deployments/forbidden-model",
                                  "/deployments/gpt-4o%2f..", "/deployments/%00", "/v1/models/.."])
def test_unknown_and_forbidden_models_are_404(gw, path):
    answer = gw.get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_models_are_shown_only_with_a_credential(gw):
    for path in ("/deployments", "/v1/models", "/deployments/gpt-4o"):
        answer = gw.get(path, token="")
        assert answer.status_code == 401
        assert "gpt" not in answer.text
        assert gw.get(path, token="", headers={"api-key": GATEWAY_KEY}).status_code == 200


def test_only_models_that_rules_allow_are_shown(make_stack):
    def change(config):
        config["rules"] = [
            {"name": "tiny", "effect": "allow", "consumers": ["tiny"], "models": ["gpt-4o-mini"],
             "operations": ["chat"]},
            {"name": "demo", "effect": "allow", "consumers": ["demo"]},
        ]

    stack = make_stack(change=change)
    assert names_azure(stack.get("/deployments", token=stack.token(appid=TINY_APP))) == {"gpt-4o-mini"}
    assert "gpt-4o" in names_azure(stack.get("/deployments"))
    assert stack.get("/deployments/gpt-4o", token=stack.token(appid=TINY_APP)).status_code == 404


def test_discovery_does_not_reach_a_resource(gw):
    gw.get("/v1/models")
    gw.get("/deployments/gpt-4o")
    assert not [r for r in gw.sim.requests() if "/models" in r["path"] or "/deployments" in r["path"]]


def test_other_methods_are_refused(gw):
    assert gw.request("DELETE", "/v1/models/gpt-4o").status_code == 405
    assert gw.request("PUT", "/deployments/gpt-4o").status_code == 405


def test_list_that_is_too_large_is_an_error(make_stack):
    def change(config):
        for i in range(400):
            config["models"][f"model-{i:03}-with-a-name-of-some-length"] = {
                "deployments": [{"resource": "east", "name": f"d{i}"}]
            }

    stack = make_stack(change=change)
    answer = stack.get("/deployments")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "answer_too_large"
    assert stack.get("/deployments/gpt-4o").status_code == 200
