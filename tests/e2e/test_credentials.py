"""Each way to prove to Azure who the gateway is, and for what its tokens are:
the upstream sees a token of that identity and audience, nothing else does."""
import base64
import json
import signal
import subprocess

import pytest

from harness import TENANT, request_id, wait_until
from steps import clear_faults, error_code

CLIENT = "dddddddd-1111-2222-3333-444444444444"
COGNITIVE = "https://cognitiveservices.azure.com"
FOUNDRY = "https://ai.azure.com"


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def upstream_claims(stack):
    """Of the token that the last request brought to the resource."""
    seen = [r for r in stack.sim.requests() if r["endpoint"] == "data"][-1]
    (value,) = [v for k, v in seen["headers"] if k.lower() == "authorization"]
    assert value.startswith("Bearer ")
    return claims(value.removeprefix("Bearer "))


def asked(stack, endpoint):
    return [r for r in stack.sim.requests() if r["endpoint"] == endpoint]


def federated(stack, subject):
    return stack.sim.token({"aud": "api://AzureADTokenExchange", "sub": subject})


def entra(stack, kind, **more):
    stack.config["credentials"] = {"mi": {
        "type": kind, "authority": f"http://127.0.0.1:{stack.ports['sim']}", "tenant_id": TENANT, "client_id": CLIENT,
        **more}}


def start(stack, prepare=None, ready=True):
    """As Stack.start(), with time to tell the simulator things before the
    agent asks it."""
    stack.start_redis()
    stack.start_sim()
    if prepare:
        prepare(stack)
    stack.start_agent(ready=ready)
    if not ready:
        wait_until("the agent to listen", lambda: http_answers(stack))
    stack.start_haproxy()
    return stack


def http_answers(stack):
    try:
        return stack.agent_get("/healthz").status_code == 200
    except OSError:
        return False
    except Exception as e:  # httpx wraps what is refused
        assert "refused" in str(e), e
        return False


def assert_served_as(stack, appid, aud):
    answer = stack.chat()
    assert answer.status_code == 200, answer.text
    seen = upstream_claims(stack)
    assert (seen["appid"], seen["aud"]) == (appid, aud)


def swap(stack, change):
    """change() while the token endpoint is away for a moment: a refresh sees
    all of the change or none. Then a refresh that worked is waited for."""
    stack.sim.fault(match={"endpoint": "token"}, status=500, times=-1)
    change()
    clear_faults(stack)
    before = len(given(stack))
    wait_until("a token given after the change", lambda: len(given(stack)) > before)


def given(stack):
    return [r for r in asked(stack, "token") if r["status"] == 200]


def assert_no_credential(stack):
    answer = stack.chat()
    assert answer.status_code == 503, answer.text
    assert error_code(answer) == "upstream_credential_unavailable"
    assert not asked(stack, "data")


# ---- workload identity

def test_workload_identity(make_stack):
    stack = make_stack(start=False)
    token = stack.folder / "token"

    def prepare(stack):
        token.write_text(federated(stack, "pod") + "\n")
        entra(stack, "workload_identity", token_file=str(token))

    start(stack, prepare)
    assert_served_as(stack, CLIENT, COGNITIVE)
    (ask,) = asked(stack, "token")
    assert "client_assertion=ey" in ask["body"] and "client_secret" not in ask["body"]


def test_workload_identity_of_the_environment(make_stack, monkeypatch):
    stack = make_stack(start=False)
    token = stack.folder / "token"

    def prepare(stack):
        token.write_text(federated(stack, "pod"))
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
        monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
        monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{stack.sim.url}/")
        stack.config["credentials"] = {"mi": {"type": "workload_identity"}}

    start(stack, prepare)
    assert_served_as(stack, CLIENT, COGNITIVE)


def test_federated_token_rotated_between_refreshes(make_stack):
    """Entra takes only the token that kubelet wrote last."""
    stack = make_stack(start=False)
    token = stack.folder / "token"

    def prepare(stack):
        token.write_text(federated(stack, "first"))
        stack.sim.post("/control/defaults", federated_subject="first", token_lifetime_s=24)
        entra(stack, "workload_identity", token_file=str(token))

    def rotate():
        token.write_text(federated(stack, "second"))
        stack.sim.post("/control/defaults", federated_subject="second", token_lifetime_s=86700)

    start(stack, prepare)
    swap(stack, rotate)
    assert claims(given(stack)[0]["body"].split("client_assertion=")[1])["sub"] == "first"
    assert claims(given(stack)[-1]["body"].split("client_assertion=")[1])["sub"] == "second"
    stack.wait_ready()
    assert_served_as(stack, CLIENT, COGNITIVE)


