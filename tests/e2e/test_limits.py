"""Limits as callers see them: what answers tell, what is refused, what is charged."""
import re
import time

import pytest

from harness import APP, TINY_APP, request_id, wait_until
from steps import (Stream, blocked, by_day, command, day, endless_streams, error_code, fast_streams, limits,
                   open_records, reserved_by, retry_after, second_node, spent, used, wait_spent)

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$")


def seconds(text):
    """A duration as OpenAI writes it."""
    h, m, s, ms = DURATION.fullmatch(text).groups("0")
    return int(h) * 3600 + int(m) * 60 + float(s) + int(ms) / 1000


def rates(answer, unit):
    """limit, remaining, reset of one unit."""
    return tuple(answer.headers.get(f"x-ratelimit-{what}-{unit}") for what in ("limit", "remaining", "reset"))


def test_answers_tell_what_is_left_in_the_headers_of_openai(make_stack):
    def change(config):
        limits(config, roomy=day(100000, "tokens"), tight=day(5000, "tokens"), asks=day(3))

    stack = make_stack(change=change)
    answer = stack.chat(max_tokens=50)
    assert answer.status_code == 200
    limit, remaining, reset = rates(answer, "requests")
    assert (limit, remaining) == ("3", "2")
    assert 0 < seconds(reset) <= 86400
    limit, remaining, reset = rates(answer, "tokens")
    decision = stack.decision(request_id(answer))
    assert (limit, int(remaining)) == ("5000", 5000 - reserved_by(decision))
    assert 0 < seconds(reset) <= 86400

    assert [rates(stack.chat(), "requests")[1] for _ in range(2)] == ["1", "0"]
    refused = stack.chat()
    assert refused.status_code == 429
    assert rates(refused, "requests")[:2] == ("3", "0")
    assert rates(refused, "tokens")[0] == "5000"
    assert abs(seconds(rates(refused, "requests")[2]) - retry_after(refused)) <= 1


def test_rate_limit_headers_of_the_resource_are_removed(make_stack):
    """They are about a deployment that all callers share."""
    def change(config):
        config["models"]["gpt-4o"].pop("price")
        limits(config, cheap=day(5))

    stack = make_stack(change=change)
    for stream in (False, True):
        answer = stack.chat(stream=stream)
        assert answer.status_code == 200
        assert rates(answer, "tokens") == (None, None, None)
        assert not [h for h in answer.headers if h.startswith("x-ratelimit-renewal")]
        assert rates(answer, "requests")[0] == "5"
    stack.sim.fault(status=429, times=1, retry_after=1)
    answer = stack.chat()
    assert answer.status_code == 429
    assert rates(answer, "tokens") == (None, None, None)


def test_request_after_retry_after_is_served(make_stack):
    """The bucket refills by one request per second."""
    def change(config):
        limits(config, asks={"per": "consumer", "unit": "requests", "amount": 60, "window": "minute"})

    stack = make_stack(change=change)
    token = stack.token()
    with stack.client() as client:
        def ask():
            return stack.chat(token=token, client=client)

        for _ in range(5):
            for _ in range(1000):
                answer = ask()
                if answer.status_code == 429:
                    break
                assert answer.status_code == 200, answer.text
            assert answer.status_code == 429 and error_code(answer) == "rate_limit_exceeded"
            wait = retry_after(answer)
            assert wait == 1
            time.sleep(wait)  # this is what the answer asks for
            answer = ask()
            assert answer.status_code == 200, (answer.status_code, answer.text)


def test_request_above_the_limit_is_refused_for_good(make_stack):
    stack = make_stack(change=lambda c: by_day(c, amount=1000))
    answer = stack.chat(max_tokens=5000)
    assert answer.status_code == 400
    assert error_code(answer) == "request_exceeds_limit"
    assert "demo-tokens" in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers
    assert spent(stack) == 0


