"""The picture of the dashboard: haproxy-conf/grafana-dashboard.svg.

    clients --> HAProxy, agent, Redis, simulator     for a minute
                   \\--> /metrics, every second --> the dashboard's own
                         expressions (tests/e2e/promql.py) --> svg.py

It is drawn here, not by Grafana; the numbers are those of a gateway that ran.

    build/venv/bin/python tests/picture/picture.py [OUT.svg]
"""
import json
import math
import random
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import httpx  # noqa: E402
from harness import Stack  # noqa: E402
from promql import Expression, Samples, series  # noqa: E402
from steps import with_ledger  # noqa: E402
from svg import Picture  # noqa: E402

SECONDS = 60
WARM = 10  # seconds before, so that every rate has a full window
INTERVAL = 8  # $__rate_interval
DASHBOARD = ROOT / "haproxy-conf/grafana-dashboard.json"
SEED = random.Random(4)

APPS = {"hr-bot": 1, "support": 2, "research": 3, "trial": 4}
# who, model, clients, requests a second of each, prompt and output tokens,
# streamed, share that hangs up
TRAFFIC = [
    ("support", "gpt-4o", 5, 1.6, 900, 90, True, 0.02),
    ("support", "gpt-4o-mini", 3, 2.5, 500, 40, False, 0),
    ("hr-bot", "gpt-4o", 3, 1.2, 1400, 120, True, 0.1),
    ("hr-bot", "text-embedding-3-small", 2, 3, 700, 0, False, 0),
    ("research", "claude-sonnet-4-5", 3, 1.0, 2200, 160, True, 0.05),
    ("research", "gpt-4o", 2, 0.8, 3000, 200, False, 0),
    ("trial", "gpt-4o-mini", 2, 2.5, 300, 30, False, 0),
    ("trial", "forbidden-model", 1, 0.4, 10, 10, False, 0),
]


def app(name):
    return f"00000000-0000-4000-8000-{APPS[name]:012}"


def change(config):
    with_ledger(config)
    config["workers"] = 2
    config["log_level"] = "warn"
    config["consumers"] = {
        name: {"match": {"tenant": "contoso", "apps": [app(name)]},
               "limits": ["trial-tokens" if name == "trial" else "company-tokens"]} for name in APPS}
    config["limits"] = {
        "company-tokens": {"per": "consumer", "unit": "tokens", "amount": 100000000, "window": "day"},
        "trial-tokens": {"per": "consumer", "unit": "tokens", "amount": 30000, "window": "minute", "warn_at": 0.7}}
    models = config["models"]
    models["gpt-4o"]["deployments"] = [{"resource": "east", "name": "gpt-4o-east"},
                                       {"resource": "west", "name": "gpt-4o-west", "priority": 2}]
    models["gpt-4o-mini"]["price"] = {"input": 0.15, "cached": 0.075, "output": 0.6}
    models["text-embedding-3-small"]["price"] = {"input": 0.02}
    models["claude-sonnet-4-5"]["price"] = {"input": 3, "cached": 0.3, "output": 15}


