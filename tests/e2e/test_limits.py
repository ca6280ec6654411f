"""Limits as callers meet them: what is told, what is refused, what is paid."""
import re
import subprocess
import time

from harness import AGENT, request_id, wait_until
from steps import (Stream, by_day, error_code, fast_streams, open_records, retry_after, slow_streams, spent, used,
                   wait_spent)

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$")


def seconds(text):
    """A duration as OpenAI writes it."""
    h, m, s, ms = DURATION.fullmatch(text).groups("0")
    return int(h) * 3600 + int(m) * 60 + float(s) + int(ms) / 1000


def limits(config, consumer="demo", **named):
    """These limits, and no others, for a consumer."""
    config["limits"].update(named)
    config["consumers"][consumer]["limits"] = list(named)
    if not any("demo-tokens" in c["limits"] for c in config["consumers"].values()):
        del config["limits"]["demo-tokens"]


def rates(answer, unit):
    """limit, remaining, reset of one unit."""
    return tuple(answer.headers.get(f"x-ratelimit-{what}-{unit}") for what in ("limit", "remaining", "reset"))


def day(amount, unit="requests", per="consumer", **more):
    return {"per": per, "unit": unit, "amount": amount, "window": "day", **more}


def test_what_is_left_is_told_in_openais_names(make_stack):
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
    assert (limit, int(remaining)) == ("5000", 5000 - int(decision["prompt"]) - int(decision["output"]))
    assert 0 < seconds(reset) <= 86400

    assert [rates(stack.chat(), "requests")[1] for _ in range(2)] == ["1", "0"]
    refused = stack.chat()
    assert refused.status_code == 429
    assert rates(refused, "requests")[:2] == ("3", "0")
    assert rates(refused, "tokens")[0] == "5000"
    assert abs(seconds(rates(refused, "requests")[2]) - retry_after(refused)) <= 1


def test_the_limits_of_the_resource_are_nobodys_business(make_stack):
    """It sends x-ratelimit-* about a deployment that all callers share."""
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


def test_retrying_after_retry_after_succeeds(make_stack):
    """The bucket of the minute refills by one a second."""
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


def test_more_than_a_limit_ever_allows_is_no_matter_of_time(make_stack):
    stack = make_stack(change=lambda c: by_day(c, amount=1000))
    answer = stack.chat(max_tokens=5000)
    assert answer.status_code == 400
    assert error_code(answer) == "request_exceeds_limit"
    assert "demo-tokens" in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers
    assert spent(stack) == 0


def test_a_debt_is_paid_by_the_next_requests(make_stack):
    """Used is more than reserved: nothing passes until the window ends, and
    what is written down is what was used."""
    def change(config):
        by_day(config, amount=300)
        config["models"]["gpt-4o"]["default_output_tokens"] = 10

    stack = make_stack(change=change)
    stack.sim.post("/control/defaults", tokens=400)
    first = stack.chat()
    assert first.status_code == 200
    total = used(stack, first)
    assert total > 400
    wait_spent(stack, total)
    second = stack.chat()
    assert second.status_code == 429 and error_code(second) == "rate_limit_exceeded"
    assert rates(second, "tokens")[:2] == ("300", "0")
    assert spent(stack) == total


