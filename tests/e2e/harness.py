r"""The whole gateway, private to a test run.

    httpx --TLS--> haproxy --SPOP--> foundry-spoa --> redis
                      \--HTTP--> foundry-sim (plays Azure)

Every Stack has its own folder and free ports, knows its children by handle,
and waits for what they say or answer, never for a time. HAPROXY, AGENT, SIM
and REDIS_SERVER in the environment choose the binaries.
"""
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal as signals
import socket
import ssl
import subprocess
import time
import uuid
from pathlib import Path

import httpx
import redis

ROOT = Path(__file__).resolve().parents[2]
HAPROXY = os.environ.get("HAPROXY") or shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
AGENT = Path(os.environ.get("AGENT", ROOT / "build/foundry-spoa"))
SIM = Path(os.environ.get("SIM", ROOT / "build/foundry-sim"))
REDIS = os.environ.get("REDIS_SERVER", "redis-server")
PATIENCE = 30.0  # seconds until waiting for an event is a failure

TENANT = "11111111-1111-1111-1111-111111111111"
APP = "22222222-2222-2222-2222-222222222222"
TINY_APP = "33333333-3333-3333-3333-333333333333"
GATEWAY_KEY = "test-gateway-key-dev"


_ports = itertools.cycle(random.sample(range(10240, 32768), 22528))


def free_port(kind=socket.SOCK_STREAM):
    """Each port once: two programs of one stack must not get the same. Below
    the range that the kernel gives to outgoing connections: one of those could
    take it before it is listened on."""
    for port in _ports:
        with socket.socket(socket.AF_INET, kind) as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def wait_until(what, condition, patience=PATIENCE):
    """Ask until condition() is true; the pause only keeps the CPU free."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(0.01)


def answers(port):
    with contextlib.suppress(OSError):
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    return False


class Child:
    """A process with its output in a file; ended by its own handle."""

    def __init__(self, name, folder, argv, env=None):
        self.name = name
        self.had_to_be_killed = False
        self.log_path = folder / f"{name}.log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, pattern, after=0):
        def look():
            assert self.alive() or re.search(pattern, self.log()[after:]), (
                f"{self.name} ended with {self.process.returncode}:\n{self.log()[-4000:]}"
            )
            return re.search(pattern, self.log()[after:])

        return wait_until(f"{self.name} to log {pattern!r}", look)

    def signal(self, signum):
        self.process.send_signal(signum)

    def stop(self, signum=signals.SIGTERM):
        if self.alive():
            self.process.send_signal(signum)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.had_to_be_killed = True
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def complaints(self):
        """What a program that was ended in order should not have said: a
        sanitizer's report, or an exit code of its own; or that it did not end.
        Ended by SIGKILL is else a test's doing."""
        if self.had_to_be_killed:
            return f"{self.name} did not end when it was told to:\n{self.log()[-4000:]}"
        found = re.search(r"(?m)^.*(ERROR: (Address|Leak)Sanitizer|runtime error:)(.*\n){0,40}", self.log())
        if found:
            return f"{self.name}: {found.group(0)}"
        if self.process.returncode not in (None, 0, -signals.SIGKILL):
            return f"{self.name} ended with {self.process.returncode}:\n{self.log()[-4000:]}"
        return None


def base_config(ports, folder):
    """A gateway.json as a dict; tests change what they are about."""
    sim = f"http://127.0.0.1:{ports['sim']}"
    return {
        "log_level": "info",
        "listen": {
            "spop": [f"127.0.0.1:{ports['spop']}", f"unix:{folder}/spop.sock"],
            "unix_mode": "0660",
            "usage": f"127.0.0.1:{ports['usage']}",
            "http": f"127.0.0.1:{ports['agent_http']}",
        },
        "redis": {"url": f"redis://127.0.0.1:{ports['redis']}/0", "required": True},
        "tenants": {
            "contoso": {
                "id": TENANT,
                "authority": sim,
                "issuer_v1": f"{sim}/{TENANT}/",
                "issuer_v2": f"{sim}/{TENANT}/v2.0",
                "audiences": ["api://foundry-gateway"],
                "roles": ["Gateway.Use"],
                "scopes": ["Gateway.Access"],
            }
        },
        "keys": {
            "require": "any",
            "header": "x-team-key",
            "entries": {"dev-key": {"sha256": hashlib.sha256(GATEWAY_KEY.encode()).hexdigest()}},
        },
        "consumers": {
            "demo": {"match": {"tenant": "contoso", "apps": [APP]}, "limits": ["demo-tokens"]},
            "tiny": {"match": {"tenant": "contoso", "apps": [TINY_APP]}, "limits": ["tiny-tokens"]},
            "developers": {"match": {"keys": ["dev-key"]}, "limits": ["demo-tokens"]},
        },
        "rules": [
            {"name": "no-forbidden", "effect": "deny", "models": ["forbidden-model"]},
            {"name": "all", "effect": "allow"},
        ],
        "credentials": {"mi": {"type": "managed_identity", "endpoint": sim}},
        "resources": {
            "east": {"url": sim, "credential": "mi", "region": "eastus"},
            "west": {"url": sim, "credential": "mi", "region": "westus"},
        },
        "models": {
            "gpt-4o": {
                "aliases": ["gpt-4o-latest"],
                "deployments": [{"resource": "east", "name": "gpt-4o-east", "surface": "azure"}],
                "default_output_tokens": 500,
                "price": {"input": 2.5, "cached": 1.25, "output": 10},
            },
            "gpt-4o-mini": {"deployments": [{"resource": "east", "name": "gpt-4o-mini", "surface": "v1"}]},
            "text-embedding-3-small": {
                "deployments": [{"resource": "west", "name": "text-embedding-3-small", "surface": "azure"}]
            },
            "claude-sonnet-4-5": {
                "deployments": [{"resource": "west", "name": "claude-sonnet-4-5", "surface": "anthropic"}]
            },
            "forbidden-model": {"deployments": [{"resource": "east", "name": "forbidden-model"}]},
        },
        "limits": {
            "demo-tokens": {"per": "consumer", "unit": "tokens", "amount": 10000000, "window": "minute"},
            "tiny-tokens": {"per": "consumer", "unit": "tokens", "amount": 600, "window": "day"},
        },
    }