class Client(threading.Thread):
    """Sends requests at a rate that rises and falls."""

    def __init__(self, stack, end, who, model, rate, prompt, output, stream, leaves, phase):
        super().__init__(daemon=True)
        self.stack, self.end, self.model, self.rate = stack, end, model, rate
        self.prompt, self.output, self.stream, self.leaves, self.phase = prompt, output, stream, leaves, phase
        self.token = stack.token(appid=app(who), azp=app(who))
        self.random = random.Random(SEED.random())

    def run(self):
        with self.stack.client() as http:
            while not self.end.is_set():
                try:
                    self.ask(http)
                except httpx.HTTPError:
                    pass  # trouble() makes some requests fail
                wave = 1 + 0.6 * math.sin(time.monotonic() / 6 + self.phase)
                self.end.wait(self.random.expovariate(self.rate * wave))

    def ask(self, http):
        some = lambda n: max(1, round(n * self.random.uniform(0.4, 1.6)))
        prompt, output = some(self.prompt), some(self.output)
        head = {"authorization": f"Bearer {self.token}", "x-sim-prompt-tokens": str(prompt), "x-sim-tokens": str(output),
                "x-sim-cached-tokens": str(prompt // 128 * 64 if self.random.random() < 0.5 else 0),
                "x-sim-event-delay-ms": "8", "x-sim-delay-ms": str(some(120))}
        text = "Tell me of the sea. " * (prompt // 8)
        body = {"model": self.model, "messages": [{"role": "user", "content": text}], "max_tokens": 2 * output,
                "stream": self.stream}
        path = "/openai/v1/chat/completions"
        if self.model.startswith("claude"):
            path, head["anthropic-version"] = "/anthropic/v1/messages", "2023-06-01"
        elif self.model.startswith("text-"):
            path, body = "/openai/v1/embeddings", {"model": self.model, "input": text}
        with http.stream("POST", path, json=body, headers=head) as answer:
            leaves = self.random.random() < self.leaves
            for _ in answer.iter_bytes():
                if leaves:
                    return


def trouble(stack, end):
    """Lets one deployment throttle now and then, and another fail."""
    while not end.wait(11):
        stack.sim.fault(status=429, retry_after=2, match={"deployment": "gpt-4o-east"}, times=3)
        if not end.wait(9):
            stack.sim.fault(status=500, match={"deployment": "claude-sonnet-4-5"}, times=4)


def sample(stack, samples, http):
    """Reads the pages of agent and HAProxy; the time that both get."""
    now = time.time()
    ports = stack.ports
    pages = [http.get(f"http://127.0.0.1:{ports[p]}/metrics").text for p in ("agent_http", "stats")]
    samples.add(now, [s for page in pages for s in series(page)])
    return now


def watch(stack):
    """The samples of the whole run, and the times that the picture shows."""
    samples = Samples({"$__rate_interval": INTERVAL, "$__range": SECONDS})
    shown = []
    end = threading.Event()
    clients = [Client(stack, end, who, model, *rest, phase=i * 1.3)
               for i, (who, model, n, *rest) in enumerate(TRAFFIC) for _ in range(n)]
    clients.append(threading.Thread(target=trouble, args=(stack, end), daemon=True))
    for c in clients:
        c.start()
    with httpx.Client(trust_env=False, timeout=10) as http:
        begin = time.monotonic()
        for second in range(WARM + SECONDS + 1):
            time.sleep(max(0, begin + second - time.monotonic()))
            now = sample(stack, samples, http)
            if second >= WARM:
                shown.append(now)
    end.set()
    for c in clients:
        c.join(30)
    return samples, shown


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda m: dict(labels).get(m.group(1), ""), template).strip()


def lines_of(panel, samples, times):
    """[(name, [value at each time])], ordered by query and name."""
    found = {}
    for i, target in enumerate(panel["targets"]):
        expression = Expression(re.sub(r"\$(consumer|model)\b", ".*", target["expr"]))
        for k, t in enumerate(times):
            value = expression.value(samples, t)
            for labels, v in value.items() if isinstance(value, dict) else [(frozenset(), value)]:
                name = legend(target["legendFormat"], labels)
                found.setdefault((i, name), [None] * len(times))[k] = v
    return [(name, found[i, name]) for i, name in sorted(found)]


def draw(dashboard, samples, times):
    picture = Picture(dashboard["title"], f"one minute of simulated traffic, $__rate_interval = {INTERVAL} s")
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            picture.row(panel)
            continue
        if panel["type"] == "stat":
            lines = lines_of(panel, samples, times[-1:])
            picture.stat(panel, lines[0][1][-1] if lines else None)
        else:
            picture.timeseries(panel, lines_of(panel, samples, times), len(times) - 1)
    return picture.write()


def main(out):
    dashboard = json.loads(DASHBOARD.read_text())
    with tempfile.TemporaryDirectory(prefix="picture.") as folder:
        stack = Stack(folder, change=change)
        try:
            samples, times = watch(stack.start())
        finally:
            stack.stop()
    Path(out).write_text(draw(dashboard, samples, times))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ROOT / "haproxy-conf/grafana-dashboard.svg")
