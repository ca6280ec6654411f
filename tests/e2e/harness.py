r"""Starts the whole gateway for tests, sends requests through it and reads what it logs and counts.

    httpx --TLS--> haproxy --SPOP--> foundry-spoa --> redis
                      \--HTTP--> foundry-sim (plays Azure)

Every Stack has its own folder and ports and knows its processes by handle. Tests wait for what the
processes log or answer, never for a fixed time. HAPROXY, AGENT, SIM and REDIS_SERVER in the
environment choose the binaries.
"""
import base64
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

from certificates import make_certificate

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

CHAT = "/openai/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


_ports = itertools.cycle(random.sample(range(10240, 32768), 22528))


def free_port(kind=socket.SOCK_STREAM):
    """A port that no other call returned. It lies below the range that the kernel uses for outgoing
    connections: one of those could take the port before a program listens on it."""
    for port in _ports:
        with socket.socket(socket.AF_INET, kind) as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def wait_until(what, condition, patience=PATIENCE):
    """Calls condition() until it is true and returns what it returned. The pauses only keep the CPU free."""
    end, pause = time.monotonic() + patience, 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def http_get(url, **more):
    """Without TLS; verify=False because httpx would load all authorities of the system."""
    return httpx.get(url, trust_env=False, verify=False, timeout=PATIENCE, **more)


def answers(port):
    with contextlib.suppress(OSError):
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    return False


def agent_command(*words):
    """Runs foundry-spoa WORDS until it ends."""
    return subprocess.run([AGENT, *map(str, words)], capture_output=True, text=True, timeout=60)


class Child:
    """A process whose output goes to a file. It is ended by its own handle, never by name."""

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

    def mark(self):
        """Where the log ends now, for wait_log(after=)."""
        return len(self.log())

    def wait_log(self, pattern, after=0):
        """Waits until the log matches behind `after`; the match."""
        def look():
            assert self.alive() or re.search(pattern, self.log()[after:]), (
                f"{self.name} ended with {self.process.returncode}:\n{self.log()[-4000:]}"
            )
            return re.search(pattern, self.log()[after:])

        return wait_until(f"{self.name} to log {pattern!r}", look)

    def signal(self, signum):
        self.process.send_signal(signum)

    @contextlib.contextmanager
    def frozen(self):
        """Within the block the process does not run."""
        self.signal(signals.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signals.SIGCONT)

    def wait_end(self):
        """The exit code of a process that was told to end."""
        return self.process.wait(PATIENCE)

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
        """What is wrong with how the program ended: it did not end when it was told to, a sanitizer
        reported something, or the exit code is not 0. None if nothing is. A test may kill a program
        with SIGKILL: that is no complaint."""
        if self.had_to_be_killed:
            return f"{self.name} did not end when it was told to:\n{self.log()[-4000:]}"
        found = re.search(r"(?m)^.*(ERROR: (Address|Leak)Sanitizer|runtime error:)(.*\n){0,40}", self.log())
        if found:
            return f"{self.name}: {found.group(0)}"
        if self.process.returncode not in (None, 0, -signals.SIGKILL):
            return f"{self.name} ended with {self.process.returncode}:\n{self.log()[-4000:]}"
        return None


def base_config(ports, folder):
    """A gateway.json as a dict. Tests change the parts that they test."""
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


class Sim:
    """A simulator, and its control endpoint."""

    def __init__(self, folder, port, name="sim", tls=()):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, verify=False)
        self.changed = False  # something that reset() does not undo
        self.child = Child(name, folder, [SIM, "--listen", f"127.0.0.1:{port}", *tls])
        try:
            self.child.wait_log("listening on")
        except BaseException:
            self.child.stop()
            raise

    def post(self, path, **body):
        answer = self.http.post(path, json=body)
        assert answer.status_code < 300, f"{path}: {answer.status_code} {answer.text}"
        return answer

    def token(self, claims=None, header=None, **more):
        body = {"claims": claims or {}, "header": header or {}, **more}
        return self.post("/control/token", **body).text.strip()

    def reset(self):
        """Removes faults, defaults and what was recorded."""
        self.post("/control/reset")

    def rotate(self, **how):
        """Makes a new signing key."""
        self.changed = True
        self.post("/control/rotate", **how)

    def fault(self, **fault):
        """The next `times` requests that match fail as told. (A delay lasts although its caller left.)"""
        self.changed |= "delay_ms" in fault
        self.post("/control/fault", **fault)

    def clear_faults(self):
        self.http.delete("/control/fault").raise_for_status()

    def defaults(self, **defaults):
        """How the simulator answers where no fault and no x-sim-* header says otherwise."""
        self.post("/control/defaults", **defaults)

    def wait(self, **counts):
        """Waits until the counts of /control/wait are reached."""
        answer = self.http.get("/control/wait", params={"timeout_ms": int(PATIENCE * 1000) - 1000, **counts})
        assert answer.status_code == 200, f"waited for {counts}: {answer.text}"

    def requests(self, endpoint=None):
        """Requests received, or those to one endpoint (data, imds, token, jwks, ...): dicts with
        method, path, headers, ..."""
        seen = self.http.get("/control/requests", params={"since": 0}).json()
        return [r for r in seen if endpoint in (None, r["endpoint"])]

    def stats(self):
        return self.http.get("/control/stats").json()