def test_app_and_team_both_count(make_stack):
    """Two apps of one team: each has its own limit, and the team's ends
    first for both."""
    def change(config):
        config["limits"].update({"app": day(3, per="app"), "team": day(4, per="team")})
        for name in ("demo", "tiny"):
            config["consumers"][name].update(team="research", limits=["app", "team"])
        del config["limits"]["tiny-tokens"]

    stack = make_stack(change=change)
    tiny = stack.token(appid="33333333-3333-3333-3333-333333333333")
    assert [stack.chat().status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = stack.chat()
    assert stack.decision(request_id(refused))["limit"] == "app"
    assert stack.chat(token=tiny).status_code == 200
    refused = stack.chat(token=tiny)
    assert refused.status_code == 429
    assert stack.decision(request_id(refused))["limit"] == "team"
    state = stack.limit_state("research")
    assert {name: value.split(":")[2] for name, value in state.items()} == {
        "app:22222222-2222-2222-2222-222222222222": "3",
        "app:33333333-3333-3333-3333-333333333333": "1",
        "team": "4"}


def test_a_warning_before_the_refusal(make_stack):
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


def test_two_streams_at_once_and_no_third(make_stack):
    stack = make_stack(change=two_at_once)
    slow_streams(stack, tokens=100000, event_delay_ms=20)
    streams = [Stream(stack).wait_begun() for _ in range(2)]
    for stream in (False, True):
        refused = stack.chat(stream=stream)
        assert refused.status_code == 429 and error_code(refused) == "rate_limit_exceeded"
        assert retry_after(refused) == 1
        assert stack.decision(request_id(refused))["limit"] == "two"
        assert rates(refused, "requests") == (None, None, None)
    assert in_flight(stack) == 2

    streams[0].leave.set()  # the client hangs up
    streams[0].finish()
    wait_until("the place to be free", lambda: in_flight(stack) == 1)
    fast_streams(stack)
    for _ in range(5):
        assert stack.chat().status_code == 200
        wait_until("the place to be free again", lambda: in_flight(stack) == 1)
    streams[1].leave.set()
    streams[1].finish()
    wait_until("all places to be free", lambda: in_flight(stack) == 0)


def test_places_come_back_from_whatever_fails(make_stack):
    stack = make_stack(change=two_at_once)
    for status in (400, 500):
        stack.sim.fault(status=status, times=1)
        assert stack.chat().status_code == status
    stack.sim.fault(cut_after_events=2, times=1)
    Stream(stack).finish()
    wait_until("all places to be free", lambda: in_flight(stack) == 0)
    assert stack.chat().status_code == 200


# ------------------------------------------------------- changed at run time


def command(stack, verb, ok=True, **options):
    """foundry-spoa limits VERB FILE --NAME VALUE ..: the fields of each line."""
    words = [w for name, value in options.items() for w in (f"--{name}", str(value))]
    done = subprocess.run([AGENT, "limits", verb, stack.write_config(), *words], capture_output=True, text=True,
                          timeout=30)
    assert (done.returncode == 0) == ok, (done.stdout, done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()] if ok else done.stderr


def second_node(make_stack, first, change):
    """Another HAProxy and agent, with the Redis of the first."""
    def shared_redis(config):
        config["redis"]["url"] = f"redis://127.0.0.1:{first.ports['redis']}/0"
        change(config)

    return make_stack(change=shared_redis, redis_server=False)


def blocked(stack, answer):
    assert (answer.status_code, error_code(answer)) == (403, "caller_blocked"), answer.text
    assert "retry-after" not in answer.headers
    assert stack.decision(request_id(answer))["code"] == "caller_blocked"
    return True


def test_a_blocked_caller_is_blocked_on_all_nodes_at_once(make_stack):
    first = make_stack(change=by_day)
    second = second_node(make_stack, first, by_day)
    tiny = {"appid": "33333333-3333-3333-3333-333333333333"}
    for names in ({"consumer": "demo"}, {"app": "22222222-2222-2222-2222-222222222222"}):
        assert first.chat().status_code == second.chat().status_code == 200
        before = spent(first)
        command(first, "block", **names)
        assert blocked(first, first.chat()) and blocked(second, second.chat())
        assert second.chat(token=second.token(**tiny), max_tokens=5).status_code == 200
        assert [line for line in command(second, "show") if line[-1] == "blocked" and line[0] == "demo"]
        wait_until("what ran before to be settled", lambda: not open_records(first))
        assert spent(first) <= before  # a refusal costs nothing
        command(second, "unblock", **names)
    assert first.chat().status_code == second.chat().status_code == 200
    assert not [line for line in command(first, "show") if line[-1] == "blocked"]


def test_one_agent_of_foundry_is_blocked_and_the_others_are_not(make_stack):
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


def test_a_limit_changed_at_run_time(make_stack):
    first = make_stack(change=lambda c: limits(c, asks=day(2)))
    second = second_node(make_stack, first, lambda c: limits(c, asks=day(2)))
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


def test_commands_that_cannot_be_done_say_why(make_stack):
    stack = make_stack(start=False)
    assert "cannot be reached" in command(stack, "show", ok=False)
    stack.config.pop("redis")
    for verb in ("show", "set", "reset", "block", "unblock", "audit"):
        assert "no redis" in command(stack, verb, ok=False)


def test_orders_that_make_no_sense_change_nothing(make_stack):
    stack = make_stack(change=lambda c: limits(c, asks=day(2)))
    for verb, words in (("set", {"limit": "nix", "amount": 1}), ("set", {"limit": "asks"}),
                        ("set", {"limit": "asks", "amount": 0}), ("set", {"limit": "asks", "amount": "-1"}),
                        ("set", {"limit": "asks", "amount": "nan"}), ("set", {"limit": "asks", "amount": "1e99"}),
                        ("set", {"limit": "asks", "amount": "1.5"}), ("set", {"limit": "asks", "amount": "5x"}),
                        ("set", {"limit": "asks", "amount": 1, "consumer": "tiny"}), ("reset", {}), ("block", {}),
                        ("block", {"consumer": "demo", "app": "x"}), ("block", {"consumer": "nobody"}),
                        ("block", {"nix": "demo"})):
        assert len(command(stack, verb, ok=False, **words)) > 20, (verb, words)
    assert command(stack, "audit") == [] and stack.redis.keys("*") == []