@pytest.mark.parametrize("text, found", [
    ("", "is empty, expected a federated token"),
    ("root:x:0:0:root:/root:/bin/sh\n", "holds no token (a JWT)"),
    (None, "cannot be read: No such file or directory"),
], ids=["empty", "another-file", "missing"])
def test_wrong_federated_token_file(make_stack, text, found):
    stack = make_stack(start=False)
    token = stack.folder / "token"
    if text is not None:
        token.write_text(text)
    start(stack, lambda s: entra(s, "workload_identity", token_file=str(token)), ready=False)
    line = stack.children["agent"].wait_log(r"(?m)^.*outbound .*requests that need it are refused.*$").group(0)
    assert f"{token} {found}" in line and "credential=mi" in line and "retry_in_ms=" in line
    assert "root:x" not in stack.children["agent"].log()
    assert_no_credential(stack)
    assert not asked(stack, "token")  # what the file holds went nowhere
    assert "no token yet" in stack.agent_get("/readyz").text
    # repaired: found by itself, at the latest a minute later
    token.write_text(federated(stack, "pod"))
    wait_until("the file to be found", lambda: stack.agent_get("/readyz").status_code == 200, patience=90)
    assert_served_as(stack, CLIENT, COGNITIVE)


def test_federated_token_that_entra_refuses(make_stack):
    stack = make_stack(start=False)
    token = stack.folder / "token"

    def prepare(stack):
        token.write_text(federated(stack, "stranger"))
        stack.sim.post("/control/defaults", federated_subject="pod")
        entra(stack, "workload_identity", token_file=str(token))

    start(stack, prepare, ready=False)
    line = stack.children["agent"].wait_log(r"(?m)^.*outbound .*check it in the config.*$").group(0)
    assert "AADSTS700211" in line and "status=401" in line
    assert token.read_text() not in stack.children["agent"].log()
    assert_no_credential(stack)


# ---- certificate

def make_pair(folder, name, days="2"):
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", days, "-subj", f"/CN={name}",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    pem = folder / f"{name}.pem"
    pem.touch(0o600)
    pem.write_text(cert.read_text() + key.read_text())
    return pem, cert.read_text()


def test_certificate(make_stack):
    stack = make_stack(start=False)
    pem, cert = make_pair(stack.folder, "app")

    def prepare(stack):
        stack.sim.post("/control/defaults", certificate=cert)
        entra(stack, "certificate", certificate_file=str(pem))

    start(stack, prepare)
    assert_served_as(stack, CLIENT, COGNITIVE)
    (ask,) = asked(stack, "token")
    assertion = ask["body"].split("client_assertion=")[1]
    head = assertion.split(".")[0]
    head = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    assert head["alg"] == "PS256" and "x5t#S256" in head
    said = claims(assertion)
    assert said["aud"] == f"{stack.sim.url}/{TENANT}/oauth2/v2.0/token"
    assert said["iss"] == said["sub"] == CLIENT
    assert 0 < said["exp"] - said["nbf"] <= 600


def test_certificate_that_is_not_the_apps(make_stack):
    stack = make_stack(start=False)
    _, registered = make_pair(stack.folder, "app")
    stranger, _ = make_pair(stack.folder, "stranger")

    def prepare(stack):
        stack.sim.post("/control/defaults", certificate=registered)
        entra(stack, "certificate", certificate_file=str(stranger))

    start(stack, prepare, ready=False)
    line = stack.children["agent"].wait_log(r"(?m)^.*outbound .*check it in the config.*$").group(0)
    assert "AADSTS700027" in line and "not registered" in line
    assert_no_credential(stack)


def test_certificate_renewed_between_refreshes(make_stack):
    stack = make_stack(start=False)
    pem, cert = make_pair(stack.folder, "old")
    new_pem, new_cert = make_pair(stack.folder, "new")

    def prepare(stack):
        stack.sim.post("/control/defaults", certificate=cert, token_lifetime_s=24)
        entra(stack, "certificate", certificate_file=str(pem))

    def renew():
        new_pem.rename(pem)
        stack.sim.post("/control/defaults", certificate=new_cert, token_lifetime_s=86700)

    start(stack, prepare)
    swap(stack, renew)
    stack.wait_ready()
    assert_served_as(stack, CLIENT, COGNITIVE)


