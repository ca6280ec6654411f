"""Each credential that the gateway can present to Azure: the resource receives a token of that
identity and audience, and no one else receives it."""
import pytest

from certificates import self_signed
from harness import GATEWAY_KEY, TENANT, header_value, header_values, jwt_part, request_id, wait_until
from steps import error_code

CLIENT = "dddddddd-1111-2222-3333-444444444444"
COGNITIVE = "https://cognitiveservices.azure.com"
FOUNDRY = "https://ai.azure.com"


def upstream_claims(stack):
    """The claims of the token that the last request brought to the resource."""
    value = header_value(stack.sim.requests("data")[-1], "authorization")
    assert value.startswith("Bearer ")
    return jwt_part(value.removeprefix("Bearer "), 1)


def assertion(ask):
    """The client assertion of a request for a token."""
    return ask["body"].split("client_assertion=")[1]


def federated(stack, subject):
    return stack.sim.token({"aud": "api://AzureADTokenExchange", "sub": subject})


def entra(stack, kind, **more):
    stack.config["credentials"] = {"mi": {
        "type": kind, "authority": f"http://127.0.0.1:{stack.ports['sim']}", "tenant_id": TENANT, "client_id": CLIENT,
        **more}}


def assert_served(stack, aud):
    answer = stack.chat()
    assert answer.status_code == 200, answer.text
    assert upstream_claims(stack)["aud"] == aud
    return answer


def assert_served_as(stack, appid, aud):
    assert_served(stack, aud)
    assert upstream_claims(stack)["appid"] == appid


def swap(stack, change):
    """Runs change() while the token endpoint fails, so that a refresh sees all of the change or
    nothing of it. Then waits for a refresh that worked."""
    stack.sim.fault(match={"endpoint": "token"}, status=500, times=-1)
    change()
    stack.sim.clear_faults()
    before = len(given(stack))
    wait_until("a token given after the change", lambda: len(given(stack)) > before)


def given(stack):
    return [r for r in stack.sim.requests("token") if r["status"] == 200]


def assert_no_credential(stack):
    answer = stack.chat()
    assert answer.status_code == 503, answer.text
    assert error_code(answer) == "upstream_credential_unavailable"
    assert not stack.sim.requests("data")


def no_credential_line(stack, pattern):
    """The log line that says why there is no token, when no token could be had."""
    return stack.children["agent"].wait_log(rf"(?m)^.*outbound .*{pattern}.*$").group(0)


# ------------------------------------------------------------ workload identity


@pytest.fixture
def token(tmp_path):
    return tmp_path / "token"


def test_workload_identity(make_stack, token):
    def prepare(stack):
        token.write_text(federated(stack, "pod") + "\n")
        entra(stack, "workload_identity", token_file=str(token))

    stack = make_stack(before_agent=prepare)
    assert_served_as(stack, CLIENT, COGNITIVE)
    (ask,) = stack.sim.requests("token")
    assert "client_assertion=ey" in ask["body"] and "client_secret" not in ask["body"]


def test_workload_identity_of_the_environment(make_stack, token, monkeypatch):
    def prepare(stack):
        token.write_text(federated(stack, "pod"))
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
        monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
        monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{stack.sim.url}/")
        stack.config["credentials"] = {"mi": {"type": "workload_identity"}}

    assert_served_as(make_stack(before_agent=prepare), CLIENT, COGNITIVE)


def test_federated_token_rotated_between_refreshes(make_stack, token):
    """Entra takes only the token that kubelet wrote last."""
    def prepare(stack):
        token.write_text(federated(stack, "first"))
        stack.sim.defaults(federated_subject="first", token_lifetime_s=24)
        entra(stack, "workload_identity", token_file=str(token))

    def rotate():
        token.write_text(federated(stack, "second"))
        stack.sim.defaults(federated_subject="second", token_lifetime_s=86700)

    stack = make_stack(before_agent=prepare)
    swap(stack, rotate)
    assert [jwt_part(assertion(given(stack)[i]), 1)["sub"] for i in (0, -1)] == ["first", "second"]
    stack.wait_ready()
    assert_served_as(stack, CLIENT, COGNITIVE)


