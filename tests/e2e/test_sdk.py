"""The SDKs of OpenAI and Anthropic, unchanged: only the base URL and the credential are those of the
gateway."""
import asyncio
import hashlib
import json
import time

import anthropic
import azure.identity
import openai
import pytest

from harness import APP, GATEWAY_KEY, HELLO, TENANT, TINY_APP, Sim, Stack, free_port, header_values, request_id
from refusals import data_requests

# The SDK warns of models that will be switched off.
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")

SAID = "The quick brown fox jumps over the lazy dog while the gateway counts every single token"
API_VERSION = "2024-10-21"
NARROW_KEY = "test-gateway-key-narrow"
TOOLS = [{"type": "function", "function": {"name": "get_stock", "parameters": {"type": "object"}}}]


class TlsStack(Stack):
    """The simulator also answers over TLS, because azure-identity refuses http."""

    def __init__(self, folder, simulators=None, **options):
        super().__init__(folder, **options)  # with a simulator of its own
        self.ports["sim_tls"] = free_port()

    def start_sim(self):
        self.sim = Sim(self.folder, self.ports["sim"], tls=[
            "--tls", self.pem.with_suffix(".crt"), self.pem.with_suffix(".key"),
            "--tls-listen", f"127.0.0.1:{self.ports['sim_tls']}"])
        self.children["sim"] = self.sim.child


def configure(config):
    config["tenants"]["contoso"]["callers"] = [APP]
    config["keys"]["entries"]["narrow-key"] = {"sha256": hashlib.sha256(NARROW_KEY.encode()).hexdigest()}
    config["consumers"]["narrow"] = {"match": {"keys": ["narrow-key"]}}
    config["rules"] = [{"name": "narrow", "effect": "allow", "consumers": ["narrow"], "models": ["gpt-4o-mini"]},
                       {"name": "narrow-only", "effect": "deny", "consumers": ["narrow"]}, *config["rules"]]
    config["objects"] = {"resource": "west"}
    config["models"]["gpt-realtime"] = {"deployments": [{"resource": "east", "name": "gpt-realtime", "surface": "v1"}]}
    config["models"]["whisper"] = {"deployments": [{"resource": "east", "name": "whisper", "surface": "azure"}]}


@pytest.fixture
def gw(shared_stack, monkeypatch):
    """The SDKs trust the CA as they would trust that of a company."""
    stack = shared_stack(change=configure, kind=TlsStack)
    monkeypatch.setenv("SSL_CERT_FILE", str(stack.ca))
    monkeypatch.setenv("NO_PROXY", "*")
    return stack


def origin(gw):
    return f"https://localhost:{gw.ports['https']}"


# Each of these functions makes a client; `of` has the classes, synchronous or not.

def v1_key(gw, of, **more):
    return of.openai(base_url=f"{origin(gw)}/openai/v1", api_key=GATEWAY_KEY, **more)


def v1_token(gw, of, **more):
    return of.openai(base_url=f"{origin(gw)}/openai/v1", api_key=gw.token(), **more)


def v1_provider(gw, of, **more):
    """The SDK calls a function for the token of every request."""
    async def later():
        return gw.token()

    provider = later if of is Async else gw.token
    return of.openai(base_url=f"{origin(gw)}/openai/v1", api_key=provider, **more)


def azure_key(gw, of, **more):
    return of.azure(azure_endpoint=origin(gw), api_version=API_VERSION, api_key=GATEWAY_KEY, **more)


def azure_token(gw, of, **more):
    return of.azure(azure_endpoint=origin(gw), api_version=API_VERSION, azure_ad_token=gw.token(), **more)


def azure_provider(gw, of, **more):
    return of.azure(azure_endpoint=origin(gw), api_version=API_VERSION, azure_ad_token_provider=gw.token, **more)


def azure_deployment(gw, of, **more):
    """The path always names gpt-4o, whatever model a call names."""
    return of.azure(azure_endpoint=origin(gw), api_version="2025-03-01-preview", azure_deployment="gpt-4o",
                    api_key=GATEWAY_KEY, **more)


