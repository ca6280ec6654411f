"""The stack with two HAProxies that log more than usual, and the resources."""
import collections
import itertools
import json
import queue
import re
import socket
import ssl
import subprocess
import threading
import time

import harness
from harness import ROOT, Stack, answers, free_port, wait_until
from clients import KINDS
from origin import Origin, Script, deaf, garbage, peek, reset

QUICK = 1.0  # s: time-outs of the second HAProxy
API = "api-version=2024-10-21"
CASES = itertools.count(1)
N_SLOW, N_SPARE = 8, 100

# Logged besides what haproxy.cfg logs, to explain what the rules get wrong.
PROBE = (
    ',"cp":%cp,"who":"${WHO}","case":"%[var(txn.probe_case),json(utf8s)]","tw":%Tw,"td":%Td,'
    '"u":%U,"tsc":"%tsc","be":"%b","srv":"%s","bp":"%bp","sq":"%sq","bc_port":"%[bc_src_port]",'
    '"bc_major":"%[bc_http_major]","bc_err":"%[bc_err]","fc_err":"%[fc_err]","reached":"%[var(txn.probe_be)]"'
)
PROBE_30 = (
    ',"bc_tc":"%[bc.timer.connect]","bytes_in":"%[bytes_in]","fs_abrt":"%[fs.aborted]","bs_abrt":"%[bs.aborted]",'
    '"fs_rst":"%[fs.rst_code]"'
)
PROBE_32 = ',"events_t":"%[term_events]","waiting":"%[waiting_entity]"'


