"""Many clients at once, with tokens as long as real ones, which make the agent's answers to HAProxy
long: some versions of HAProxy stall when too many such answers are on their way.

No request may be refused or lost, and every token is charged once."""
import asyncio
import json
import ssl

import httpx
import pytest

from harness import CHAT, PATIENCE, STREAMED, header_value, told_usage, wait_until
from refusals import data_requests
from steps import by_day_without_end, open_records, spent, usage_records

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Tell me of the sea. " * 20}]}
TOKEN_MIN = 2000  # bytes of the token that the gateway sends upstream


def patient(config):
    """Timeouts that a busy machine keeps. A stall, which is what these tests look for, has no end."""
    config["decision_timeout_ms"] = 5000
    config["redis"]["deadline_ms"] = 2000
    config["log_level"] = "warn"
    by_day_without_end(config)


def long_tokens(stack):
    stack.sim.defaults(token_padding=800)


@pytest.fixture
def stack(shared_stack):
    return shared_stack(change=patient, before_agent=long_tokens, env={"GATEWAY_SPOE_TIMEOUT": "10s"})


class Crowd:
    """n clients, each with a connection of its own and `each` requests."""

    def __init__(self, stack, n, each, http2):
        self.n, self.each = n, each
        self.url = f"https://localhost:{stack.ports['https']}{CHAT}"
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
        # with one client, HTTP/2 would put all requests on one connection
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
            if self.gate:  # all at the same moment
                await self.gate.wait()
            stream = (i + k) % 2 == 1
            body = {**BODY, **STREAMED} if stream else BODY
            try:
                answer = await client.post(self.url, content=json.dumps(body), headers=head)
                self.take(answer)
            except (httpx.HTTPError, AssertionError, LookupError, ValueError) as e:
                self.wrong.append(repr(e))

    def take(self, answer):
        if answer.status_code != 200:
            self.wrong.append((answer.status_code, answer.text[:300]))
            return
        self.told += told_usage(answer)["total_tokens"]
        self.ids.add(answer.headers["x-request-id"])


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("n, each", [(64, 6), (256, 4)], ids=["64-clients", "256-clients"])
def test_crowd_is_served_and_charged_once(stack, n, each, http2):
    settled = usage_records(stack, "settled")
    errors = stack.metric("foundry_store_errors_total")
    crowd = Crowd(stack, n, each, http2).run()
    assert crowd.wrong == [], (len(crowd.wrong), crowd.wrong[:5], stack.logs())
    assert len(crowd.ids) == n * each  # each has an id of its own

    (seen, *_) = data_requests(stack)
    assert len(header_value(seen, "authorization")) >= TOKEN_MIN

    served = stack.sim.stats()["deployments"]["gpt-4o-east"]
    assert served["requests"] == served["ok"] == n * each
    assert served["total_tokens"] == served["told_tokens"] == crowd.told

    wait_until("every request to be settled", lambda: usage_records(stack, "settled") - settled >= n * each)
    assert usage_records(stack, "settled") - settled == n * each
    assert stack.metric("foundry_store_errors_total") == errors == 0
    assert spent(stack) == crowd.told
    for result in ("malformed", "unknown", "estimated", "dropped", "refused"):
        assert usage_records(stack, result) == 0, result
    assert open_records(stack) == set()
    assert stack.metric("foundry_requests_total", verdict="deny") == 0
