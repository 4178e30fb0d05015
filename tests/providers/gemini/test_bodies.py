"""What is sent to the Gemini API, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cascade.errors import PromptError
from cascade.providers._gemini_body import refusal, request_body
from cascade.types import Message, Request, ToolCall

MODEL = "gemini-3-flash"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
SIGNATURE = "skip_thought_signature_validator"


def body(prompt: Any = "hi", *, tools: Any = (), **params: Any) -> dict[str, Any]:
    request = Request(Request.of(prompt).messages, tuple(tools), params)
    content, stream = request_body(MODEL, request)
    assert stream is (params.get("stream") is not False)
    sent: dict[str, Any] = json.loads(content)
    return sent


def contents(*messages: dict[str, Any]) -> Any:
    return body(list(messages))["contents"]


def test_the_least_that_is_sent() -> None:
    assert body() == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    ("params", "config"),
    [
        ({"temperature": 0, "top_p": 0.5, "top_k": 3}, {"temperature": 0, "topP": 0.5, "topK": 3}),
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"max_completion_tokens": 5}, {"maxOutputTokens": 5}),
        ({"stop": "x"}, {"stopSequences": ["x"]}),
        ({"stop": ["x", "y"]}, {"stopSequences": ["x", "y"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"presence_penalty": 1, "frequency_penalty": 2},
         {"presencePenalty": 1, "frequencyPenalty": 2}),
        ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        ({"response_format": FORMAT},
         {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}),
        ({"reasoning_effort": "low"}, {"thinkingConfig": {"thinkingLevel": "LOW"}}),
        ({"thinkingConfig": {"thinkingBudget": 0}}, {"thinkingConfig": {"thinkingBudget": 0}}),
        ({"mediaResolution": "MEDIA_RESOLUTION_LOW"}, {"mediaResolution": "MEDIA_RESOLUTION_LOW"}),
    ],
)  # fmt: skip
def test_generation_config(params: dict[str, Any], config: dict[str, Any]) -> None:
    assert refusal(MODEL, params) is None
    assert body(**params) == {**body(), "generationConfig": config}


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({"stream": False, "n": 1, "response_format": {"type": "text"}, "user": None}, {}),
        ({"cachedContent": "cachedContents/1"}, {"cachedContent": "cachedContents/1"}),
        ({"safetySettings": []}, {"safetySettings": []}),
        ({"tool_choice": "auto"}, {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}),
        ({"tool_choice": "none"}, {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
        ({"tool_choice": "required"}, {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}},
         {"toolConfig": {"functionCallingConfig": {"mode": "ANY",
                                                   "allowedFunctionNames": ["f"]}}}),
    ],
)  # fmt: skip
def test_other_parameters(params: dict[str, Any], sent: dict[str, Any]) -> None:
    assert refusal(MODEL, params) is None
    assert body(**params) == {**body(), **sent}


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"logit_bias": {}}, "parameter 'logit_bias': the Gemini API has none"),
        ({"user": "eve"}, "parameter 'user': the Gemini API has none"),
        ({"parallel_tool_calls": False}, "'parallel_tool_calls': the Gemini API leaves that"),
        ({"stream_options": {}}, "parameter 'stream_options': usage is always reported"),
        ({"n": 2}, "parameter 'n': a call takes one answer"),
        ({"candidateCount": 1}, "parameter 'candidateCount': a call takes one answer"),
        ({"stream": 1}, "parameter 'stream': write true or false"),
        ({"logprobs": 5}, "parameter 'logprobs': write true or false"),
        ({"messages": []}, "parameter 'messages': it is set by the tier's 'prompt'"),
        ({"contents": []}, "parameter 'contents': it is set by the tier's 'prompt'"),
        ({"systemInstruction": {}}, "'systemInstruction': it is set by the tier's 'prompt'"),
        ({"model": "x"}, "parameter 'model': it is set by the tier's 'model'"),
        ({"generationConfig": {}}, "write each of its members as a parameter of its own"),
        ({"maxOutputTokens": 1}, "'maxOutputTokens': write 'max_tokens', as for every provider"),
        ({"topP": 1}, "parameter 'topP': write 'top_p', as for every provider"),
        ({"topK": 1}, "parameter 'topK': write 'top_k', as for every provider"),
        ({"stopSequences": []}, "parameter 'stopSequences': write 'stop', as for every provider"),
        ({"responseSchema": {}}, "'responseSchema': write 'response_format', as for every"),
        ({"responseJsonSchema": {}}, "'responseJsonSchema': write 'response_format'"),
        ({"responseMimeType": ""}, "'responseMimeType': write 'response_format'"),
        ({"responseLogprobs": True}, "'responseLogprobs': write 'logprobs'"),
        ({"toolConfig": {}}, "parameter 'toolConfig': write 'tool_choice'"),
        ({"stop": 7}, "parameter 'stop': write text, or a list of texts"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "parameter 'max_tokens': it says the same"),
        ({"response_format": {"type": "xml"}}, "parameter 'response_format': write {type = 'text'"),
        ({"tool_choice": "any"}, "parameter 'tool_choice': write 'auto', 'none', 'required'"),
        ({"reasoning_effort": "none"}, "'reasoning_effort': the Gemini API has minimal, low"),
        ({"reasoning_effort": "low", "thinkingConfig": {}}, "it says the same as 'thinkingConfig'"),
        ({"temprature": 1}, "parameter 'temprature': did you mean 'temperature'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused(params: dict[str, Any], reason: str) -> None:
    said = refusal(MODEL, params)
    assert said is not None
    assert reason in said
    with pytest.raises(PromptError) as caught:
        body(**params)
    assert caught.value.message == said


def test_effort_is_refused_for_models_that_count_tokens() -> None:
    said = refusal("gemini-2.5-flash", {"reasoning_effort": "low"})
    assert said is not None
    assert "write thinkingConfig = {thinkingBudget = …}" in said


def test_tools() -> None:
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "add", "description": "Adds.",
                                          "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "now"}},
    ]  # fmt: skip
    empty = {"type": "object", "properties": {}}
    declared = [
        {"name": "add", "description": "Adds.", "parametersJsonSchema": SCHEMA},
        {"name": "now", "parametersJsonSchema": empty},
    ]
    assert body(tools=tools)["tools"] == [{"functionDeclarations": declared}]
    request = Request((Message("user", "hi"),), (), {"tools": tools})
    sent = json.loads(request_body(MODEL, request)[0])
    assert sent["tools"] == [{"functionDeclarations": declared}]


@pytest.mark.parametrize(
    "tool",
    [{"type": "custom"}, {}, {"type": "function", "function": {"name": "f", "strict": True}}],
)
def test_tools_that_cannot_be_sent(tool: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match="tool"):
        body(tools=[tool])


def test_system_messages() -> None:
    sent = body(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "hi"},
        ]
    )
    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    with pytest.raises(PromptError, match="a system message after the first turn"):
        contents({"role": "user", "content": "hi"}, {"role": "system", "content": "no"})


def test_calls_and_their_results() -> None:
    messages = (
        Message("user", "1+2, 3+4?"),
        Message("assistant", "Adding.", tool_calls=(ToolCall("add", '{"a": 1}', "t1"),
                                                    ToolCall("now", "", "t2"))),
        Message("tool", "late", tool_call_id="t2"),
        Message("tool", "3", tool_call_id="t1"),
        Message("user", "go on"),
    )  # fmt: skip
    _, asked, answered = json.loads(request_body(MODEL, Request(messages))[0])["contents"]
    assert asked == {
        "role": "model",
        "parts": [
            {"text": "Adding."},
            {"functionCall": {"name": "add", "args": {"a": 1}, "id": "t1"},
             "thoughtSignature": SIGNATURE},
            {"functionCall": {"name": "now", "args": {}, "id": "t2"},
             "thoughtSignature": SIGNATURE},
        ],
    }  # fmt: skip
    late, three = {"output": "late"}, {"output": "3"}
    assert answered == {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "now", "response": late, "id": "t2"}},
            {"functionResponse": {"name": "add", "response": three, "id": "t1"}},
            {"text": "go on"},
        ],
    }


def test_calls_without_an_id_are_answered_in_their_order() -> None:
    messages = (
        Message("assistant", tool_calls=(ToolCall("f", "{}"), ToolCall("g", "{}"))),
        Message("tool", "one"),
        Message("tool", "two"),
    )
    asked, answered = json.loads(request_body(MODEL, Request(messages))[0])["contents"]
    assert [part["functionCall"] for part in asked["parts"]] == [
        {"name": "f", "args": {}},
        {"name": "g", "args": {}},
    ]
    assert [part["functionResponse"]["name"] for part in answered["parts"]] == ["f", "g"]
    later = (messages[0], Message("user", "wait"), *messages[1:])
    _, answered = json.loads(request_body(MODEL, Request(later))[0])["contents"]
    names = [part.get("functionResponse", {}).get("name") for part in answered["parts"]]
    assert names == [None, "f", "g"]


def test_a_result_may_name_its_function_itself() -> None:
    (turn,) = contents({"role": "tool", "name": "f", "content": "x", "tool_call_id": "t9"})
    response = {"name": "f", "response": {"output": "x"}, "id": "t9"}
    assert turn["parts"] == [{"functionResponse": response}]
    with pytest.raises(PromptError, match="answers no call"):
        contents({"role": "tool", "content": "x", "tool_call_id": "t9"})


def test_content_parts() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    ]
    (turn,) = contents({"role": "user", "content": parts})
    assert turn["parts"] == [
        {"text": "look"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {
            "url": "https://x/y.png"}}]}, "fetches none"),
        ({"role": "user", "content": [{"type": "video"}]}, "a content part of type 'video'"),
        ({"role": "user", "content": "hi", "name": "eve"}, "message name 'eve'"),
        ({"role": "tool", "name": "f", "content": [{"type": "image_url", "image_url": {
            "url": "data:image/png;base64,aGk="}}]}, "takes text there"),
        ({"role": "assistant", "tool_calls": [ToolCall("f", "[1]", "1")]}, "no JSON object"),
        ({"role": "user", "content": "half a pair: \ud83d"}, "written as JSON"),
    ],
)  # fmt: skip
def test_messages_that_cannot_be_sent(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        contents(message)