def make_certificate(folder):
    """A CA and a certificate for localhost, for this run only. With every
    extension that Python asks for from 3.13 on (VERIFY_X509_STRICT)."""
    ca, key, csr, pem = (folder / n for n in ("ca.pem", "gw.key", "gw.csr", "gateway.pem"))
    ext = folder / "ext"
    ext.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                   "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test CA",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", folder / "ca.key", "-out", ca)
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", csr)
    run("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", ext, "-out", folder / "gw.crt")
    pem.write_bytes((folder / "gw.crt").read_bytes() + key.read_bytes())
    return ca, pem


class Sim:
    """The simulator's control endpoint, as a test sees it."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    def post(self, path, **body):
        answer = self.http.post(path, json=body)
        assert answer.status_code < 300, f"{path}: {answer.status_code} {answer.text}"
        return answer

    def token(self, claims=None, header=None, **more):
        body = {"claims": claims or {}, "header": header or {}, **more}
        return self.post("/control/token", **body).text.strip()

    def reset(self):
        self.post("/control/reset")

    def fault(self, **fault):
        self.post("/control/fault", **fault)

    def requests(self, since=0):
        """Data-plane requests received: dicts with method, path, headers, ..."""
        return self.http.get("/control/requests", params={"since": since}).json()

    def stats(self):
        return self.http.get("/control/stats").json()


class Stack:
    def __init__(self, folder, change=None, certificate=None, redis_server=True, env=None,
                 usage_port=None):
        self.folder = Path(folder)
        self.children = {}
        self.ports = {n: free_port() for n in ("https", "http", "spop", "agent_http", "redis", "stats", "sim")}
        self.ports["usage"] = usage_port or free_port(socket.SOCK_DGRAM)
        self.haproxy_env = env or {}
        self.ca, self.pem = certificate or make_certificate(self.folder)
        self.config = base_config(self.ports, self.folder)
        if change:
            change(self.config)
        self.with_redis = redis_server

    # ---- starting and stopping

    def start(self):
        try:
            if self.with_redis:
                self.start_redis()
            self.start_sim()
            self.start_agent()
            self.start_haproxy()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, name, argv, env=None):
        self.children[name] = Child(name, self.folder, argv, env)
        return self.children[name]

    def start_redis(self, *args):
        (self.folder / "redis").mkdir(exist_ok=True)
        self._start("redis", [REDIS, "--bind", "127.0.0.1", "--port", self.ports["redis"], "--save", "",
                              "--appendonly", "no", "--dir", self.folder / "redis", *args])
        self.redis = redis.Redis(port=self.ports["redis"], decode_responses=True)

        def ping():
            with contextlib.suppress(redis.ConnectionError):
                return self.redis.ping()

        wait_until("redis", ping)

    def start_sim(self):
        self._start("sim", [SIM, "--listen", f"127.0.0.1:{self.ports['sim']}"]).wait_log("listening on")
        self.sim = Sim(self.ports["sim"])

    def write_config(self):
        path = self.folder / "gateway.json"
        path.write_text(json.dumps(self.config, indent=1))
        return path

    def start_agent(self, ready=True):
        path = self.write_config()
        backends = subprocess.run([AGENT, "render-haproxy", path], capture_output=True, text=True)
        assert backends.returncode == 0, backends.stderr
        (self.folder / "backends.cfg").write_text(backends.stdout)
        agent = self._start("agent", [AGENT, "run", path])
        if ready:
            self.wait_ready()
        return agent

    def agent_get(self, path):
        return httpx.get(f"http://127.0.0.1:{self.ports['agent_http']}{path}", trust_env=False, timeout=PATIENCE)

    def wait_ready(self):
        def ready():
            assert self.children["agent"].alive(), self.children["agent"].log()[-4000:]
            with contextlib.suppress(httpx.TransportError):
                return self.agent_get("/readyz").status_code == 200

        wait_until("the agent to be ready", ready)

    def haproxy_argv(self):
        return [HAPROXY, "-db", "-f", ROOT / "haproxy-conf/haproxy.cfg", "-f", self.folder / "backends.cfg"]

    def full_haproxy_env(self):
        at = lambda n: f"127.0.0.1:{self.ports[n]}"
        return {
            "GATEWAY_HTTPS": at("https"),
            "GATEWAY_HTTP": at("http"),
            "GATEWAY_SPOP": at("spop"),
            "GATEWAY_USAGE": at("usage"),
            "GATEWAY_STATS": at("stats"),
            "GATEWAY_AGENT": at("agent_http"),
            "GATEWAY_CERT": str(self.pem),
            "GATEWAY_LUA": str(ROOT / "lua/usage.lua"),
            "GATEWAY_SPOE": str(ROOT / "haproxy-conf/spoe-gateway.conf"),
            "GATEWAY_SOCKET": str(self.folder / "haproxy.sock"),
            "GATEWAY_KEY_HEADER": "x-team-key",
            "GATEWAY_NOREUSEPORT": "1",
            **self.haproxy_env,
        }

    def start_haproxy(self):
        haproxy = self._start("haproxy", self.haproxy_argv(), self.full_haproxy_env())
        for name in ("https", "http", "stats"):
            wait_until(f"haproxy on {name}", lambda: haproxy.alive() and answers(self.ports[name]) or
                       self._fail_if_dead(haproxy))
        self.wait_agent_up()

    @staticmethod
    def _fail_if_dead(child):
        assert child.alive(), child.log()[-4000:]

    def wait_agent_up(self):
        """HAProxy's health check sees the agent."""
        wait_until("haproxy to see the agent", lambda: httpx.get(
            f"http://127.0.0.1:{self.ports['stats']}/healthz", trust_env=False).status_code == 200)

    def stop(self):
        for child in reversed(list(self.children.values())):
            child.stop()
        said = "agent" in self.children and self.children["agent"].complaints()
        assert not said, said

    def logs(self):
        return "\n".join(f"--- {n}\n{c.log()[-6000:]}" for n, c in self.children.items())

    # ---- asking

    def client(self, http2=False, tls=True, **more):
        if not tls:
            return httpx.Client(base_url=f"http://127.0.0.1:{self.ports['http']}", timeout=PATIENCE,
                                trust_env=False, **more)
        context = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=f"https://localhost:{self.ports['https']}", verify=context, http2=http2,
                            timeout=PATIENCE, trust_env=False, **more)

    def token(self, **claims):
        return self.sim.token(claims)

    def chat(self, model="gpt-4o", token=None, headers=None, path="/openai/v1/chat/completions", content=None,
             client=None, **body):
        """One chat request; the answer of httpx. token="" sends none."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **body}
        head = {"content-type": "application/json"}
        token = self.token() if token is None else token
        if token:
            head["authorization"] = f"Bearer {token}"
        head.update(headers or {})
        with contextlib.ExitStack() as exit_stack:
            client = client or exit_stack.enter_context(self.client())
            return client.post(path, content=content if content is not None else json.dumps(body), headers=head)

    # ---- what the agent said

    def decision(self, request_id):
        return fields(self.children["agent"].wait_log(rf"(?m)^\S+ info decision id={request_id} .*$").group(0))

    def usage(self, request_id):
        return fields(self.children["agent"].wait_log(rf"(?m)^\S+ info usage id={request_id} .*$").group(0))

    def metric(self, name, **labels):
        """The value of a series, summed over the labels not given."""
        total = 0.0
        for line in self.agent_get("/metrics").text.splitlines():
            m = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
            if m and m.group(1) == name:
                have = dict(re.findall(r'(\w+)="([^"]*)"', m.group(2) or ""))
                if all(have.get(k) == v for k, v in labels.items()):
                    total += float(m.group(3))
        return total

    def limit_state(self, account):
        return self.redis.hgetall(f"gw:{{{account}}}:limits")


def fields(line):
    """key=value and key="quoted value" of a log line."""
    found = {}
    for key, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line):
        found[key] = json.loads(f'"{quoted}"') if quoted else plain
    return found


def sse_events(text):
    """The data of each event."""
    return [e[5:].lstrip(" ") for e in re.split(r"\r?\n\r?\n", text) if e.startswith("data:")]


def request_id(answer):
    value = answer.headers["x-request-id"]
    uuid.UUID(value)
    return value