def test_certificate_file_without_its_key(make_stack):
    stack = make_stack(start=False)
    pem, cert = make_pair(stack.folder, "app")
    pem.write_text(cert)
    start(stack, lambda s: entra(s, "certificate", certificate_file=str(pem)), ready=False)
    stack.children["agent"].wait_log(r"outbound .*no private key that can be read")
    assert_no_credential(stack)
    assert not asked(stack, "token")


# ---- client secret, App Service, Arc

def test_client_secret(make_stack, monkeypatch):
    monkeypatch.setenv("TEST_CLIENT_SECRET", "sim-client-secret")
    stack = make_stack(start=False)
    start(stack, lambda s: entra(s, "client_secret", secret_env="TEST_CLIENT_SECRET"))
    assert_served_as(stack, CLIENT, COGNITIVE)
    assert "sim-client-secret" not in stack.children["agent"].log()


def test_app_service(make_stack, monkeypatch):
    monkeypatch.setenv("IDENTITY_HEADER", "sim-identity-header")
    stack = make_stack(start=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{stack.ports['sim']}/msi/token")
    stack.config["credentials"] = {"mi": {"type": "app_service", "client_id": CLIENT}}
    start(stack)
    assert_served_as(stack, CLIENT, COGNITIVE)


def test_arc_challenge_for_a_file_outside_its_folder(make_stack):
    """Whoever answers on the agent's port asks for a file of ours. (That the
    right file is read and sent is in tests/unit/test_outbound_files.c: the
    folder is Arc's, and not a thing to configure.)"""
    stack = make_stack(start=False)
    bait = stack.folder / "bait.key"
    bait.write_text("secret-of-another")

    def prepare(stack):
        stack.sim.post("/control/defaults", arc_realm=str(bait), arc_secret="secret-of-another")
        stack.config["credentials"] = {"mi": {"type": "azure_arc", "endpoint": stack.sim.url}}

    start(stack, prepare, ready=False)
    line = stack.children["agent"].wait_log(r"(?m)^.*outbound .*something else than a file NAME.key in.*$").group(0)
    assert "/var/opt/azcmagent/tokens" in line
    assert_no_credential(stack)
    asks = asked(stack, "imds")
    assert asks and not [h for r in asks for h in r["headers"] if h[0].lower() == "authorization"]
    assert "secret-of-another" not in stack.children["agent"].log()


# ---- audiences

def test_each_resource_names_its_audience(make_stack):
    def change(config):
        config["resources"]["west"]["audience"] = FOUNDRY
        config["models"]["gpt-4o"]["deployments"][0]["resource"] = "west"

    stack = make_stack(change=change)
    assert stack.chat(model="gpt-4o").status_code == 200
    assert upstream_claims(stack)["aud"] == FOUNDRY
    assert stack.chat(model="gpt-4o-mini").status_code == 200
    assert upstream_claims(stack)["aud"] == COGNITIVE
    assert len(asked(stack, "imds")) == 2  # one token for each audience
    for audience in (FOUNDRY, COGNITIVE):
        assert stack.metric("foundry_token_expiry_seconds", credential="mi", audience=audience, worker="0") > 0
    assert stack.metric("foundry_jwks_keys", tenant="contoso", worker="0") > 0


def test_resources_of_one_audience_share_a_token(make_stack):
    stack = make_stack()
    assert stack.chat(model="gpt-4o").status_code == 200
    assert len(asked(stack, "imds")) == 1


def test_changed_audience_is_used_after_a_reload(make_stack):
    stack = make_stack()
    assert stack.chat().status_code == 200
    assert upstream_claims(stack)["aud"] == COGNITIVE
    stack.config["resources"]["east"]["audience"] = FOUNDRY
    stack.write_config()
    stack.children["agent"].signal(signal.SIGHUP)
    stack.children["agent"].wait_log(r"gateway.json loaded")
    stack.wait_ready()
    answer = stack.chat()
    assert answer.status_code == 200, answer.text
    assert stack.decision(request_id(answer))["verdict"] == "allow"
    assert upstream_claims(stack)["aud"] == FOUNDRY