@pytest.mark.parametrize("text, found", [
    ("", "is empty, expected a federated token"),
    ("root:x:0:0:root:/root:/bin/sh\n", "holds no token (a JWT)"),
    (None, "cannot be read: No such file or directory"),
], ids=["empty", "another-file", "missing"])
def test_wrong_federated_token_file(make_stack, token, text, found):
    if text is not None:
        token.write_text(text)
    stack = make_stack(before_agent=lambda s: entra(s, "workload_identity", token_file=str(token)), ready=False)
    line = no_credential_line(stack, "requests that need it are refused")
    assert f"{token} {found}" in line and "credential=mi" in line and "retry_in_ms=" in line
    assert "root:x" not in stack.children["agent"].log()
    assert_no_credential(stack)
    assert not stack.sim.requests("token")  # the content of the file was not sent
    assert "no token yet" in stack.agent_get("/readyz").text
    # the agent reads the repaired file by itself, at the latest a minute later
    token.write_text(federated(stack, "pod"))
    wait_until("the file to be found", lambda: stack.agent_get("/readyz").status_code == 200, patience=90)
    assert_served_as(stack, CLIENT, COGNITIVE)


def test_federated_token_that_entra_refuses(make_stack, token):
    def prepare(stack):
        token.write_text(federated(stack, "stranger"))
        stack.sim.defaults(federated_subject="pod")
        entra(stack, "workload_identity", token_file=str(token))

    stack = make_stack(before_agent=prepare, ready=False)
    line = no_credential_line(stack, "check it in the config")
    assert "AADSTS700211" in line and "status=401" in line
    assert token.read_text() not in stack.children["agent"].log()
    assert_no_credential(stack)


# ------------------------------------------------------------------ certificate


def make_pair(folder, name):
    """A file with certificate and key, and the text of the certificate."""
    pem, key = self_signed(folder, name)
    both = folder / f"{name}-both.pem"
    both.touch(0o600)
    both.write_text(pem.read_text() + key.read_text())
    return both, pem.read_text()


def certificate_credential(file, registered, **defaults):
    """For before_agent: the credential is this file, and Entra knows this certificate."""
    def prepare(stack):
        stack.sim.defaults(certificate=registered, **defaults)
        entra(stack, "certificate", certificate_file=str(file))

    return prepare


def test_certificate(make_stack, tmp_path):
    stack = make_stack(before_agent=certificate_credential(*make_pair(tmp_path, "app")))
    assert_served_as(stack, CLIENT, COGNITIVE)
    (ask,) = stack.sim.requests("token")
    head, said = (jwt_part(assertion(ask), n) for n in (0, 1))
    assert head["alg"] == "PS256" and "x5t#S256" in head
    assert said["aud"] == f"{stack.sim.url}/{TENANT}/oauth2/v2.0/token"
    assert said["iss"] == said["sub"] == CLIENT
    assert 0 < said["exp"] - said["nbf"] <= 600


def test_certificate_of_another_app_is_refused(make_stack, tmp_path):
    _, registered = make_pair(tmp_path, "app")
    stranger, _ = make_pair(tmp_path, "stranger")
    stack = make_stack(before_agent=certificate_credential(stranger, registered), ready=False)
    line = no_credential_line(stack, "check it in the config")
    assert "AADSTS700027" in line and "not registered" in line
    assert_no_credential(stack)


def test_certificate_renewed_between_refreshes(make_stack, tmp_path):
    pem, cert = make_pair(tmp_path, "old")
    new_pem, new_cert = make_pair(tmp_path, "new")

    def renew():
        new_pem.rename(pem)
        stack.sim.defaults(certificate=new_cert, token_lifetime_s=86700)

    stack = make_stack(before_agent=certificate_credential(pem, cert, token_lifetime_s=24))
    swap(stack, renew)
    stack.wait_ready()
    assert_served_as(stack, CLIENT, COGNITIVE)


def test_certificate_file_without_its_key(make_stack, tmp_path):
    pem, cert = make_pair(tmp_path, "app")
    pem.write_text(cert)
    stack = make_stack(before_agent=lambda s: entra(s, "certificate", certificate_file=str(pem)), ready=False)
    no_credential_line(stack, "no private key that can be read")
    assert_no_credential(stack)
    assert not stack.sim.requests("token")


# ------------------------------------- client secret, key, App Service, Azure Arc