class Sync:
    openai, azure = openai.OpenAI, openai.AzureOpenAI
    anthropic, foundry = anthropic.Anthropic, anthropic.AnthropicFoundry


class Async:
    openai, azure = openai.AsyncOpenAI, openai.AsyncAzureOpenAI
    anthropic, foundry = anthropic.AsyncAnthropic, anthropic.AsyncAnthropicFoundry


OPENAI = [v1_key, v1_token, v1_provider, azure_key, azure_token, azure_provider, azure_deployment]
each_openai = pytest.mark.parametrize("make", OPENAI, ids=lambda f: f.__name__)
v1_and_azure = pytest.mark.parametrize("make", [v1_key, azure_token], ids=lambda f: f.__name__)


def charged(gw, raw):
    """Input and output tokens of the usage line of an answer."""
    usage = gw.usage(request_id(raw))
    assert "estimated" not in usage
    return int(usage["input"]), int(usage["output"])


# ------------------------------------------------------------------------ chat


@each_openai
def test_chat(gw, make):
    with make(gw, Sync) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content == SAID and answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == charged(gw, raw)
    (seen,) = data_requests(gw)
    assert seen["deployment"] == "gpt-4o-east"


@each_openai
@pytest.mark.parametrize("include_usage", [True, False], ids=["usage", "no-usage"])
def test_chat_stream(gw, make, include_usage):
    more = {"stream_options": {"include_usage": True}} if include_usage else {}
    with make(gw, Sync) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, stream=True, **more)
        chunks = list(raw.parse())
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID
    assert chunks[-2 if include_usage else -1].choices[0].finish_reason == "stop"
    told = [c.usage for c in chunks if c.usage]
    assert len(told) == include_usage
    assert int(gw.usage(request_id(raw))["output"]) == 16
    if include_usage:
        assert (told[0].prompt_tokens, told[0].completion_tokens) == charged(gw, raw)


@each_openai
def test_tools_round_trip(gw, make):
    with make(gw, Sync) as client:
        def ask(messages, **more):
            return client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS, **more).choices[0]

        first = ask(HELLO, extra_headers={"x-sim-tool": "get_stock"})
        assert first.finish_reason == "tool_calls"
        (call,) = first.message.tool_calls
        assert call.function.name == "get_stock" and json.loads(call.function.arguments) == {}
        second = ask([*HELLO, first.message, {"role": "tool", "tool_call_id": call.id, "content": "12"}])
        assert second.finish_reason == "stop" and second.message.content == SAID


@v1_and_azure
def test_streamed_tool_call(gw, make):
    with make(gw, Sync) as client, client.chat.completions.stream(
            model="gpt-4o", messages=HELLO, tools=TOOLS, extra_headers={"x-sim-tool": "get_stock"}) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls[0].function.name == "get_stock"


@v1_and_azure
def test_async_chat_stream(gw, make):
    async def run():
        async with make(gw, Async) as client:
            stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            return [chunk async for chunk in stream]

    chunks = asyncio.run(run())
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID


# ---------------------------------------------------- embeddings and responses


@v1_and_azure
def test_embeddings(gw, make):
    """By default the SDK asks for base64 and decodes it."""
    with make(gw, Sync) as client:
        def ask(**more):
            return client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], **more)

        decoded, plain = ask(), ask(encoding_format="float")
        assert [len(d.embedding) for d in decoded.data] == [len(d.embedding) for d in plain.data] == [8, 8]
        assert all(isinstance(x, float) for d in decoded.data for x in d.embedding)
        raw = ask(encoding_format="base64")
        assert isinstance(raw.data[0].embedding, str)
        assert decoded.usage.prompt_tokens > 0