class Tap:
    """Stands between HAProxy's records and the agent: keeps and forwards."""

    def __init__(self, agent_port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.agent = ("127.0.0.1", agent_port)
        self.lines = collections.defaultdict(list)  # by case, else client port
        self.changed = threading.Condition()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            data = self.socket.recv(65536)
            self.socket.sendto(data, self.agent)
            if not data.startswith(b"{"):  # of HAProxy itself
                continue
            line = json.loads(data)
            with self.changed:
                self.lines[line["case"].strip("-") or (line["who"], line["cp"])].append(line)
                self.changed.notify_all()

    def wait(self, keys, seconds):
        with self.changed:
            self.changed.wait_for(lambda: any(self.lines.get(k) for k in keys), seconds)
            return next((self.lines[k][0] for k in keys if self.lines.get(k)), None)


class Charges:
    """The usage lines of the agent's log, by request."""

    def __init__(self, path):
        self.path, self.at, self.found = path, 0, {}
        self.lock = threading.Lock()

    def read(self):
        with self.lock, open(self.path, errors="replace") as f:
            f.seek(self.at)
            for line in f:
                if not line.endswith("\n"):
                    break
                self.at += len(line.encode())
                m = re.search(r" info usage id=(\S+)", line)
                if m:
                    self.found[m.group(1)] = harness.fields(line)

    def wait(self, number, seconds=5):
        end = time.monotonic() + seconds
        while number not in self.found and time.monotonic() < end:
            self.read()
            time.sleep(0.01)
        return self.found.get(number)


class World(Stack):
    """A stack with one HAProxy as configured and one whose time is up soon."""

    def __init__(self, folder, haproxy):
        harness.HAPROXY = haproxy
        self.version = subprocess.run([haproxy, "-v"], capture_output=True, text=True).stdout.split()[2].split("-")[0]
        self.version = ".".join(self.version.split(".")[:2])
        super().__init__(folder)
        self.tap = Tap(self.ports["usage"])
        self.lock = threading.Lock()
        self.quick_ports = {n: free_port() for n in ("https", "http", "stats")}
        self.origins()
        self.models()

    def origins(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        self.at = {
            "live": Origin(), "one": Origin(), "spare": Origin(), "maint": Origin(),
            "tls": Origin(context=context),
            "closing": Origin(greet=lambda s: s.close()), "resetting": Origin(greet=reset),
            "peekfin": Origin(greet=peek(lambda s: s.close())), "peekrst": Origin(greet=peek(reset)),
            "tlsgarbage": Origin(greet=garbage), "tlssilent": Origin(greet=peek(lambda s: time.sleep(8))),
            **{f"slow{i}": Origin(context=context, slow=True) for i in range(N_SLOW)},
        }
        self.bound = socket.socket()
        self.bound.bind(("127.0.0.1", 0))
        self.deaf, self.fill = deaf()
        self.late_port = free_port()
        self.slow = queue.Queue()
        for i in range(N_SLOW):
            self.slow.put(f"slow{i}")
        self.spare = iter(range(N_SPARE))
        self.places = {n: o.port for n, o in self.at.items()}
        self.places.update(refused=self.bound.getsockname()[1], deaf=self.deaf.getsockname()[1], late=self.late_port)

    def models(self):
        c = self.config
        for name, port in self.places.items():
            tls = name.startswith(("tls", "slow"))
            c["resources"][name] = {"url": f"http://127.0.0.1:{port}", "credential": "mi"}
            if tls:
                c["resources"][name] = {"url": f"https://localhost:{port}", "address": f"127.0.0.1:{port}",
                                        "ca_file": str(self.ca), "credential": "mi"}
        price = {"input": 1, "output": 1}
        for model, resource in [(n, n) for n in self.places] + [(f"s{i}", "live") for i in range(N_SPARE)]:
            c["models"][model] = {"deployments": [{"resource": resource, "name": model, "surface": "azure"}],
                                  "default_output_tokens": 50, "price": price}
        c["models"]["whisper"] = {
            "deployments": [{"resource": "live", "name": "whisper", "surface": "azure"}]}
        c["models"]["gpt-realtime"] = {
            "deployments": [{"resource": "live", "name": "gpt-realtime", "surface": "v1"}]}
        c["limits"]["demo-tokens"]["amount"] = 10**11
        c["decision_timeout_ms"] = 10000
        c["redis"]["deadline_ms"] = 5000

    # ---- HAProxy, patched

    def write_cfg(self, name, change=lambda text: text):
        text = (ROOT / "haproxy-conf/haproxy.cfg").read_text()

        def put(old, new):
            nonlocal text
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)

        put(',"batch_model":"%[var(txn.gw.batch_model),json(utf8s)]"}\'',
            ',"batch_model":"%[var(txn.gw.batch_model),json(utf8s)]"\'\n'
            f"\tsetenv PROBE '{PROBE.replace('${WHO}', name)}'\n\tsetenv PROBE_V ' '\n"
            f".if version_atleast(3.0)\n\tsetenv PROBE_V '{PROBE_30}'\n.endif\n"
            f".if version_atleast(3.2)\n\tsetenv PROBE_V '{PROBE_30}{PROBE_32}'\n.endif\n")
        put('${USAGE_8}"', '${USAGE_8}${PROBE}${PROBE_V}}"')
        put("\thttp-request del-header x-request-id\n",
            "\thttp-request set-var(txn.probe_case) req.fhdr(user-agent),field(2,/)\n"
            "\thttp-request del-header x-request-id\n")
        for section in ("r", "s"):
            put(f"\ndefaults {section} from http\n",
                f"\ndefaults {section} from http\n\thttp-request set-var(txn.probe_be) str(1)\n")
        put("mode 600 level operator", "mode 600 level admin")
        text = change(text)
        path = self.folder / f"{name}.cfg"
        path.write_text(text)
        return path

    def write_backends(self):
        """No health checks: the ends of the connections are those of the cases."""
        text = (self.folder / "backends.cfg").read_text()
        text = re.sub(r" check-sni \S+", "", text)
        text = re.sub(r" check inter .*| track \S+", "", text)
        text = re.sub(r"(?m)(\tserver one .*)$", r"\1 maxconn 1", text)
        text = re.sub(r"(?m)(\tserver maint .*)$", r"\1 disabled", text)
        path = self.folder / "backends-plain.cfg"
        path.write_text(text)
        return path

    @staticmethod
    def hurry(text):
        """A client's time is up before a resource's, as in haproxy.cfg."""
        for what, s in (("client", QUICK), ("server", 2.5 * QUICK), ("connect", 0.5), ("queue", 0.5), ("tunnel", QUICK),
                        ("http-request", QUICK)):
            text = re.sub(rf"(?m)^\ttimeout {what} \S+( *)$", rf"\ttimeout {what} {int(s * 1000)}ms", text, count=1)
        return text

    def spawn(self, name, ports, change=lambda text: text, **env):
        cfg = self.write_cfg(name, change)
        at = {f"GATEWAY_{n.upper()}": f"127.0.0.1:{p}" for n, p in ports.items()}
        socket_path = self.folder / f"{name}.sock"
        child = self.start_child(name, [harness.HAPROXY, "-db", "-f", cfg, "-f", self.write_backends()],
                            {**self.full_haproxy_env(), **at, "GATEWAY_USAGE": f"127.0.0.1:{self.tap.port}",
                             "GATEWAY_SPOE_TIMEOUT": "20s", "GATEWAY_SOCKET": str(socket_path), "WHO": name, **env})
        for port in ports.values():
            wait_until(f"{name} on {port}", lambda: child.alive() and answers(port) or self._fail_if_dead(child))
        health = f"http://127.0.0.1:{ports['stats']}/healthz"
        wait_until("agent up", lambda: harness.http_get(health).status_code == 200)
        return child

    def start_haproxy(self):
        self.charges = Charges(self.children["agent"].log_path)
        self.spawn("slow", {n: self.ports[n] for n in ("https", "http", "stats")})
        self.spawn("quick", self.quick_ports, self.hurry, GATEWAY_BODY_TIMEOUT="1s")
        self.bearer = self.token()

    # ---- one request

    def fresh(self):
        """A deployment of its own, for what the agent lets rest afterwards."""
        with self.lock:
            return f"s{next(self.spare)}"

    def open(self, kind, quick=False, ports=None):
        make, tls = KINDS[kind]
        ports = ports or (self.quick_ports if quick else self.ports)
        client = make(self, tls, ports["https" if tls else "http"])
        client.who = "quick" if quick else "slow"
        return client

    def script(self, *steps_, **more):
        number = str(next(CASES))
        script = Script(*steps_, **more)
        script.number = number
        Origin.scripts[number] = script
        return script

    def headers(self, script, **more):
        return {"authorization": f"Bearer {self.bearer}", "user-agent": f"case/{script.number}",
                "content-type": "application/json", **{k.replace("_", "-"): v for k, v in more.items()}}

    def chat_body(self, route):
        return json.dumps({"messages": [{"role": "user", "content": "Hello " * 400}],
                           **({"stream": True} if route == "s" else {})}).encode()

    def chat(self, client, script, route, model="live", **more):
        """The whole request, sent."""
        body = self.chat_body(route)
        client.start("POST", f"/openai/deployments/{model}/chat/completions?{API}", self.headers(script, **more),
                     length=len(body))
        client.send_head()
        client.body(body, last=True)

    def upload(self, client, script, how, model="live", n=60000, total=100000):
        """An upload that HAProxy does not wait for, n bytes of it."""
        if how == "multipart":
            path, kind = f"/openai/deployments/whisper/audio/transcriptions?{API}", "multipart/form-data; boundary=b"
            first = (b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
        else:
            path, kind = f"/openai/deployments/{model}/chat/completions?{API}", "application/json"
            first = b'{"messages":[{"role":"user","content":"'
            n, total = 400000, 600000
        client.start("POST", path, self.headers(script, content_type=kind), length=total, chunked=how == "chunked")
        client.send_head()
        client.body(first + b"x" * (n - len(first)))

    def websocket(self, client, script):
        client.start("GET", "/openai/v1/realtime?model=gpt-realtime",
                     {**self.headers(script), "connection": "Upgrade", "upgrade": "websocket",
                      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"})
        client.send_head()