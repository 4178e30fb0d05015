"""What each tier sends: templates, system prompts, params, content parts, feedback."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Answer, Engine, Message, Policy, PromptError, Request, Tier, ToolCall, Verdict
from cascade.template import Template
from cascade.testing import ScriptedModel

pytestmark = pytest.mark.anyio


async def sent(
    given: Any, /, *, variables: dict[str, str] | None = None, **settings: Any
) -> Request:
    model = ScriptedModel("x")
    async with Engine() as engine:
        await engine.run(Policy("p", [Tier(model, **settings)]), given, variables=variables)
    return model.calls[0].call.request


async def test_text_is_one_user_message() -> None:
    assert await sent("hello") == Request((Message("user", "hello"),))


async def test_a_template_goes_around_the_last_user_message() -> None:
    chat = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "last"},
    ]
    request = await sent(chat, prompt='Answer as {"a": 1}: {{ prompt }}!')
    assert [m.text for m in request.messages] == ["first", "yes?", 'Answer as {"a": 1}: last!']


async def test_a_system_prompt_goes_first() -> None:
    request = await sent("hello", system="Be brief. Tone: {{tone}}.", variables={"tone": "warm"})
    assert [(m.role, m.text) for m in request.messages] == [
        ("system", "Be brief. Tone: warm."),
        ("user", "hello"),
    ]


async def test_content_parts_that_are_not_text_stay() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = [{"type": "text", "text": "what is this"}, image]
    request = await sent([{"role": "user", "content": parts}], prompt="Look: {{prompt}}")
    assert request.messages[0].content == (
        {"type": "text", "text": "Look: what is this"},
        image,
    )


async def test_params_and_tools_pass_through() -> None:
    tools = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
    given = Request((Message("user", "hi"),), tools, {"temperature": 1, "seed": 3})
    request = await sent(given, params={"temperature": 0, "max_tokens": 5})
    assert request.tools == tools
    assert request.params == {"temperature": 0, "seed": 3, "max_tokens": 5}


async def test_a_verifier_may_prepare_the_request_and_sees_the_callers() -> None:
    seen: list[Request] = []

    class Prepared:
        def prepare(self, request: Request) -> Request:
            return request.with_params(logprobs=True)

        def verify(self, request: Request, answer: Answer, /) -> Verdict:
            seen.append(request)
            return Verdict.accept()

    request = await sent("hello", prompt="<{{prompt}}>", verify=Prepared())
    assert request.params == {"logprobs": True}
    assert request.text == "<hello>"
    assert seen == [Request.of("hello")]


async def test_variables_must_fit() -> None:
    with pytest.raises(PromptError, match="variable 'schema' is missing") as caught:
        await sent("hi", system="{{schema}}")
    assert caught.value.tier == "scripted"
    with pytest.raises(PromptError, match="'shema' is used by no tier: did you mean 'schema'"):
        await sent("hi", system="{{schema}}", variables={"schema": "x", "shema": "y"})


async def test_a_value_is_not_searched_for_names() -> None:
    request = await sent("{{tone}}", system="{{tone}}", variables={"tone": "{{prompt}}"})
    assert [m.text for m in request.messages] == ["{{prompt}}", "{{tone}}"]


@given(st.text(), st.text(), st.text(alphabet="ab {}", max_size=10))
def test_rendering_puts_values_between_the_texts(before: str, after: str, value: str) -> None:
    def literal(text: str) -> str:
        return text.replace("{", "(").replace("}", ")")

    before, after = literal(before), literal(after)
    template = Template(f"{before}{{{{ x }}}}{after}")
    assert template.names == {"x"}
    assert template.render({"x": value}) == before + value + after


def test_messages_in_the_chat_shape() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = Message.of({"role": "assistant", "content": None, "tool_calls": [call]})
    assert message.tool_calls == (ToolCall("f", "{}", "c1"),)
    assert message.text == ""
    with pytest.raises(PromptError, match="did you mean 'content'"):
        Message.of({"role": "user", "contnt": "x"})
    with pytest.raises(PromptError, match="tool call needs 'function'"):
        Message.of({"role": "assistant", "tool_calls": [{"id": "c1"}]})