@v1_and_azure
def test_responses(gw, make):
    with make(gw, Sync) as client:
        raw = client.responses.with_raw_response.create(model="gpt-4o-mini", input="Hello")
        first = raw.parse()
        assert first.output_text == SAID and first.status == "completed"
        assert (first.usage.input_tokens, first.usage.output_tokens) == charged(gw, raw)
        again = client.responses.create(model="gpt-4o-mini", input="More", previous_response_id=first.id)
        assert again.id != first.id
        assert client.responses.retrieve(first.id).id == first.id
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(first.id)


@v1_and_azure
def test_responses_stream(gw, make):
    with make(gw, Sync) as client, client.responses.stream(model="gpt-4o-mini", input="Hello") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert final.output_text == SAID and final.usage.output_tokens == 16
    with make(gw, Sync) as client:
        assert client.responses.retrieve(final.id).id == final.id


@v1_and_azure
def test_responses_of_another_caller(gw, make):
    with make(gw, Sync) as mine:
        name = mine.responses.create(model="gpt-4o-mini", input="Hello").id
    other = openai.OpenAI(base_url=f"{origin(gw)}/openai/v1", api_key=gw.token(appid=TINY_APP), max_retries=0)
    with other, pytest.raises(openai.NotFoundError):
        other.responses.retrieve(name)


# ----------------------------------------------- files, audio, models, realtime


@v1_and_azure
def test_files_and_batches(gw, make):
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": "gpt-4o-mini", "messages": HELLO}}
    content = (json.dumps(line) + "\n").encode()
    with make(gw, Sync) as client:
        file = client.files.create(file=("batch.jsonl", content), purpose="batch")
        assert client.files.retrieve(file.id).id == file.id
        # the simulator keeps the whole form
        assert content in client.files.content(file.id).read()
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions",
                                      completion_window="24h")
        assert client.batches.retrieve(batch.id).id == batch.id
        client.batches.cancel(batch.id)
        assert client.files.delete(file.id).deleted


def test_transcription(gw):
    """With AzureOpenAI the deployment must be in the path, because the body is a form."""
    sound = ("a.wav", b"RIFF....WAVE")
    with v1_key(gw, Sync) as client:
        assert client.audio.transcriptions.create(model="whisper", file=sound).text == "Hello there."
    with azure_key(gw, Sync, azure_deployment="whisper") as client:
        assert client.audio.transcriptions.create(model="whisper", file=sound).text == "Hello there."


