"""TLS on both sides: resources with real certificates behind HAProxy, and
clients with old protocols in front of it."""
import contextlib
import socket
import ssl
import subprocess

import pytest

from harness import HAPROXY, Child, answers, free_port, request_id, wait_until
from refusals import data_requests, nothing_sent

# What stands before a Foundry resource: TLS, and the simulator behind it.
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


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Authority:
    """A CA of its own, and certificates for any names."""

    def __init__(self, folder, name):
        self.folder = folder
        self.ca, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", self.key, "-out", self.ca)

    def certificate(self, name, names, days=2):
        key, csr, crt, pem = (self.folder / f"{name}.{e}" for e in ("key", "csr", "crt", "pem"))
        ext = self.folder / f"{name}.ext"
        ext.write_text("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", csr)
        openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial",
                "-days", days, "-extfile", ext, "-out", crt)
        pem.write_bytes(crt.read_bytes() + key.read_bytes())
        return pem


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "resources-ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca2"), "somebody-else")


@pytest.fixture
def behind_tls(make_stack, tmp_path):
    """behind_tls(pem, ca): a stack whose resource `east` is https, as
    my-resource.openai.azure.com."""
    with contextlib.ExitStack() as ends:
        def make(pem, ca_file, host="my-resource.openai.azure.com", options=""):
            port = free_port()

            def change(config):
                config["resources"]["east"].update(url=f"https://{host}", address=f"127.0.0.1:{port}",
                                                   ca_file=str(ca_file))

            stack = make_stack(start=False, change=change)
            stack.start_redis()
            stack.start_sim()
            file = tmp_path / "terminator.cfg"
            file.write_text(TERMINATOR.format(port=port, pem=pem, sim=stack.ports["sim"], options=options))
            child = Child("terminator", tmp_path, [HAPROXY, "-db", "-f", file])
            ends.callback(child.stop)
            wait_until("the resource's TLS", lambda: child.alive() and answers(port))
            stack.start_agent()
            stack.start_haproxy()
            return stack

        yield make


def streamed(stack):
    return stack.chat(stream=True, stream_options={"include_usage": True})


def test_resource_over_tls(behind_tls, authority):
    pem = authority.certificate("good", ["my-resource.openai.azure.com"])
    stack = behind_tls(pem, authority.ca)
    for answer in (stack.chat(), streamed(stack)):
        assert answer.status_code == 200, answer.text
        assert int(stack.usage(request_id(answer))["output"]) > 0
    for seen in data_requests(stack):
        head = {k.lower(): v for k, v in seen["headers"]}
        assert head["host"] == head["x-sni"] == "my-resource.openai.azure.com"
        assert head["x-tls"] in ("TLSv1.2", "TLSv1.3")
        assert head["authorization"].startswith("Bearer ey")
    assert len(data_requests(stack)) == 2


def test_resource_with_a_wildcard_certificate(behind_tls, authority):
    pem = authority.certificate("wildcard", ["*.openai.azure.com"])
    assert behind_tls(pem, authority.ca).chat().status_code == 200


def not_served(stack):
    """503 with JSON, whether the health check has noticed already or not."""
    for answer in (stack.chat(), streamed(stack), stack.chat()):
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert error["code"] == "upstream_unreachable" and error["type"] == "api_error"
        assert request_id(answer) and answer.headers["retry-after"]
        assert stack.decision(request_id(answer))["verdict"] == "allow"
    nothing_sent(stack)


def test_resource_with_a_certificate_for_another_host(behind_tls, authority):
    pem = authority.certificate("other", ["their-resource.openai.azure.com", "openai.azure.com"])
    not_served(behind_tls(pem, authority.ca))


def test_resource_with_a_wildcard_one_level_too_high(behind_tls, authority):
    not_served(behind_tls(authority.certificate("high", ["*.azure.com"]), authority.ca))


def test_resource_with_a_certificate_of_an_unknown_authority(behind_tls, authority, stranger):
    not_served(behind_tls(stranger.certificate("unknown", ["my-resource.openai.azure.com"]), authority.ca))


def test_resource_with_an_expired_certificate(behind_tls, authority):
    pem = authority.certificate("expired", ["my-resource.openai.azure.com"], days=-1)
    not_served(behind_tls(pem, authority.ca))


def test_resource_that_speaks_old_tls_only(behind_tls, authority):
    pem = authority.certificate("old", ["my-resource.openai.azure.com"])
    not_served(behind_tls(pem, authority.ca, options="ssl-min-ver TLSv1.0 ssl-max-ver TLSv1.1 ciphers DEFAULT@SECLEVEL=0"))


def test_certificate_of_the_system_is_asked_for_without_a_ca_file(make_stack, authority):
    """Without `ca_file` the system's authorities count; none is not an
    option."""
    def change(config):
        config["resources"]["east"].update(url="https://my-resource.openai.azure.com", address="127.0.0.1:1")

    stack = make_stack(change=change)
    servers = [line for line in (stack.folder / "backends.cfg").read_text().splitlines() if "server east" in line]
    assert len(servers) == 2
    for line in servers:
        assert "ssl verify required ca-file @system-ca" in line
        assert "verifyhost my-resource.openai.azure.com" in line
    not_served(stack)


# ---------------------------------------------------------------- in front


def handshake(stack, version, alpn=None):
    """The protocol that came about; a client that can do no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(stack.ca))
    # OpenSSL itself would not try the old ones at its usual level
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.create_connection(("127.0.0.1", stack.ports["https"]), timeout=30) as s:
        with context.wrap_socket(s, server_hostname="localhost") as t:
            return t.version(), t.selected_alpn_protocol()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_client_with_old_tls_is_refused(gw, version):
    with pytest.raises(ssl.SSLError) as refused:
        handshake(gw, version)
    # it is the gateway that says no, not our own library
    assert "ALERT" in str(refused.value).upper(), refused.value


@pytest.mark.parametrize("version,name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_client_with_current_tls(gw, version, name):
    assert handshake(gw, version, ["h2", "http/1.1"]) == (name, "h2")
    assert handshake(gw, version, ["http/1.1"]) == (name, "http/1.1")


def test_clear_text_on_the_tls_port_is_no_request(gw):
    with socket.create_connection(("127.0.0.1", gw.ports["https"]), timeout=30) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 2" not in s.recv(4096)
    nothing_sent(gw)
