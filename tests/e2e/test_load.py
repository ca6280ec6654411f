"""Many clients at once, with answers to HAProxy as long as real tokens make
them: some versions stall when too much of that is on its way at a time.

Nothing may be refused that need not be, nothing may be lost, and every token
is charged once."""
import asyncio
import json
import ssl

import httpx
import pytest

from harness import PATIENCE, sse_events, wait_until
from refusals import data_requests
from steps import open_records

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Tell me of the sea. " * 20}]}
TOKEN_MIN = 2000  # bytes of the token we send upstream


def patient(config):
    """Times that a busy machine can keep: what is wrong here lasts forever."""
    config["decision_timeout_ms"] = 5000
    config["redis"]["deadline_ms"] = 2000
    config["log_level"] = "warn"
    config["limits"]["demo-tokens"] = {"per": "consumer", "unit": "tokens", "amount": 10**12, "window": "day"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, certificate):
    from harness import Stack

    stack = Stack(tmp_path_factory.mktemp("loaded"), change=patient, certificate=certificate,
                  env={"GATEWAY_SPOE_TIMEOUT": "10s"})
    try:
        stack.start_redis()
        stack.start_sim()
        stack.sim.post("/control/defaults", token_padding=800)
        stack.start_agent()
        stack.start_haproxy()
        yield stack
    finally:
        stack.stop()


class Crowd:
    """n clients, each with a connection of its own and `each` requests."""

    def __init__(self, stack, n, each, http2):
        self.n, self.each = n, each
        self.url = f"https://localhost:{stack.ports['https']}/openai/v1/chat/completions"
        self.context = ssl.create_default_context(cafile=str(stack.ca))
        self.http2 = http2
        self.tokens = [stack.token(oid=f"44444444-4444-4444-4444-{i:012d}") for i in range(8)]
        self.wrong = []
        self.told = 0
        self.ids = set()

    def run(self):
        asyncio.run(self.all())
        return self

    async def all(self):
        # HTTP/2 would put all of them on one connection: some clients then
        limits = httpx.Limits(max_connections=self.n, max_keepalive_connections=self.n)
        n_clients = 8 if self.http2 else 1
        clients = [httpx.AsyncClient(verify=self.context, http2=self.http2, limits=limits, trust_env=False,
                                     timeout=PATIENCE) for _ in range(n_clients)]
        self.gate = asyncio.Barrier(self.n) if hasattr(asyncio, "Barrier") else None
        try:
            await asyncio.gather(*(self.one(i, clients[i % n_clients]) for i in range(self.n)))
        finally:
            await asyncio.gather(*(c.aclose() for c in clients))

    async def one(self, i, client):
        head = {"content-type": "application/json", "authorization": f"Bearer {self.tokens[i % len(self.tokens)]}"}
        for k in range(self.each):
            if self.gate:  # together: that is what makes the peak
                await self.gate.wait()
            stream = (i + k) % 2 == 1
            body = {**BODY, "stream": True, "stream_options": {"include_usage": True}} if stream else BODY
            try:
                answer = await client.post(self.url, content=json.dumps(body), headers=head)
                self.take(answer, stream)
            except (httpx.HTTPError, AssertionError, LookupError, ValueError) as e:
                self.wrong.append(repr(e))

    def take(self, answer, stream):
        if answer.status_code != 200:
            self.wrong.append((answer.status_code, answer.text[:300]))
            return
        if stream:
            events = sse_events(answer.text)
            assert events[-1] == "[DONE]", events[-1]
            usage = json.loads(events[-2])["usage"]
        else:
            usage = answer.json()["usage"]
        self.told += usage["total_tokens"]
        self.ids.add(answer.headers["x-request-id"])


def charged(stack):
    """What the day has been charged with: 2:PERIOD:USED."""
    value = stack.limit_state("demo").get("demo-tokens:demo", "2:0:0")
    return int(value.split(":")[2])


def settled(stack):
    return stack.metric("foundry_usage_records_total", result="settled")


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("n,each", [(64, 6), (256, 4)], ids=["64-clients", "256-clients"])
def test_crowd_is_served_and_charged_once(loaded, n, each, http2):
    stack = loaded
    before = charged(stack), settled(stack), stack.sim.stats()
    errors = stack.metric("foundry_store_errors_total")
    crowd = Crowd(stack, n, each, http2).run()
    assert crowd.wrong == [], (len(crowd.wrong), crowd.wrong[:5], stack.logs())
    assert len(crowd.ids) == n * each  # each has an id of its own

    (seen, *_) = data_requests(stack)
    (credential,) = [v for k, v in seen["headers"] if k.lower() == "authorization"]
    assert len(credential) >= TOKEN_MIN

    stats = stack.sim.stats()
    served = {k: stats["deployments"]["gpt-4o-east"][k] - before[2]["deployments"].get("gpt-4o-east", {}).get(k, 0)
              for k in ("requests", "ok", "total_tokens", "told_tokens")}
    assert served["requests"] == served["ok"] == n * each
    assert served["total_tokens"] == served["told_tokens"] == crowd.told

    wait_until("every request to be settled", lambda: settled(stack) - before[1] >= n * each)
    assert settled(stack) - before[1] == n * each
    assert stack.metric("foundry_store_errors_total") == errors == 0
    assert charged(stack) - before[0] == crowd.told
    for result in ("malformed", "unknown", "estimated", "dropped", "refused"):
        assert stack.metric("foundry_usage_records_total", result=result) == 0, result
    assert open_records(stack) == set()
    assert stack.metric("foundry_requests_total", verdict="deny") == 0
