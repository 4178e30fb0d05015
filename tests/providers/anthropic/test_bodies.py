"""What is sent to the Messages API, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascade.errors import PromptError
from cascade.providers._anthropic_body import DEFAULT_MAX_TOKENS, refusal, request_body
from cascade.types import Message, Request, ToolCall

OLD = "claude-sonnet-4-5"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": SCHEMA,
        "strict": True,
    },
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}


def body(prompt: Any = "hi", *, tools: Any = (), **params: Any) -> dict[str, Any]:
    request = Request(Request.of(prompt).messages, tuple(tools), params)
    content, stream = request_body(OLD, request)
    sent: dict[str, Any] = json.loads(content)
    assert sent["stream"] is stream
    return sent


def turns(*messages: dict[str, Any]) -> Any:
    return body(list(messages))["messages"]


def test_the_least_that_is_sent() -> None:
    assert body() == {
        "model": OLD,
        "max_tokens": DEFAULT_MAX_TOKENS,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"stream": False}, {"stream": False}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"top_k": 3}, {"top_k": 3}),
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop_sequences": ["x", "y"]}),
        ({"user": "eve"}, {"metadata": {"user_id": "eve"}}),
        ({"metadata": {"user_id": "eve"}}, {"metadata": {"user_id": "eve"}}),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": FORMAT},
         {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        ({"reasoning_effort": "low"}, {"output_config": {"effort": "low"}}),
        ({"output_config": {"effort": "max"}, "response_format": FORMAT},
         {"output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}}}),
        ({"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
        ({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
        ({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}},
         {"tool_choice": {"type": "tool", "name": "f"}}),
        ({"parallel_tool_calls": True}, {}),
        ({"parallel_tool_calls": False},
         {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
        ({"n": 1, "logprobs": False, "seed": None, "stop": None}, {}),
    ],
)  # fmt: skip
def test_parameters(params: dict[str, Any], sent: dict[str, Any]) -> None:
    assert refusal(OLD, params) is None
    assert body(**params) == {**body(), **sent}


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"seed": 1}, "parameter 'seed': the Messages API has none"),
        ({"logprobs": True}, "parameter 'logprobs': the Messages API has none"),
        ({"top_logprobs": 3}, "parameter 'top_logprobs': the Messages API has none"),
        ({"presence_penalty": 1}, "parameter 'presence_penalty': the Messages API has none"),
        ({"frequency_penalty": 1}, "parameter 'frequency_penalty': the Messages API has none"),
        ({"logit_bias": {}}, "parameter 'logit_bias': the Messages API has none"),
        ({"n": 2}, "parameter 'n': a call takes one answer"),
        ({"stream": "yes"}, "parameter 'stream': write true or false"),
        ({"parallel_tool_calls": 1}, "parameter 'parallel_tool_calls': write true or false"),
        ({"stream_options": {}}, "parameter 'stream_options': usage is always reported"),
        ({"temperature": 1.5}, "parameter 'temperature': the Messages API takes 0 to 1"),
        ({"system": "x"}, "parameter 'system': it is set by the tier's 'prompt'"),
        ({"messages": []}, "parameter 'messages': it is set by the tier's 'prompt'"),
        ({"model": "x"}, "parameter 'model': it is set by the tier's 'model'"),
        ({"stop_sequences": ["x"]}, "parameter 'stop_sequences': write 'stop', as for every"),
        ({"stop": "\n\n"}, "parameter 'stop': the Messages API takes no text that is only white"),
        ({"stop": ["a", 7]}, "parameter 'stop': write text, or a list of texts"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "parameter 'max_tokens': it says the same"),
        ({"user": "a", "metadata": {}}, "parameter 'user': it says the same as 'metadata'"),
        ({"response_format": {"type": "json_object"}}, "has no 'json_object': give a schema"),
        ({"response_format": {"type": "xml"}}, "parameter 'response_format': write {type = 'text'"),
        ({"response_format": "json"}, "parameter 'response_format': write {type = 'text'"),
        ({"response_format": {"type": "json_schema"}}, "parameter 'response_format': write"),
        ({"response_format": FORMAT, "output_config": {"format": {}}}, "keep one"),
        ({"reasoning_effort": "minimal"}, "parameter 'reasoning_effort': the Messages API has low"),
        ({"reasoning_effort": "low", "output_config": {"effort": "low"}}, "keep one"),
        ({"output_config": "low"}, "parameter 'output_config': write a table"),
        ({"tool_choice": "any"}, "parameter 'tool_choice': write 'auto', 'none', 'required'"),
        ({"tool_choice": {"type": "function"}}, "parameter 'tool_choice': write 'auto'"),
        ({"temprature": 1}, "parameter 'temprature': did you mean 'temperature'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused(params: dict[str, Any], reason: str) -> None:
    said = refusal(OLD, params)
    assert said is not None
    assert reason in said
    with pytest.raises(PromptError) as caught:
        body(**params)
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("claude-3-5-haiku-20241022", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-sonnet-4-6", True),
        ("claude-haiku-4-5", True),
        ("claude-opus-4-6", True),
        ("claude-opus-4-7", False),
        ("claude-opus-4-8-20260528", False),
        ("claude-sonnet-5", False),
        ("claude-haiku-5-5", False),
        ("claude-fable-5", False),
        ("another-vendors-model", True),
    ],
)
@pytest.mark.parametrize("params", [{"temperature": 0}, {"top_p": 0.5}, {"top_k": 4}])
def test_sampling_is_refused_for_models_that_take_none(
    model: str, takes: bool, params: dict[str, Any]
) -> None:
    said = refusal(model, params)
    assert (said is None) is takes
    assert takes or f"parameter {next(iter(params))!r}: Anthropic's models since" in str(said)
    assert refusal(model, {"temperature": 1}) is None


def test_tools() -> None:
    assert body(tools=[TOOL])["tools"] == [
        {
            "name": "add",
            "description": "Adds.",
            "input_schema": SCHEMA,
            "strict": True,
        }
    ]
    bare = {"type": "function", "function": {"name": "now"}}
    empty = {"name": "now", "input_schema": {"type": "object", "properties": {}}}
    assert body(tools=[bare])["tools"] == [empty]
    sent = json.loads(
        request_body(OLD, Request((Message("user", "hi"),), (), {"tools": [bare]}))[0]
    )
    assert sent["tools"] == [empty]


@pytest.mark.parametrize("tool", [{"type": "custom"}, {"type": "function"}, {},
                                  {"type": "function", "function": {}}])  # fmt: skip
def test_tools_that_are_no_functions(tool: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match="a tool"):
        body(tools=[tool])


def test_system_messages() -> None:
    sent = body(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "Now be long."},
        ]
    )
    assert sent["system"] == "Be brief.\n\nBe kind."
    assert [m["role"] for m in sent["messages"]] == ["user", "system"]
    assert sent["messages"][1]["content"] == [{"type": "text", "text": "Now be long."}]


def test_calls_and_their_results() -> None:
    messages = (
        Message("user", "1+2, 3+4?"),
        Message("assistant", "Adding.", tool_calls=(ToolCall("add", '{"a": 1}', "t1"),
                                                    ToolCall("now", "", "t2"))),
        Message("tool", "3", tool_call_id="t1"),
        Message("tool", None, tool_call_id="t2"),
        Message("user", "go on"),
    )  # fmt: skip
    _, asked, answered = json.loads(request_body(OLD, Request(messages))[0])["messages"]
    assert asked == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Adding."},
            {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
            {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
        ],
    }
    assert answered == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1",
             "content": [{"type": "text", "text": "3"}]},
            {"type": "tool_result", "tool_use_id": "t2", "content": []},
            {"type": "text", "text": "go on"},
        ],
    }  # fmt: skip


def test_calls_without_an_id_are_answered_in_their_order() -> None:
    messages = (
        Message("assistant", tool_calls=(ToolCall("f", "{}"), ToolCall("g", "{}"))),
        Message("tool", "one"),
        Message("tool", "two"),
    )
    asked, answered = json.loads(request_body(OLD, Request(messages))[0])["messages"]
    assert [block["id"] for block in asked["content"]] == ["call_0", "call_1"]
    assert [block["tool_use_id"] for block in answered["content"]] == ["call_0", "call_1"]
    later = (messages[0], Message("user", "wait"), *messages[1:])
    _, answered = json.loads(request_body(OLD, Request(later))[0])["messages"]
    assert [block.get("tool_use_id") for block in answered["content"]] == [None, "call_0", "call_1"]
    with pytest.raises(PromptError, match="needs the 'tool_call_id'"):
        turns({"role": "tool", "content": "x"})


def test_a_result_may_answer_a_call_that_is_not_shown() -> None:
    (turn,) = turns({"role": "tool", "content": "x", "tool_call_id": "t9"})
    assert turn["content"][0]["tool_use_id"] == "t9"


def test_content_parts() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "auto"}},
        {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=",
                                  "filename": "a.pdf"}},
    ]  # fmt: skip
    (turn,) = turns({"role": "user", "content": parts})
    source = {"type": "base64", "data": "aGk="}
    assert turn["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {**source, "media_type": "image/png"}},
        {"type": "image", "source": {"type": "url", "url": "https://images.example/a.png"}},
        {"type": "document", "source": {**source, "media_type": "application/pdf"}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "data:image/png,raw"}},
        {"type": "image_url", "image_url": {"url": "ftp://x/y.png"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": "https://x/y.png"},
        {"type": "image_url"},
        {"type": "file", "file": {"file_id": "1"}},
        {"type": "file", "file": {"file_data": "https://x/y.pdf"}},
        {"type": "text", "text": 7},
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "video"},
        {},
    ],
)
def test_parts_that_cannot_be_sent(part: dict[str, Any]) -> None:
    with pytest.raises(PromptError):
        turns({"role": "user", "content": [part]})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "user", "content": "hi", "name": "eve"}, "message name 'eve'"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {
            "url": "https://x/y.png"}}]}, "role 'system'"),
        ({"role": "assistant", "tool_calls": [ToolCall("f", "[1]", "1")]}, "no JSON object"),
        ({"role": "assistant", "tool_calls": [ToolCall("f", "{", "1")]}, "no JSON object"),
        ({"role": "user", "content": "half a pair: \ud83d"}, "written as JSON"),
    ],
)  # fmt: skip
def test_messages_that_cannot_be_sent(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        turns(message)


def test_neighbours_of_one_role_are_one_turn() -> None:
    assert turns({"role": "user", "content": "a"}, {"role": "assistant", "content": ""},
                 {"role": "user", "content": "b"}) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]  # fmt: skip
