"""The examples of the README and its pages run unchanged, on the configuration of `make up`."""
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from harness import GATEWAY_KEY, PATIENCE, ROOT, agent_command, request_id, sse_events, told_usage
from refusals import data_requests

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("haproxy-conf/*.md")), ROOT / "spoa/README.md",
         *sorted(ROOT.glob("spoa/*/README.md"))]
README = "\n".join(p.read_text() for p in PAGES)
SAID = "The quick brown fox jumps over the lazy dog while the gateway counts every single token"


def blocks(language):
    """Fenced blocks, also those within a list."""
    found = re.findall(rf"(?ms)^( *)```{language}\n(.*?)^ *```$", README)
    return [re.sub(f"(?m)^{indent}", "", text) for indent, text in found]


def commands(word):
    """Shell commands that begin with a word, on one line."""
    joined = "\n".join(blocks("sh")).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith(word)]


def fixture(config):
    """The configuration of `make up`, on the ports of this stack."""
    sim = config["resources"]["east"]["url"]
    lines = (ROOT / "tests/fixtures/gateway.json").read_text().splitlines()
    text = "\n".join(l for l in lines if not l.strip().startswith("//")).replace("http://127.0.0.1:9443", sim)
    own = {k: config[k] for k in ("listen", "redis")}
    config.clear()
    config.update(json.loads(text), **own)


@pytest.fixture
def up(shared_stack):
    return shared_stack(change=fixture)


PYTHON = [b for b in blocks("python") if "localhost:8443" in b]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_have_a_target(page):
    for target, _, anchor in (t.partition("#") for t in re.findall(r"\]\(([^)\s]+)\)", page.read_text())):
        to = (page.parent / target) if target else page
        assert to.exists(), target
        titles = re.findall(r"(?m)^#+ (.*)$", to.read_text()) if anchor else []
        assert not anchor or anchor in [t.lower().replace(" ", "-") for t in titles], (target, anchor)


def test_readme_has_an_example_of_each_sdk():
    assert [n for n in ("OpenAI(", "AzureOpenAI(", "AnthropicFoundry(") if any(" " + n in b for b in PYTHON)] == [
        "OpenAI(", "AzureOpenAI(", "AnthropicFoundry("]
    assert len(PYTHON) == len(blocks("python"))


@pytest.mark.parametrize("code", PYTHON, ids=lambda c: re.search(r"import (\w+)\n\n", c).group(1))
def test_sdk_example(up, code):
    code = code.replace("localhost:8443", f"localhost:{up.ports['https']}")
    env = {**os.environ, "SSL_CERT_FILE": str(up.ca), "TOKEN": up.token(), "NO_PROXY": "*"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=PATIENCE * 2)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == SAID
    assert len(data_requests(up)) == 1


def curl():
    text = "\n".join(blocks("sh"))
    return re.findall(r"(?m)^(curl (?:\\\n|'[^']*'|[^'\n])*)", text)


def json_body(command):
    words = shlex.split(command)
    head = [words[i + 1] for i, w in enumerate(words) if w == "-H"]
    return dict(h.split(": ", 1) for h in head), words[words.index("-d") + 1]


def test_request_that_foundry_will_send(up):
    (command,) = [c for c in curl() if "foundry-agent-id" in c]
    headers, body = json_body(command)
    headers["api-key"] = headers["api-key"].replace("$KEY", GATEWAY_KEY)
    path = re.search(r"https://[^/]*(/\S*)", command).group(1)
    answer = up.post(path, token="", content=body.replace("gpt-4o", "gpt-4o-mini"), headers=headers)
    assert answer.status_code == 200 and sse_events(answer.text)[-1] == "[DONE]" and told_usage(answer)
    assert up.decision(request_id(answer))["output"] == "16384"


def test_connection_commands():
    found = commands("foundry-spoa connection")
    assert len(found) == 2
    for command in found:
        words = shlex.split(command.split(">")[0])[1:]
        words[1] = ROOT / "tests/fixtures/gateway.json"
        ran = agent_command(*words)
        assert ran.returncode == 0, ran.stderr
        assert "target: 'https://ai.example.com/v1'" in ran.stdout
        kind = "ApiManagement" if "ApiManagement" in command else "ModelGateway"
        assert f"category: '{kind}'" in ran.stdout


def test_consumer_of_a_connection_is_a_good_configuration(make_stack):
    """The members that the page shows, put into a configuration."""
    (text,) = [b for b in blocks("jsonc") if "trust_foundry_headers" in b]
    shown = json.loads("{" + re.sub(r"//.*", "", text).replace("…", "0" * 64) + "}")

    def change(config):
        fixture(config)
        for section, members in shown.items():
            (config[section]["entries"] if section == "keys" else config[section]).update(
                members.get("entries", members))

    stack = make_stack(start=False, change=change)
    ran = agent_command("check", stack.write_config())
    assert ran.returncode == 0, ran.stderr
