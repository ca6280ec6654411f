"""Decisions that come too late: the client has hung up, or HAProxy has stopped waiting. What was not
sent to a resource is not charged, whether the decision or the usage record comes first."""
import contextlib
import socket
import struct

import pytest

from harness import PATIENCE, free_port, header_value, wait_until
from refusals import chat_bytes, connect, data_requests
from steps import by_day, open_records, spent, usage_records

N = 6


def patient(workers):
    def change(config):
        by_day(config)
        config["workers"] = workers
        config["decision_timeout_ms"] = 10000
        config["redis"]["deadline_ms"] = 5000

    return change


def send(stack):
    """A request on a new connection whose answer nobody reads."""
    s = connect(stack)
    s.sendall(chat_bytes(stack, close=False))
    return s


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def nothing_was_charged(stack):
    wait_until("every reservation to be given back", lambda: open_records(stack) == set())
    wait_until("every end to be counted", lambda: stack.metric("foundry_consumer_streams") == 0)
    assert data_requests(stack) == []
    assert spent(stack) == 0
    answer = stack.chat()
    wait_until("its usage and nothing else", lambda: spent(stack) == answer.json()["usage"]["total_tokens"])
    assert open_records(stack) == set()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("leave", [socket.socket.close, reset])
def test_client_hangs_up_before_the_decision(make_stack, workers, leave):
    """HAProxy 2.6 sees it at once. Later versions see it when the decision has come: usually while they
    connect to the resource, sometimes when the request is on its way, which is charged its prompt."""
    stack = make_stack(change=patient(workers), env={"GATEWAY_SPOE_TIMEOUT": "20s"})
    with stack.children["redis"].frozen():
        clients = [send(stack) for _ in range(N)]
        wait_until("them to wait", lambda: stack.metric("foundry_inflight_requests") == N)
        for c in clients:
            leave(c)
    wait_until("their records", lambda: usage_records(stack, "undecided", "settled", "estimated") == N)
    wait_until("the decisions", lambda: stack.metric("foundry_requests_total") == N)
    wait_until("every reservation to be given back", lambda: open_records(stack) == set())
    wait_until("every end to be counted", lambda: stack.metric("foundry_consumer_streams") == 0)
    ends = lambda: [end for end in stack.lines("usage") if "termination" in end]
    wait_until("their lines", lambda: len(ends()) >= usage_records(stack, "settled", "estimated"))
    told = ends()
    assert all(end["termination"][0] == "C" for end in told)
    assert all((int(end["input"]) > 0) == (end["termination"][1] not in "RQC") for end in told)
    assert spent(stack) == sum(int(end["input"]) for end in told)
    reached = {header_value(r, "x-request-id") for r in data_requests(stack)}
    assert reached <= {end["id"] for end in told if int(end["input"]) > 0}


@pytest.mark.parametrize("workers", [1, 2])
def test_record_comes_before_the_decision(make_stack, workers):
    stack = make_stack(change=patient(workers), env={"GATEWAY_SPOE_TIMEOUT": "500ms"})
    with stack.children["redis"].frozen(), contextlib.ExitStack() as clients:
        for _ in range(N):
            clients.enter_context(send(stack))
        wait_until("HAProxy to stop waiting", lambda: usage_records(stack, "undecided") == N)
        assert stack.metric("foundry_requests_total") == 0
    wait_until("the decisions", lambda: stack.metric("foundry_requests_total") == N)
    late = lambda: stack.children["agent"].log().count("answer=nobody-waits")
    wait_until("their lines", lambda: late() >= N)  # the agent collects lines for some milliseconds
    assert late() == N
    nothing_was_charged(stack)


@pytest.mark.parametrize("workers", [1, 2])
def test_record_comes_after_the_decision(make_stack, workers):
    """The test receives the records and passes them on late."""
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with held, contextlib.ExitStack() as clients:
        held.bind(("127.0.0.1", free_port(socket.SOCK_DGRAM)))
        held.settimeout(PATIENCE)
        stack = make_stack(change=patient(workers), env={
            "GATEWAY_SPOE_TIMEOUT": "500ms", "GATEWAY_USAGE": "127.0.0.1:%d" % held.getsockname()[1]})
        with stack.children["redis"].frozen():
            for _ in range(N):
                clients.enter_context(send(stack))
            late = [held.recv(65536) for _ in range(N)]
        wait_until("the decisions", lambda: stack.metric("foundry_requests_total") == N)
        assert len(open_records(stack)) == N and spent(stack) > 0
        assert stack.metric("foundry_reservations_open") == N
        for record in late:
            held.sendto(record, ("127.0.0.1", stack.ports["usage"]))
        wait_until("them to be given back", lambda: open_records(stack) == set())
        assert spent(stack) == 0
        assert stack.metric("foundry_reservations_open") == stack.metric("foundry_consumer_streams") == 0
        # sent again, they change nothing
        for record in late:
            held.sendto(record, ("127.0.0.1", stack.ports["usage"]))
        wait_until("the records", lambda: usage_records(stack, "undecided") == 2 * N)
        assert spent(stack) == 0


def test_agent_is_frozen_and_wakes_up(make_stack):
    """It then reads the requests and their usage records together."""
    stack = make_stack(change=patient(1), env={"GATEWAY_SPOE_TIMEOUT": "500ms"})
    with contextlib.ExitStack() as clients:
        with stack.children["agent"].frozen():
            sent = [clients.enter_context(send(stack)) for _ in range(N)]
            for s in sent:
                assert s.recv(65536).startswith(b"HTTP/1.1 503 ")
        wait_until("the records", lambda: usage_records(stack, "undecided") == N)
        nothing_was_charged(stack)