def test_client_secret(make_stack, monkeypatch):
    monkeypatch.setenv("TEST_CLIENT_SECRET", "sim-client-secret")
    stack = make_stack(before_agent=lambda s: entra(s, "client_secret", secret_env="TEST_CLIENT_SECRET"))
    assert_served_as(stack, CLIENT, COGNITIVE)
    assert len(stack.sim.requests("token")) == 1 and not stack.sim.requests("imds")
    assert "sim-client-secret" not in stack.logs()


@pytest.mark.parametrize("client", [{"client_id": CLIENT}, {}], ids=["user-assigned", "system-assigned"])
def test_app_service(make_stack, monkeypatch, client):
    def prepare(stack):
        monkeypatch.setenv("IDENTITY_HEADER", "sim-identity-header")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{stack.sim.url}/msi/token")
        stack.config["credentials"] = {"mi": {"type": "app_service", **client}}

    stack = make_stack(before_agent=prepare)
    assert stack.chat().status_code == 200
    seen = upstream_claims(stack)
    assert seen["aud"] == COGNITIVE and (not client or seen["appid"] == CLIENT)
    assert len(stack.sim.requests("appservice")) == 1 and not stack.sim.requests("imds")


def test_static_key(make_stack, monkeypatch):
    monkeypatch.setenv("TEST_RESOURCE_KEY", "resource-key-0123456789")

    def change(config):
        config["credentials"]["mi"] = {"type": "key", "key_env": "TEST_RESOURCE_KEY"}

    stack = make_stack(change=change)
    stack.sim.defaults(auth=False)
    assert stack.chat(token="", headers={"api-key": GATEWAY_KEY}).status_code == 200
    (seen,) = stack.sim.requests("data")
    assert header_value(seen, "api-key") == "resource-key-0123456789"
    assert not header_values(seen, "authorization")
    assert "resource-key-0123456789" not in stack.logs()


def test_arc_challenge_for_a_file_outside_its_folder(make_stack, tmp_path):
    """Whatever answers on the port of the Arc agent asks for another file. (That the right file is
    read and sent is tested by tests/unit/test_outbound_files.c: its folder is fixed by Arc.)"""
    bait = tmp_path / "bait.key"
    bait.write_text("secret-of-another")

    def prepare(stack):
        stack.sim.defaults(arc_realm=str(bait), arc_secret="secret-of-another")
        stack.config["credentials"] = {"mi": {"type": "azure_arc", "endpoint": stack.sim.url}}

    stack = make_stack(before_agent=prepare, ready=False)
    line = no_credential_line(stack, "something else than a file NAME.key in")
    assert "/var/opt/azcmagent/tokens" in line
    assert_no_credential(stack)
    asks = stack.sim.requests("imds")
    assert asks and not any(header_values(r, "authorization") for r in asks)
    assert "secret-of-another" not in stack.children["agent"].log()


# -------------------------------------------------------------------- audiences


def test_each_resource_names_its_audience(make_stack):
    def change(config):
        config["resources"]["west"]["audience"] = FOUNDRY
        config["models"]["gpt-4o"]["deployments"][0]["resource"] = "west"

    stack = make_stack(change=change)
    for model, audience in (("gpt-4o", FOUNDRY), ("gpt-4o-mini", COGNITIVE)):
        assert stack.chat(model=model).status_code == 200
        assert upstream_claims(stack)["aud"] == audience
        assert stack.metric("foundry_token_expiry_seconds", credential="mi", audience=audience, worker="0") > 0
    assert len(stack.sim.requests("imds")) == 2  # one token for each audience
    assert stack.metric("foundry_jwks_keys", tenant="contoso", worker="0") > 0


def test_resources_of_one_audience_share_a_token(make_stack):
    stack = make_stack()
    assert stack.chat(model="gpt-4o").status_code == 200
    assert len(stack.sim.requests("imds")) == 1


def test_changed_audience_is_used_after_a_reload(make_stack):
    stack = make_stack()
    assert_served(stack, COGNITIVE)
    stack.config["resources"]["east"]["audience"] = FOUNDRY
    stack.reload_agent()
    stack.wait_ready()
    assert stack.decision(request_id(assert_served(stack, FOUNDRY)))["verdict"] == "allow"
