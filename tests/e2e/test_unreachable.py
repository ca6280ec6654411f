"""A resource that cannot be reached is used last: the agent learns it from the usage record of
HAProxy's 503."""
from harness import free_port, request_id


def test_sibling_of_an_unreachable_deployment_is_used(make_stack):
    def change(config):
        config["resources"]["dead"] = {"url": f"http://127.0.0.1:{free_port()}", "credential": "mi"}
        config["models"]["gpt-4o"]["deployments"] = [
            {"resource": "dead", "name": "gpt-4o-dead", "priority": 1},
            {"resource": "east", "name": "gpt-4o-east", "priority": 2},
        ]

    stack = make_stack(change=change)
    answer = stack.chat()
    assert answer.status_code == 503
    assert stack.usage(request_id(answer))["termination"].startswith("S")
    for _ in range(3):
        answer = stack.chat()
        assert answer.status_code == 200, answer.text
        assert stack.decision(request_id(answer))["deployment"] == "gpt-4o-east"
    # the request that reached no resource costs nothing
    assert stack.metric("foundry_usage_records_total", result="settled") == 4