@v1_and_azure
def test_models(gw, make):
    with make(gw, Sync) as client:
        names = {m.id for m in client.models.list()}
        assert {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"} <= names and "forbidden-model" not in names
        assert client.models.retrieve("gpt-4o").id == "gpt-4o"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("no-such-model")
    assert data_requests(gw) == []


def test_models_of_a_narrow_key(gw):
    with openai.OpenAI(base_url=f"{origin(gw)}/openai/v1", api_key=NARROW_KEY) as client:
        assert [m.id for m in client.models.list()] == ["gpt-4o-mini"]


@pytest.mark.parametrize("make", [v1_key, v1_token, azure_key, azure_token], ids=lambda f: f.__name__)
def test_realtime(gw, make):
    """The simulator sends every event back."""
    with make(gw, Sync) as client, client.realtime.connect(model="gpt-realtime") as connection:
        assert connection.recv().type == "session.created"
        for text in ("Hello", "x" * 3000):
            connection.send({"type": "conversation.item.create", "item": {
                "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}})
            assert json.loads(connection.recv_bytes())["item"]["content"][0]["text"] == text
    (seen,) = data_requests(gw)
    assert seen["path"] == "/openai/v1/realtime" and seen["query"] == "model=gpt-realtime"


# ------------------------------------------------------------------------ errors


@v1_and_azure
def test_error_classes(gw, make):
    with make(gw, Sync, max_retries=0) as client:
        def ask(model="gpt-4o", **more):
            return client.chat.completions.create(model=model, messages=HELLO, **more)

        with pytest.raises(openai.PermissionDeniedError) as e:
            ask("forbidden-model")
        assert e.value.code == "not_allowed" and "forbidden-model" in e.value.message
        assert gw.decision(e.value.request_id)["verdict"] == "deny"
        with pytest.raises(openai.NotFoundError) as e:
            ask("no-such-model")
        assert e.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as e:
            ask(extra_body={"stream": 5})
        assert e.value.code == "invalid_json"
        assert data_requests(gw) == []
        for status, error in ((400, openai.BadRequestError), (409, openai.ConflictError),
                              (422, openai.UnprocessableEntityError), (500, openai.InternalServerError)):
            gw.sim.fault(status=status, times=1)
            with pytest.raises(error) as e:
                ask()
            assert e.value.status_code == status


def test_authentication_error(gw):
    for client in (openai.OpenAI(base_url=f"{origin(gw)}/openai/v1", api_key="wrong", max_retries=0),
                   openai.OpenAI(base_url=f"{origin(gw)}/openai/v1", api_key=gw.sim.token({"exp": 1}), max_retries=0),
                   openai.AzureOpenAI(azure_endpoint=origin(gw), api_version=API_VERSION, api_key="wrong",
                                      max_retries=0)):
        with client, pytest.raises(openai.AuthenticationError) as e:
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert e.value.response.headers["www-authenticate"].startswith("Bearer")


def limited(config):
    configure(config)
    config["consumers"]["developers"]["limits"] = ["one-a-second"]
    config["limits"]["one-a-second"] = {"per": "consumer", "unit": "requests", "amount": 60, "window": "minute"}


def test_retry_after_is_respected(make_stack, certificate, monkeypatch):
    """The bucket refills by one request per second: a client that waits as it was told is served at
    its second try."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    gw = make_stack(change=limited)
    with v1_key(gw, Sync, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as e:
            for _ in range(1000):
                client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    wait = e.value.response.headers["retry-after"]
    assert e.value.code == "rate_limit_exceeded" and 1 <= int(wait) <= 2
    slept = []
    monkeypatch.setattr(time, "sleep", lambda s, sleep=time.sleep: (slept.append(s), sleep(s)))
    with v1_key(gw, Sync, max_retries=1) as client:
        while len(slept) == 0:
            raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    # the client did not come back too early, so one retry was enough
    assert 1 <= slept[0] and raw.retries_taken == 1 and raw.status_code == 200


# ------------------------------------------------------------------- Anthropic


def claude_key(gw, of, **more):
    return of.anthropic(base_url=f"{origin(gw)}/anthropic", api_key=GATEWAY_KEY, **more)


def claude_token(gw, of, **more):
    return of.anthropic(base_url=f"{origin(gw)}/anthropic", auth_token=gw.token(), **more)


def claude_plain(gw, of, **more):
    return of.anthropic(base_url=origin(gw), api_key=GATEWAY_KEY, **more)


def foundry_key(gw, of, **more):
    """Sends the key twice: x-api-key and api-key."""
    return of.foundry(base_url=f"{origin(gw)}/anthropic", api_key=GATEWAY_KEY, **more)


def foundry_provider(gw, of, **more):
    return of.foundry(base_url=f"{origin(gw)}/anthropic", azure_ad_token_provider=gw.token, **more)


CLAUDES = [claude_key, claude_token, claude_plain, foundry_key, foundry_provider]
each_claude = pytest.mark.parametrize("make", CLAUDES, ids=lambda f: f.__name__)
ASK = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": HELLO}
CLAUDE_TOOLS = [{"name": "get_stock", "input_schema": {"type": "object"}}]


@each_claude
def test_messages(gw, make):
    with make(gw, Sync) as client:
        raw = client.messages.with_raw_response.create(**ASK)
    answer = raw.parse()
    assert answer.content[0].text == SAID and answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == charged(gw, raw)


@each_claude
def test_messages_stream(gw, make):
    with make(gw, Sync) as client, client.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == SAID
        final = stream.get_final_message()
        usage = gw.usage(request_id(stream.response))
    assert final.usage.output_tokens == int(usage["output"]) == 16


@each_claude
def test_messages_tool_use(gw, make):
    with make(gw, Sync) as client:
        more = {"tools": CLAUDE_TOOLS, "extra_headers": {"x-sim-tool": "get_stock"}}
        with client.messages.stream(**ASK, **more) as stream:
            streamed = stream.get_final_message()
        first = client.messages.create(**ASK, **more)
        for message in (first, streamed):
            assert message.stop_reason == "tool_use"
            (use,) = message.content
            assert (use.name, use.input) == ("get_stock", {})
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "12"}]}
        messages = [*HELLO, {"role": "assistant", "content": first.content}, result]
        second = client.messages.create(**{**ASK, "messages": messages}, tools=CLAUDE_TOOLS)
    assert second.stop_reason == "end_turn"


@each_claude
def test_count_tokens(gw, make):
    with make(gw, Sync) as client:
        assert client.messages.count_tokens(model=ASK["model"], messages=HELLO).input_tokens > 0


@each_claude
def test_beta_messages(gw, make):
    """The anthropic-beta header reaches the resource."""
    with make(gw, Sync) as client:
        assert client.beta.messages.create(**ASK, betas=["context-1m-2025-08-07"]).content[0].text == SAID
    (seen,) = data_requests(gw)
    assert header_values(seen, "anthropic-beta") == ["context-1m-2025-08-07"]


@pytest.mark.parametrize("make", [claude_token, foundry_key], ids=lambda f: f.__name__)
def test_async_messages_stream(gw, make):
    async def run():
        async with make(gw, Async) as client, client.messages.stream(**ASK) as stream:
            return "".join([t async for t in stream.text_stream])

    assert asyncio.run(run()) == SAID


@pytest.mark.parametrize("make", [claude_key, foundry_key], ids=lambda f: f.__name__)
def test_anthropic_error_classes(gw, make):
    with make(gw, Sync, max_retries=0) as client:
        def ask(**more):
            return client.messages.create(**{**ASK, **more})

        with pytest.raises(anthropic.PermissionDeniedError) as e:
            ask(model="forbidden-model")
        assert e.value.body["error"]["type"] == "permission_error"
        with pytest.raises(anthropic.NotFoundError) as e:
            ask(model="no-such-model")
        assert e.value.body["type"] == "error"
        with pytest.raises(anthropic.BadRequestError):
            ask(extra_body={"stream": 5})
        assert data_requests(gw) == []
        gw.sim.fault(status=429, retry_after=7, times=1)
        with pytest.raises(anthropic.RateLimitError) as e:
            ask()
        assert e.value.response.headers["retry-after"] == "7"
    wrong = anthropic.Anthropic(base_url=f"{origin(gw)}/anthropic", api_key="wrong", max_retries=0)
    with wrong, pytest.raises(anthropic.AuthenticationError) as e:
        wrong.messages.create(**ASK)
    assert e.value.body["error"]["type"] == "authentication_error"


# -------------------------------------------------------------- azure-identity


def test_azure_identity(gw):
    """A token for the gateway, by client secret, in three SDKs. Instance discovery is off, as in any
    private cloud: it would ask login.microsoft.com."""
    credential = azure.identity.ClientSecretCredential(
        TENANT, APP, "sim-client-secret", authority=f"https://localhost:{gw.ports['sim_tls']}",
        disable_instance_discovery=True, connection_verify=str(gw.ca))
    provider = azure.identity.get_bearer_token_provider(credential, "api://foundry-gateway/.default")
    with openai.OpenAI(base_url=f"{origin(gw)}/openai/v1", api_key=provider) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    assert gw.decision(request_id(raw))["app"] == APP
    with openai.AzureOpenAI(azure_endpoint=origin(gw), api_version=API_VERSION,
                            azure_ad_token_provider=provider) as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content == SAID
    with anthropic.AnthropicFoundry(base_url=f"{origin(gw)}/anthropic", azure_ad_token_provider=provider) as client:
        assert client.messages.create(**ASK).content[0].text == SAID