class Simulators:
    """Simulators for stacks, used again after a reset: a new one makes RSA keys for a second or two."""

    def __init__(self, folder):
        self.folder, self.started, self.free = folder, [], []

    def take(self):
        if not self.free:
            sim = Sim(self.folder, free_port(), f"sim{len(self.started)}")
            self.started.append(sim)
            return sim
        return self.free.pop()

    def give_back(self, sim):
        assert sim.child.alive(), f"the simulator died:\n{sim.child.log()[-4000:]}"
        if sim.changed:
            sim.child.stop()
            return
        wait_until("the simulator to be idle", lambda: sim.stats()["streams_open"] == 0)
        sim.reset()
        self.free.append(sim)

    def stop(self):
        for sim in self.started:
            sim.child.stop()


class Stack:
    def __init__(self, folder, change=None, certificate=None, redis_server=True, env=None, simulators=None):
        """change(config) is called with the dict of base_config(). env is added to the environment of
        HAProxy. The simulator is taken from `simulators`, or is one of the stack's own."""
        self.folder = Path(folder)
        self.children = {}
        self.contexts = {}
        self.ports = {n: free_port() for n in ("https", "http", "spop", "agent_http", "redis", "stats")}
        self.ports["usage"] = free_port(socket.SOCK_DGRAM)
        self.simulators = simulators
        self.sim = simulators.take() if simulators else None
        self.ports["sim"] = self.sim.port if self.sim else free_port()
        self.haproxy_env = env or {}
        self.ca, self.pem = certificate or make_certificate(self.folder)
        self.config = base_config(self.ports, self.folder)
        if change:
            change(self.config)
        self.with_redis = redis_server
        self.shared_key = None

    # ---- starting and stopping

    def start(self, before_agent=None, ready=True, redis_args=()):
        """before_agent(stack) is called when Redis and the simulator run and the agent does not:
        it prepares what the agent meets first. ready=False does not wait for /readyz."""
        try:
            if self.with_redis:
                self.start_redis(*redis_args)
            self.start_sim()
            if before_agent:
                before_agent(self)
            self.start_agent(ready=ready)
            self.start_haproxy()
        except BaseException:
            self.stop()
            raise
        return self

    def start_child(self, name, argv, env=None):
        self.children[name] = Child(name, self.folder, argv, env)
        return self.children[name]

    def start_redis(self, *args):
        (self.folder / "redis").mkdir(exist_ok=True)
        self.start_child("redis", [REDIS, "--bind", "127.0.0.1", "--port", self.ports["redis"], "--save", "",
                                   "--appendonly", "no", "--dir", self.folder / "redis", *args])
        self.redis = redis.Redis(port=self.ports["redis"], decode_responses=True)

        def ping():
            with contextlib.suppress(redis.ConnectionError):
                return self.redis.ping()

        wait_until("redis", ping)

    def start_sim(self):
        if not self.simulators:
            self.sim = Sim(self.folder, self.ports["sim"])
        self.children["sim"] = self.sim.child

    def write_config(self):
        path = self.folder / "gateway.json"
        path.write_text(json.dumps(self.config, indent=1))
        return path

    def start_agent(self, ready=True):
        path = self.write_config()
        backends = agent_command("render-haproxy", path)
        assert backends.returncode == 0, backends.stderr
        (self.folder / "backends.cfg").write_text(backends.stdout)
        agent = self.start_child("agent", [AGENT, "run", path])
        if ready:
            self.wait_ready()
        return agent

    def agent_get(self, path):
        return http_get(f"http://127.0.0.1:{self.ports['agent_http']}{path}")

    def wait_ready(self):
        def ready():
            assert self.children["agent"].alive(), self.children["agent"].log()[-4000:]
            with contextlib.suppress(httpx.TransportError):
                return self.agent_get("/readyz").status_code == 200

        wait_until("the agent to be ready", ready)

    def restart_agent(self):
        """The agent with the configuration of now, seen by HAProxy."""
        self.children["agent"].stop()
        self.start_agent()
        self.wait_agent_up()

    def reload_agent(self, expect="gateway.json loaded"):
        """Writes the configuration, sends SIGHUP and waits for a log line; what was logged since."""
        agent = self.children["agent"]
        mark = agent.mark()
        self.write_config()
        agent.signal(signals.SIGHUP)
        agent.wait_log(expect, after=mark)
        return agent.log()[mark:]

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
        haproxy = self.start_child("haproxy", self.haproxy_argv(), self.full_haproxy_env())
        for name in ("https", "http", "stats"):
            wait_until(f"haproxy on {name}", lambda: haproxy.alive() and answers(self.ports[name]) or
                       self._fail_if_dead(haproxy))
        self.wait_agent_up()

    def haproxy_says(self, command):
        """The answer of HAProxy's runtime socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(str(self.folder / "haproxy.sock"))
            s.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    @staticmethod
    def _fail_if_dead(child):
        assert child.alive(), child.log()[-4000:]

    def wait_agent_up(self):
        """HAProxy's health check sees the agent."""
        wait_until("haproxy to see the agent", lambda: http_get(
            f"http://127.0.0.1:{self.ports['stats']}/healthz").status_code == 200)

    def stop(self):
        for name, child in reversed(list(self.children.items())):
            if name != "sim" or not self.simulators:
                child.stop()
        if self.simulators and self.sim:
            self.simulators.give_back(self.sim)
            self.sim = None
        for name, child in self.children.items():
            said = name.startswith("agent") and child.complaints()
            assert not said, said

    # ---- sharing

    def clear(self):
        """Faults, records and counts in Redis of earlier tests are gone."""
        self.sim.reset()
        key = self.ticket_key()
        self.redis.flushall()
        self.redis.set("gw:ticket-key", key)

    def ticket_key(self):
        """What seals tickets, in hexadecimal (store/shared_key); known also when Redis has lost it."""
        if not self.shared_key:
            self.shared_key = wait_until("the key of the tickets", lambda: self.redis.get("gw:ticket-key"))
        return self.shared_key

    def check_alive(self):
        for name, child in self.children.items():
            assert child.alive(), f"{name} died:\n{child.log()[-4000:]}"

    def logs(self):
        return "\n".join(f"--- {n}\n{c.log()[-6000:]}" for n, c in self.children.items())

    # ---- asking

    def client(self, http2=False, tls=True, **more):
        more = {"timeout": PATIENCE, "trust_env": False, **more}
        if not tls:
            return httpx.Client(base_url=f"http://127.0.0.1:{self.ports['http']}", **more)
        if http2 not in self.contexts:  # httpx sets the ALPN of its context: one for each
            self.contexts[http2] = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(base_url=f"https://localhost:{self.ports['https']}", verify=self.contexts[http2],
                            http2=http2, **more)

    def token(self, **claims):
        """An Entra token of the app of consumer `demo`, unless the claims say otherwise."""
        return self.sim.token(claims)

    def request(self, method, path, token=None, headers=None, client=None, **more):
        """One request through the gateway; the answer of httpx. Without `token` it has one of
        consumer `demo`; token="" sends none. `client` keeps its connection."""
        token = self.token() if token is None else token
        head = {**(bearer(token) if token else {}), **(headers or {})}
        with contextlib.ExitStack() as ends:
            client = client or ends.enter_context(self.client())
            return client.request(method, path, headers=head, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)

    def chat(self, model="gpt-4o", token=None, headers=None, path=CHAT, content=None, client=None, **body):
        """One chat request. `content` replaces the whole body."""
        if content is None:
            content = json.dumps({"model": model, "messages": HELLO, **body})
        return self.post(path, token=token, client=client, content=content,
                         headers={"content-type": "application/json", **(headers or {})})

    def wait_served(self, **chat):
        """Asks until a chat is answered with 200; that answer."""
        return wait_until("an answer", lambda: (a := self.chat(**chat)).status_code == 200 and a)

    # ---- what the agent said

    def decision(self, request_id):
        """The fields of the decision line of a request."""
        return self.next_line(f"decision id={request_id} ")

    def usage(self, request_id):
        """The fields of the usage line of a request."""
        return self.next_line(f"usage id={request_id} ")

    def next_line(self, begin, after=0):
        """The fields of the first line that begins with these words, behind a mark of the log."""
        return fields(self.children["agent"].wait_log(rf" info {begin}.*\n", after=after).group(0))

    def lines(self, kind, after=0):
        """The fields of all lines of a kind (decision, usage) that are there now."""
        log = self.children["agent"].log()[after:]
        return [fields(line) for line in log.splitlines() if f" info {kind} " in line]

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


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def jwt_part(token, n):
    """Header (0) or claims (1) of a token."""
    text = token.split(".")[n]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def header_values(seen, name):
    """All values of a header of a request that the simulator received."""
    return [v for k, v in seen["headers"] if k.lower() == name]


def header_value(seen, name):
    """The value of a header that came exactly once."""
    (value,) = header_values(seen, name)
    return value


def told_usage(answer):
    """The usage object of an answer, streamed or not."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        return json.loads(sse_events(answer.text)[-2])["usage"]
    return answer.json()["usage"]


def sse_events(text):
    """The data of each event."""
    return [e[5:].lstrip(" ") for e in re.split(r"\r?\n\r?\n", text) if e.startswith("data:")]


def request_id(answer):
    value = answer.headers["x-request-id"]
    uuid.UUID(value)
    return value

