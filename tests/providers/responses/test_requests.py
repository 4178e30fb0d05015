"""What is sent for a request, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascade.errors import ConfigError, MissingAPIKeyError, PromptError
from cascade.prices import published_price
from cascade.providers._responses_body import request_body
from cascade.providers.responses import ResponsesProvider
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


def items(*messages: dict[str, Any]) -> Any:
    return body(list(messages))["input"]


def test_a_plain_prompt() -> None:
    assert body() == {
        "model": "m",
        "input": [{"role": "user", "content": "hi"}],
        "stream": True,
        "store": False,
    }
    assert body(stream=False)["stream"] is False


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_output_tokens": 5}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"reasoning_effort": "low", "reasoning": {"summary": "auto"}},
         {"reasoning": {"summary": "auto", "effort": "low"}}),
        ({"verbosity": "low", "response_format": {"type": "json_object"}},
         {"text": {"format": {"type": "json_object"}, "verbosity": "low"}}),
        ({"response_format": {"type": "json_schema", "json_schema":
          {"name": "n", "schema": SCHEMA, "strict": True}}},
         {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA,
                              "strict": True}}}),
        ({"logprobs": True, "top_logprobs": 3},
         {"include": ["message.output_text.logprobs"], "top_logprobs": 3}),
        ({"logprobs": True, "include": ["file_search_call.results"]},
         {"include": ["file_search_call.results", "message.output_text.logprobs"]}),
        ({"logprobs": False}, {}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}},
         {"tool_choice": {"type": "function", "name": "f"}}),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools":
          [{"type": "function", "function": {"name": "f"}}]}}},
         {"tool_choice": {"type": "allowed_tools", "mode": "auto",
                          "tools": [{"type": "function", "name": "f"}]}}),
        ({"store": True, "service_tier": "flex", "metadata": {"a": "b"}},
         {"store": True, "service_tier": "flex", "metadata": {"a": "b"}}),
        ({"n": 1, "seed": None, "stop": None, "store": None}, {}),
    ],
)  # fmt: skip
def test_parameters(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sent(**params) == expected


def test_the_schema_of_a_verifier() -> None:
    response_format = JsonSchema(SCHEMA).response_format()
    form = body(response_format=response_format)["text"]["format"]
    assert form == {"type": "json_schema", **response_format["json_schema"]}


FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ({"type": "function", "function": FUNCTION},
         {"type": "function", **FUNCTION, "strict": False}),
        ({"type": "function", "function": {**FUNCTION, "strict": True}},
         {"type": "function", **FUNCTION, "strict": True}),
        ({"type": "function", **FUNCTION}, {"type": "function", **FUNCTION, "strict": False}),
        ({"type": "web_search"}, {"type": "web_search"}),
    ],
)  # fmt: skip
def test_tools(tool: dict[str, Any], expected: dict[str, Any]) -> None:
    assert body(tools=(tool,))["tools"] == [expected]
    assert sent(tools=[tool]) == {"tools": [expected]}


def test_a_conversation_with_tools() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    written = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'}
    assert items(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "In English."},
        {"role": "user", "content": "Grüße 😀"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": None, "tool_call_id": "c1"},
        {"role": "assistant", "content": None},
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "In English."},
        {"role": "user", "content": "Grüße 😀"},
        {"role": "assistant", "content": "Let me see."},
        written,
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
        written,
        {"type": "function_call_output", "call_id": "c1", "output": ""},
        {"role": "assistant", "content": ""},
    ]


def test_calls_without_ids_are_answered_in_their_order() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = items(
        {"role": "assistant", "tool_calls": [call, {**call, "id": "c2"}, call]},
        {"role": "tool", "content": "2", "tool_call_id": "c2"},
        {"role": "tool", "content": "0"},
        {"role": "tool", "content": "1"},
    )
    assert [item["call_id"] for item in found] == [
        "call_0",
        "c2",
        "call_2",
        "c2",
        "call_0",
        "call_2",
    ]


URL = "data:image/png;base64,iVBORw0="


@pytest.mark.parametrize(
    ("role", "part", "expected"),
    [
        ("user", {"type": "text", "text": "hi"}, {"type": "input_text", "text": "hi"}),
        ("assistant", {"type": "text", "text": "hi"}, {"type": "output_text", "text": "hi"}),
        ("assistant", {"type": "refusal", "refusal": "no"}, {"type": "refusal", "refusal": "no"}),
        ("user", {"type": "image_url", "image_url": {"url": URL}},
         {"type": "input_image", "image_url": URL, "detail": "auto"}),
        ("user", {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
         {"type": "input_image", "image_url": URL, "detail": "low"}),
        ("user", {"type": "file", "file": {"file_id": "file-1"}},
         {"type": "input_file", "file_id": "file-1"}),
        ("user", {"type": "input_text", "text": "hi"}, {"type": "input_text", "text": "hi"}),
    ],
)  # fmt: skip
def test_content_parts(role: str, part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert items({"role": role, "content": [part]}) == [{"role": role, "content": [expected]}]


def test_parts_of_a_tools_result() -> None:
    parts = [{"type": "text", "text": "4"}]
    (item,) = items({"role": "tool", "tool_call_id": "c", "content": parts})
    assert item["output"] == [{"type": "input_text", "text": "4"}]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "tool", "content": "4"}, "tool_call_id"),
        ({"role": "user", "content": "hi", "name": "eve"}, "message name 'eve'"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
         "type 'input_audio'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, "'image_url'"),
        ({"role": "user", "content": [{}]}, "type None"),
        ({"role": "user", "content": "half a pair: \ud83d"}, "written as JSON"),
    ],
)  # fmt: skip
def test_messages_that_do_not_fit(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        items(message)


def test_a_custom_tool_is_refused() -> None:
    with pytest.raises(PromptError, match="type 'custom'"):
        body(tools=({"type": "custom", "custom": {"name": "f"}},))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"include": ["reasoning.encrypted_content"]}, "what a model thought is not kept"),
    ({"stop": ["\n"]}, "'stop': the Responses API has none; the provider 'openai' does"),
    ({"seed": 1}, "'seed': the Responses API has none"),
    ({"n": 2}, "'n': a call takes one answer"),
    ({"frequency_penalty": 1}, "'frequency_penalty': the Responses API has none"),
    ({"presence_penalty": 1}, "'presence_penalty': the Responses API has none"),
    ({"logit_bias": {"1": 1}}, "'logit_bias': the Responses API has none"),
    ({"prediction": {}}, "'prediction'"),
    ({"modalities": ["audio"]}, "'modalities'"),
    ({"audio": {}}, "'audio'"),
    ({"functions": []}, "'functions': write 'tools'"),
    ({"function_call": "auto"}, "'function_call': write 'tool_choice'"),
    ({"max_output_tokens": 5}, "'max_output_tokens': write 'max_tokens'"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "keep one of them"),
    ({"reasoning_effort": "low", "reasoning": {"effort": "low"}}, "'reasoning.effort' says it too"),
    ({"response_format": {"type": "text"}, "text": {"format": {}}}, "'text.format' says it too"),
    ({"text": "plain", "verbosity": "low"}, "'text': write a table"),
    ({"response_format": {"type": "json_schema", "schema": {}}}, "'response_format': write"),
    ({"response_format": "json"}, "'response_format': write"),
    ({"background": True}, "'background': a call that was cancelled would go on"),
    ({"conversation": "conv_1"}, "'conversation'"),
    ({"stream": "yes"}, "'stream': write true or false"),
    ({"logprobs": 3}, "'logprobs': write true or false"),
    ({"model": "other"}, "'model': it is set by the tier's 'model'"),
    ({"messages": []}, "'messages': it is set by the tier's 'prompt'"),
    ({"input": "x"}, "'input': it is set by the tier's 'prompt'"),
]


@pytest.mark.parametrize(("params", "reason"), REFUSED)
def test_what_it_cannot_do_is_refused(params: dict[str, Any], reason: str) -> None:
    provider = ResponsesProvider(Context(), base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError) as caught:
        provider.check("m", params)
    assert reason in caught.value.message
    assert "model 'm'" in caught.value.message
    with pytest.raises(PromptError) as raised:
        body(**params)
    assert reason in raised.value.message


def test_what_it_can_do_is_not_refused() -> None:
    provider = ResponsesProvider(Context(), base_url="http://127.0.0.1:1/v1")
    provider.check("m", {"temperature": 0, "max_tokens": 5, "stop": None, "new_in_2030": 1})


def test_the_key_and_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingAPIKeyError, match="OPENAI_API_KEY"):
        ResponsesProvider(Context()).check("m", {})
    with pytest.raises(ConfigError, match="leave that off"):
        ResponsesProvider(Context(), base_url="http://box/v1/responses")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://box/v1")
    provider = ResponsesProvider(Context())
    provider.check("m", {})
    assert repr(provider) == "ResponsesProvider(base_url='https://box/v1')"
    assert provider.auth("sk-abc") == {"Authorization": "Bearer sk-abc"}


def test_it_is_found_by_its_name_and_costs_what_the_model_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc")
    target = Providers(Context()).target("openai-responses:gpt-5-mini")
    assert isinstance(target.provider, ResponsesProvider)
    assert not target.free
    assert target.price is not None
    assert target.price == published_price("openai", "gpt-5-mini")