def test_use_beyond_the_reservation_is_charged(make_stack):
    """What was used is charged, although it exceeds the reservation and the limit; nothing more is
    admitted until the window ends."""
    def change(config):
        by_day(config, amount=300)
        config["models"]["gpt-4o"]["default_output_tokens"] = 10

    stack = make_stack(change=change)
    stack.sim.defaults(tokens=400)
    first = stack.chat()
    assert first.status_code == 200
    total = used(stack, first)
    assert total > 400
    wait_spent(stack, total)
    second = stack.chat()
    assert second.status_code == 429 and error_code(second) == "rate_limit_exceeded"
    assert rates(second, "tokens")[:2] == ("300", "0")
    assert spent(stack) == total


def test_limits_of_app_and_team_both_count(make_stack):
    """Two apps of one team: each has a limit, and the limit of the team is reached first by both
    together."""
    def change(config):
        config["limits"].update({"app": day(3, per="app"), "team": day(4, per="team")})
        for name in ("demo", "tiny"):
            config["consumers"][name].update(team="research", limits=["app", "team"])
        del config["limits"]["tiny-tokens"]

    stack = make_stack(change=change)
    tiny = stack.token(appid=TINY_APP)
    assert [stack.chat().status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = stack.chat()
    assert stack.decision(request_id(refused))["limit"] == "app"
    assert stack.chat(token=tiny).status_code == 200
    refused = stack.chat(token=tiny)
    assert refused.status_code == 429
    assert stack.decision(request_id(refused))["limit"] == "team"
    state = stack.limit_state("research")
    assert {name: value.split(":")[2] for name, value in state.items()} == {
        f"app:{APP}": "3", f"app:{TINY_APP}": "1", "team": "4"}


def test_answers_warn_before_the_limit_is_reached(make_stack):
    stack = make_stack(change=lambda c: limits(c, soft=day(5, warn_at=0.8)))
    answers = [stack.chat() for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 5 + [429]
    told = [a.headers.get("x-gateway-limit-warning") for a in answers]
    assert told == [None, None, None, "soft", "soft", None]
    logged = [stack.decision(request_id(a)).get("limit_warning") for a in answers]
    assert logged == told
    assert stack.metric("foundry_limit_warnings_total", limit="soft") == 2


def in_flight(stack, field="two:demo", account="demo"):
    """What a limit of concurrent requests holds. 4:SLOT:N,N,.. (store/scripts)."""
    kind, _, slots = stack.limit_state(account).get(field, "4:0:0").split(":")
    assert kind == "4"
    return sum(map(int, slots.split(",")))


def two_at_once(config):
    limits(config, two={"per": "consumer", "unit": "concurrent", "amount": 2})


def test_third_concurrent_stream_is_refused(shared_stack):
    stack = shared_stack(change=two_at_once)
    endless_streams(stack)
    streams = [Stream(stack).wait_begun() for _ in range(2)]
    for stream in (False, True):
        refused = stack.chat(stream=stream)
        assert refused.status_code == 429 and error_code(refused) == "rate_limit_exceeded"
        assert retry_after(refused) == 1
        assert stack.decision(request_id(refused))["limit"] == "two"
        assert rates(refused, "requests") == (None, None, None)
    assert in_flight(stack) == 2

    streams[0].hang_up()
    wait_until("the place to be free", lambda: in_flight(stack) == 1)
    fast_streams(stack)
    for _ in range(5):
        assert stack.chat().status_code == 200
        wait_until("the place to be free again", lambda: in_flight(stack) == 1)
    streams[1].hang_up()
    wait_until("all places to be free", lambda: in_flight(stack) == 0)


def test_failed_requests_do_not_count_as_concurrent(shared_stack):
    stack = shared_stack(change=two_at_once)
    for status in (400, 500):
        stack.sim.fault(status=status, times=1)
        assert stack.chat().status_code == status
    stack.sim.fault(cut_after_events=2, times=1)
    Stream(stack).finish()
    wait_until("all places to be free", lambda: in_flight(stack) == 0)
    assert stack.chat().status_code == 200


# ------------------------------------------------------- changed at run time


def test_blocked_caller_is_refused_on_all_nodes_at_once(make_stack):
    first = make_stack(change=by_day)
    second = second_node(make_stack, first, by_day)
    for names in ({"consumer": "demo"}, {"app": APP}):
        assert first.chat().status_code == second.chat().status_code == 200
        before = spent(first)
        command(first, "block", **names)
        assert blocked(first, first.chat()) and blocked(second, second.chat())
        assert second.chat(token=second.token(appid=TINY_APP), max_tokens=5).status_code == 200
        assert [line for line in command(second, "show") if line[-1] == "blocked" and line[0] == "demo"]
        wait_until("what ran before to be settled", lambda: not open_records(first))
        assert spent(first) <= before  # a refusal costs nothing
        command(second, "unblock", **names)
    assert first.chat().status_code == second.chat().status_code == 200
    assert not [line for line in command(first, "show") if line[-1] == "blocked"]


def test_one_foundry_agent_is_blocked_and_others_are_not(make_stack):
    def change(config):
        by_day(config)
        config["consumers"]["demo"]["trust_foundry_headers"] = True

    def ask(name):
        return stack.chat(headers={"x-ms-foundry-agent-id": f"{name}:3", "x-ms-foundry-project-id": "proj"})

    stack = make_stack(change=change)
    assert ask("bad").status_code == 200
    name = stack.decision(request_id(ask("bad")))
    command(stack, "block", agent=f"{name['project']}/bad")
    assert blocked(stack, ask("bad"))
    assert ask("good").status_code == 200


def two_asks(config):
    limits(config, asks=day(2))


def test_limit_changed_at_run_time(make_stack):
    first = make_stack(change=two_asks)
    second = second_node(make_stack, first, two_asks)
    assert [first.chat().status_code for _ in range(3)] == [200, 200, 429]
    command(first, "set", limit="asks", amount=4)
    answer = second.chat()
    assert answer.status_code == 200 and rates(answer, "requests")[:2] == ("4", "1")
    assert [second.chat().status_code for _ in range(2)] == [200, 429]
    assert ["demo", "asks:demo", "used 4", "configured 2 requests"] in command(second, "show")
    assert ["demo", "asks", "set 4"] in command(second, "show")

    command(second, "reset", limit="asks", scope="demo")
    assert rates(first.chat(), "requests")[:2] == ("4", "3")
    command(second, "set", limit="asks", amount="configured")
    assert rates(first.chat(), "requests")[:2] == ("2", "0")
    assert first.chat().status_code == 429

    audit = command(first, "audit")
    assert [tuple(line[2:]) for line in (audit[0], audit[2])] == [
        ("set", "demo", "=asks", "", "4"), ("set", "demo", "=asks", "4", "")]
    assert len(audit) == 3 and audit[1][2:5] == ["reset", "demo", "asks:demo"]
    assert re.fullmatch(r"asks:demo=2:\d+:4", audit[1][5])
    for when, who, *_ in audit:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", when)
        assert re.fullmatch(r"\S+@\S+", who)


def test_limits_command_without_redis_says_so(make_stack):
    stack = make_stack(start=False)
    assert "cannot be reached" in command(stack, "show", ok=False)
    stack.config.pop("redis")
    for verb in ("show", "set", "reset", "block", "unblock", "audit"):
        assert "no redis" in command(stack, verb, ok=False)


@pytest.mark.parametrize("verb, words", [
    ("set", {"limit": "nix", "amount": 1}), ("set", {"limit": "asks"}), ("set", {"limit": "asks", "amount": 0}),
    ("set", {"limit": "asks", "amount": "-1"}), ("set", {"limit": "asks", "amount": "nan"}),
    ("set", {"limit": "asks", "amount": "1e99"}), ("set", {"limit": "asks", "amount": "1.5"}),
    ("set", {"limit": "asks", "amount": "5x"}), ("set", {"limit": "asks", "amount": 1, "consumer": "tiny"}),
    ("reset", {}), ("block", {}), ("block", {"consumer": "demo", "app": "x"}), ("block", {"consumer": "nobody"}),
    ("block", {"nix": "demo"}),
], ids=lambda v: v if isinstance(v, str) else " ".join(f"{k}={w}" for k, w in v.items()))
def test_wrong_limits_command_changes_nothing(shared_stack, verb, words):
    stack = shared_stack(change=two_asks)
    assert len(command(stack, verb, ok=False, **words)) > 20
    assert command(stack, "audit") == [] and stack.redis.keys("*") == ["gw:ticket-key"]
