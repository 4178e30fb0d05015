"""What is sent for a request, what is refused, and where it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import ConfigError, MissingAPIKeyError, PromptError
from cascade.providers._ollama_body import request_body
from cascade.providers._ollama_host import url_of
from cascade.providers.ollama import OllamaProvider
from cascade.targets import Providers
from cascade.types import Request
from cascade.verifiers import JsonSchema

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


class Context:
    """Nothing is sent here."""

    transport: Any = None
    http: Any = None


def body(
    prompt: Any = "hi", tools: tuple[dict[str, Any], ...] = (), **params: Any
) -> dict[str, Any]:
    request = Request.of(prompt).with_params(**params)
    written, stream = request_body("m", Request(request.messages, tools, request.params))
    value: dict[str, Any] = json.loads(written)
    assert value["stream"] is stream
    return value


def sent(**params: Any) -> dict[str, Any]:
    """What parameters add to the body."""
    plain = body()
    return {k: v for k, v in body(**params).items() if plain.get(k, ...) != v}


def messages(*given: dict[str, Any]) -> Any:
    return body(list(given))["messages"]


def test_a_plain_prompt() -> None:
    assert body() == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "truncate": False,
        "shift": False,
    }
    assert body(stream=False)["stream"] is False


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"temperature": 0, "seed": 7, "top_p": 0.5, "top_k": 3, "min_p": 0.1},
         {"options": {"temperature": 0, "seed": 7, "top_p": 0.5, "top_k": 3, "min_p": 0.1}}),
        ({"presence_penalty": 1, "frequency_penalty": 2},
         {"options": {"presence_penalty": 1, "frequency_penalty": 2}}),
        ({"max_tokens": 5}, {"options": {"num_predict": 5}}),
        ({"max_completion_tokens": 5}, {"options": {"num_predict": 5}}),
        ({"stop": "\n"}, {"options": {"stop": ["\n"]}}),
        ({"stop": ["a", "b"]}, {"options": {"stop": ["a", "b"]}}),
        ({"num_ctx": 8192}, {"options": {"num_ctx": 8192}}),
        ({"reasoning_effort": "none"}, {"think": False}),
        ({"reasoning_effort": "high"}, {"think": "high"}),
        ({"think": True}, {"think": True}),
        ({"keep_alive": "10m"}, {"keep_alive": "10m"}),
        ({"truncate": True, "shift": True}, {"truncate": True, "shift": True}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
         {"format": SCHEMA}),
        ({"tool_choice": "auto", "n": 1, "seed": None, "logit_bias": None}, {}),
    ],
)  # fmt: skip
def test_parameters(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sent(**params) == expected


def test_the_schema_of_a_verifier() -> None:
    assert sent(response_format=JsonSchema(SCHEMA).response_format()) == {"format": SCHEMA}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_tools() -> None:
    assert body(tools=(TOOL,))["tools"] == [TOOL]
    assert sent(tools=[TOOL]) == {"tools": [TOOL]}
    with pytest.raises(PromptError, match="type 'web_search'"):
        body(tools=({"type": "web_search"},))
    with pytest.raises(PromptError, match="the tool 'f': Ollama has no 'strict'"):
        body(tools=({"type": "function", "function": {"name": "f", "strict": True}},))


def test_a_conversation_with_tools() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    unnamed = {"type": "function", "function": {"name": "g", "arguments": ""}}
    assert messages(
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": "In English."},
        {"role": "user", "content": "Grüße 😀"},
        {"role": "assistant", "content": None, "tool_calls": [call, unnamed]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
        {"role": "tool", "content": "5", "name": "g"},
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "In English."},
        {"role": "user", "content": "Grüße 😀"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}},
                {"function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "4", "tool_name": "f", "tool_call_id": "c1"},
        {"role": "tool", "content": "5", "tool_name": "g"},
    ]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_images() -> None:
    parts = [
        {"type": "text", "text": "What"},
        image("data:image/png;base64,iVBORw0="),
        {"type": "text", "text": " is it?"},
    ]
    assert messages({"role": "user", "content": parts}) == [
        {"role": "user", "content": "What is it?", "images": ["iVBORw0="]}
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "user", "content": "hi", "name": "eve"}, "message name 'eve'"),
        ({"role": "user", "content": [image("https://example.com/a.png")]}, "Ollama fetches none"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format":
          "wav"}}]}, "type 'audio/wav': Ollama takes text and images"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
         "the tool 'f': its arguments"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
         "the tool 'f': its arguments"),
        ({"role": "user", "content": "half a pair: \ud83d"}, "written as JSON"),
    ],
)  # fmt: skip
def test_messages_that_do_not_fit(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        messages(message)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "'n': a call takes one answer"),
    ({"logit_bias": {"1": 1}}, "'logit_bias': Ollama has none"),
    ({"parallel_tool_calls": False}, "'parallel_tool_calls': Ollama leaves that to the model"),
    ({"tool_choice": "required"}, "'tool_choice': Ollama leaves it to the model"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "'tool_choice'"),
    ({"reasoning_effort": "minimal"}, "'reasoning_effort': Ollama has none, low, medium, high"),
    ({"reasoning_effort": ["low"]}, "'reasoning_effort': Ollama has none, low, medium, high"),
    ({"reasoning_effort": "low", "think": True}, "keep one of them"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "keep one of them"),
    ({"num_predict": 5}, "'num_predict': write 'max_tokens'"),
    ({"format": "json"}, "'format': write 'response_format'"),
    ({"options": {"num_ctx": 8192}}, "'options': write each option as a parameter of its own"),
    ({"response_format": {"type": "json_schema"}}, "'response_format': write"),
    ({"response_format": "json"}, "'response_format': write"),
    ({"stop": [7]}, "'stop': write text, or a list of texts"),
    ({"stream": "yes"}, "'stream': write true or false"),
    ({"logprobs": 3}, "'logprobs': write true or false"),
    ({"numctx": 8192}, "'numctx': Ollama would pass over it; did you mean 'num_ctx'?"),
    ({"stream_options": {}}, "'stream_options': Ollama would pass over it"),
    ({"model": "other"}, "'model': it is set by the tier's 'model'"),
    ({"messages": []}, "'messages': it is set by the tier's 'prompt'"),
]


@pytest.mark.parametrize(("params", "reason"), REFUSED)
def test_what_it_cannot_do_is_refused(params: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OllamaProvider(Context()).check("m", params)
    assert reason in caught.value.message
    assert "model 'm'" in caught.value.message
    with pytest.raises(PromptError) as raised:
        body(**params)
    assert reason in raised.value.message


def test_what_it_can_do_is_not_refused() -> None:
    OllamaProvider(Context()).check("m", {"temperature": 0, "max_tokens": 5, "logit_bias": None})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:8080", "http://box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("box/", "http://box:11434/"),
        ("box/path", "http://box:11434/path"),
        ("box:8080/path", "http://box:8080/path"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("http://box", "http://box"),
        ("http://box:8080", "http://box:8080"),
        ("https://box/path", "https://box/path"),
        ("https://0.0.0.0", "https://127.0.0.1"),
        (' "box:8080" ', "http://box:8080"),
        ("'http://box'", "http://box"),
    ],
)
def test_addresses_are_read_as_ollama_reads_them(
    given: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert url_of(given) == expected
    url = expected.rstrip("/")
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert OllamaProvider(Context()).endpoint.url == url
    monkeypatch.delenv("OLLAMA_HOST")
    assert OllamaProvider(Context(), base_url=given).endpoint.url == url


@pytest.mark.parametrize("bad", ["box:port", "box:0", "ftp://box", "user:pw@box"])
def test_what_is_no_address(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", bad)
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        OllamaProvider(Context())


@given(given=st.text(max_size=30))
def test_any_text_is_an_address_or_a_typed_error(given: str) -> None:
    try:
        provider = OllamaProvider(Context(), base_url=given)
    except ConfigError:
        return
    assert provider.endpoint.url.startswith(("http://", "https://"))


@pytest.mark.parametrize("end", ["/api", "/api/chat", "/v1", "/v1/"])
def test_paths_that_do_not_belong_there(end: str) -> None:
    with pytest.raises(ConfigError, match="leave that off"):
        OllamaProvider(Context(), base_url=f"http://box:11434{end}")


def test_a_key_is_sent_only_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**options: Any) -> str | None:
        provider = OllamaProvider(Context(), **options)
        provider.check("m", {})
        return provider.endpoint.key

    assert key() is None
    assert key(base_url="http://127.0.0.1:11434") is None
    assert key(base_url="box") is None
    monkeypatch.setenv("OLLAMA_API_KEY", "secret")
    assert key(base_url="box") is None
    assert key(base_url="box", api_key="env:OLLAMA_API_KEY") == "secret"
    monkeypatch.setenv("OLLAMA_HOST", "https://ollama.com")
    assert key() == "secret"
    assert OllamaProvider(Context()).auth("secret") == {"Authorization": "Bearer secret"}
    with pytest.raises(MissingAPIKeyError, match="OTHER"):
        key(api_key="env:OTHER")


@pytest.mark.parametrize(
    ("base_url", "free"),
    [(None, True), ("box", True), ("notollama.com", True), ("https://ollama.com", False),
     ("https://eu.ollama.com", False)],
)  # fmt: skip
def test_calls_are_free_except_at_ollama_com(base_url: str | None, free: bool) -> None:
    assert OllamaProvider(Context(), base_url=base_url).free is free


def test_it_is_found_by_its_name() -> None:
    target = Providers(Context()).target("ollama:llama3.2:1b")
    assert (target.name, target.model, target.free) == ("ollama:llama3.2:1b", "llama3.2:1b", True)
