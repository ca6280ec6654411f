"""TLS on both sides of HAProxy: resources with good and bad certificates, and clients with old
protocols."""
import contextlib
import socket
import ssl

import pytest

from certificates import Authority
from harness import HAPROXY, PATIENCE, STREAMED, Child, answers, free_port, request_id, wait_until
from refusals import data_requests, nothing_sent

# Plays the TLS endpoint of a Foundry resource in front of the simulator.
TERMINATOR = """
global
    noreuseport
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend tls
    bind 127.0.0.1:{port} ssl crt {pem} alpn http/1.1 {options}
    http-request set-header x-sni %[ssl_fc_sni]
    http-request set-header x-tls %[ssl_fc_protocol]
    default_backend sim
backend sim
    server sim 127.0.0.1:{sim}
"""


HOST = "my-resource.openai.azure.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "resources-ca")


@pytest.fixture
def behind_tls(make_stack, authority, tmp_path):
    """behind_tls(names, ...): a stack whose resource `east` is https://my-resource.openai.azure.com
    and has a certificate for these names. The gateway trusts `authority`."""
    with contextlib.ExitStack() as ends:
        def make(*names, signed_by=authority, days=2, options=""):
            port = free_port()
            pem = signed_by.certificate(f"resource{port}", [f"DNS:{n}" for n in names], days)

            def change(config):
                config["resources"]["east"].update(url=f"https://{HOST}", address=f"127.0.0.1:{port}",
                                                   ca_file=str(authority.ca))

            def start_terminator(stack):
                file = tmp_path / "terminator.cfg"
                file.write_text(TERMINATOR.format(port=port, pem=pem, sim=stack.ports["sim"], options=options))
                child = Child("terminator", tmp_path, [HAPROXY, "-db", "-f", file])
                ends.callback(child.stop)
                wait_until("the resource's TLS", lambda: child.alive() and answers(port))

            return make_stack(change=change, before_agent=start_terminator)

        yield make


def streamed(stack):
    return stack.chat(**STREAMED)


def test_resource_over_tls(behind_tls):
    stack = behind_tls(HOST)
    for answer in (stack.chat(), streamed(stack)):
        assert answer.status_code == 200, answer.text
        assert int(stack.usage(request_id(answer))["output"]) > 0
    for seen in data_requests(stack):
        head = {k.lower(): v for k, v in seen["headers"]}
        assert head["host"] == head["x-sni"] == HOST
        assert head["x-tls"] in ("TLSv1.2", "TLSv1.3")
        assert head["authorization"].startswith("Bearer ey")
    assert len(data_requests(stack)) == 2


def test_resource_with_a_wildcard_certificate(behind_tls):
    assert behind_tls("*.openai.azure.com").chat().status_code == 200


def not_served(stack):
    """503 with JSON, before and after the health check fails."""
    for answer in (stack.chat(), streamed(stack), stack.chat()):
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert error["code"] == "upstream_unreachable" and error["type"] == "api_error"
        assert request_id(answer) and answer.headers["retry-after"]
        assert stack.decision(request_id(answer))["verdict"] == "allow"
    nothing_sent(stack)


def test_resource_with_a_certificate_for_another_host(behind_tls):
    not_served(behind_tls("their-resource.openai.azure.com", "openai.azure.com"))


def test_resource_with_a_wildcard_one_level_too_high(behind_tls):
    not_served(behind_tls("*.azure.com"))


def test_resource_with_a_certificate_of_an_unknown_authority(behind_tls, tmp_path):
    not_served(behind_tls(HOST, signed_by=Authority(tmp_path, "somebody-else")))


def test_resource_with_an_expired_certificate(behind_tls):
    not_served(behind_tls(HOST, days=-1))


def test_resource_that_speaks_old_tls_only(behind_tls):
    not_served(behind_tls(HOST, options="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.1 ciphers DEFAULT@SECLEVEL=0"))


def test_without_a_ca_file_the_authorities_of_the_system_are_trusted(make_stack):
    """Certificates are always verified."""
    def change(config):
        config["resources"]["east"].update(url=f"https://{HOST}", address="127.0.0.1:1")

    stack = make_stack(change=change)
    servers = [line for line in (stack.folder / "backends.cfg").read_text().splitlines() if "server east" in line]
    assert len(servers) == 2
    for line in servers:
        assert "ssl verify required ca-file @system-ca" in line
        assert f"verifyhost {HOST}" in line
    not_served(stack)


# --------------------------------------------------------------------- clients


def handshake(stack, version, alpn=None):
    """TLS version and ALPN that a client agrees on who offers this version only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(stack.ca))
    # at its default level OpenSSL would not offer the old versions
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.create_connection(("127.0.0.1", stack.ports["https"]), timeout=PATIENCE) as s:
        with context.wrap_socket(s, server_hostname="localhost") as t:
            return t.version(), t.selected_alpn_protocol()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_client_with_old_tls_is_refused(gw, version):
    with pytest.raises(ssl.SSLError) as refused:
        handshake(gw, version)
    # the gateway refused it, not the library of the test
    assert "ALERT" in str(refused.value).upper(), refused.value


@pytest.mark.parametrize("version, name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_client_with_current_tls(gw, version, name):
    assert handshake(gw, version, ["h2", "http/1.1"]) == (name, "h2")
    assert handshake(gw, version, ["http/1.1"]) == (name, "http/1.1")


def test_clear_text_on_the_tls_port_is_refused(gw):
    with socket.create_connection(("127.0.0.1", gw.ports["https"]), timeout=PATIENCE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 2" not in s.recv(4096)
    nothing_sent(gw)
