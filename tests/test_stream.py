"""What a caller is told and given while a call runs, on a virtual clock: when, exactly."""

from __future__ import annotations

import gc
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from cascade import (
    Answer,
    APIConnectionError,
    Call,
    CascadeExhausted,
    ConfigError,
    DeadlineExceededError,
    Engine,
    Finished,
    Policy,
    PromptError,
    Request,
    StreamEvent,
    TextReleased,
    TextRetracted,
    Tier,
    TierRejected,
    TierStarted,
    Verdict,
    cascade_stream,
)
from cascade.live import LiveCall
from cascade.stream import CascadeStream
from cascade.testing import NoJitter, Scripted, ScriptedModel

pytestmark = pytest.mark.anyio

JSON = '{"a": "' + "x" * 91 + '"}'  # 100 characters
HOPELESS = "Sure! " + "x" * 94


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_clock


def good(answer: Answer) -> Verdict:
    """Accepts what begins with "good"."""
    return Verdict.accept() if answer.text.startswith("good") else Verdict.reject("bad")


class Braces:
    """Accepts what begins and ends with a brace; its prefix check sees the first."""

    def __init__(self, *, text: str | None = None) -> None:
        self.text = text

    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        if answer.text.startswith("{") and answer.text.endswith("}"):
            return Verdict.accept(text=self.text)
        return Verdict.reject("no braces", repairable=True)

    def prefix(self, text: str) -> Verdict | None:
        return None if text.startswith("{") else Verdict.reject("no brace")


class Drips:
    """Gives its pieces a second apart, then returns another text, raises, or waits forever."""

    def __init__(self, *pieces: str, end: str | Exception | None = None, name: str = "b") -> None:
        self.name = name
        self.calls = 0
        self._pieces = pieces
        self._end = end

    async def complete(self, call: Call, /) -> Answer:
        """Drip."""
        self.calls += 1
        for piece in self._pieces:
            await anyio.sleep(1)
            call.on_delta(piece)
        await anyio.sleep(1)
        if isinstance(self._end, Exception):
            raise self._end
        return Answer("".join(self._pieces) if self._end is None else self._end)


def says(text: str, *, after: float = 0.0, name: str = "a", **settings: Any) -> Tier:
    return Tier(ScriptedModel(Scripted(text=text, delay=after), name=name), **settings)


def types(text: str, name: str = "a", **settings: Any) -> Tier:
    """A tier whose model types a character a second, the first after one."""
    script = Scripted(text=text, delay=1.0, chunks=len(text), chunk_delay=1.0)
    return Tier(ScriptedModel(script, name=name), **{"timeout": None, **settings})


def policy(*tiers: Tier, **settings: Any) -> Policy:
    return Policy("p", tiers, **settings)


async def told(asked: Policy, **settings: Any) -> list[tuple[float, StreamEvent | str]]:
    """Each event with its time; the text of the result stands for `Finished`."""
    seen: list[tuple[float, StreamEvent | str]] = []
    begun = anyio.current_time()
    async with Engine(random=NoJitter()) as engine, engine.stream(asked, "hi", **settings) as evs:
        async for event in evs:
            shown = event.result.text if isinstance(event, Finished) else event
            seen.append((anyio.current_time() - begun, shown))
    assert standing(event for _, event in seen) == seen[-1][1]
    return seen


async def read(stream: CascadeStream, seen: list[StreamEvent]) -> None:
    async with stream as events:
        async for event in events:
            seen.append(event)


def standing(events: Any) -> str:
    """The text released since the last retraction."""
    text = ""
    for event in events:
        if isinstance(event, TextReleased):
            text += event.text
        elif isinstance(event, TextRetracted):
            text = ""
    return text


async def texts(asked: Policy, **settings: Any) -> list[tuple[float, str | None]]:
    """When which text was released; None for a retraction."""
    return [
        (at, event.text if isinstance(event, TextReleased) else None)
        for at, event in await told(asked, **settings)
        if isinstance(event, TextReleased | TextRetracted)
    ]


class TestGated:
    """``release="accepted"``."""

    async def test_nothing_is_released_before_it_is_verified(self) -> None:
        async def slow(answer: Answer) -> bool:
            await anyio.sleep(3)
            return answer.text == "good"

        assert await told(policy(types("good", verify=slow))) == [
            (0.0, TierStarted("a")),
            (7.0, TextReleased("a", "good")),
            (7.0, "good"),
        ]

    async def test_a_prefix_check_releases_nothing(self) -> None:
        assert await texts(policy(types(JSON, verify=Braces()))) == [(100.0, JSON)]

    async def test_events_say_when_a_tier_was_rejected(self) -> None:
        asked = policy(says("bad", after=1, verify=good), says("good", after=2, name="b"))
        assert await told(asked) == [
            (0.0, TierStarted("a")),
            (1.0, TierRejected("a", "bad")),
            (1.0, TierStarted("b")),
            (3.0, TextReleased("b", "good")),
            (3.0, "good"),
        ]

    async def test_a_failure_that_is_mended_is_no_rejection(self) -> None:
        flaky = ScriptedModel(Scripted(error=APIConnectionError("gone"), delay=1), "good", name="a")
        events = [event for _, event in await told(policy(Tier(flaky, verify=good)))]
        assert events == [TierStarted("a"), TextReleased("a", "good"), "good"]

    async def test_a_race_tells_only_of_what_was_decided(self) -> None:
        asked = policy(
            says("bad", after=1, verify=good),
            says("good", after=2, verify=good, name="b"),
            says("good", after=3, verify=good, name="c"),
            start_after=0,
        )
        assert await told(asked) == [
            (0.0, TierStarted("a")),
            (0.0, TierStarted("b")),
            (0.0, TierStarted("c")),
            (1.0, TierRejected("a", "bad")),
            (2.0, TextReleased("b", "good")),
            (2.0, "good"),
        ]

    async def test_the_text_is_what_the_verifier_leaves(self) -> None:
        asked = policy(says(JSON, verify=Braces(text="{}")))
        assert await texts(asked) == [(0.0, "{}")]

    async def test_the_best_rejected_answer_is_released_in_the_end(self) -> None:
        asked = policy(says("bad", after=1, verify=good), exhausted="best")
        assert await told(asked) == [
            (0.0, TierStarted("a")),
            (1.0, TierRejected("a", "bad")),
            (1.0, TextReleased("a", "bad")),
            (1.0, "bad"),
        ]

    async def test_a_slow_caller_gets_the_text_in_one_piece(self) -> None:
        async with Engine() as engine, engine.stream(policy(types("abcde")), "hi") as events:
            await anyio.sleep(3.5)
            assert [await anext(events) for _ in range(3)] == [
                TierStarted("a"),
                TextReleased("a", "abc"),
                TextReleased("a", "d"),
            ]


class TestStraightThrough:
    """A last tier without a verifier."""

    async def test_its_text_is_released_as_it_comes(self) -> None:
        asked = policy(says("bad", verify=good), types("abc", "b"))
        assert await texts(asked) == [(1.0, "a"), (2.0, "b"), (3.0, "c")]

    async def test_a_tier_that_is_not_the_last_waits_for_its_whole_answer(self) -> None:
        asked = policy(types("abc"), says("never", name="b"))
        assert await texts(asked) == [(3.0, "abc")]

    async def test_it_waits_while_another_tier_may_win(self) -> None:
        asked = policy(says("bad", after=2.5, verify=good), types("abcd", "b"), start_after=0)
        assert await texts(asked) == [(2.5, "ab"), (3.0, "c"), (4.0, "d")]

    async def test_it_waits_while_a_twin_may_win(self) -> None:
        slow = Scripted(text="never", delay=9.0)
        quick = Scripted(text="abc", chunks=3, chunk_delay=1.0)
        asked = policy(Tier(ScriptedModel(slow, quick, name="a"), replica_after=1.0))
        assert await texts(asked) == [(3.0, "abc")]

    async def test_once_it_has_begun_no_twin_is_started(self) -> None:
        model = Drips("a", "b", "c", name="a")
        asked = policy(Tier(model, replica_after=1.5))
        assert await texts(asked) == [(1.0, "a"), (2.0, "b"), (3.0, "c")]
        assert model.calls == 1

    @pytest.mark.parametrize("settings", [{"retries": 2}, {"fallbacks": [ScriptedModel("good")]}])
    async def test_what_was_released_is_never_replaced(self, settings: dict[str, Any]) -> None:
        model = Drips("a", "b", end=APIConnectionError("cut off"))
        seen: list[StreamEvent] = []
        with pytest.raises(CascadeExhausted, match="cut off") as caught:
            await read(cascade_stream(policy(Tier(model, **settings)), "hi"), seen)
        assert [type(event) for event in seen] == [
            TierStarted,
            TextReleased,
            TextReleased,
            TierRejected,
        ]
        assert len(caught.value.attempts) == model.calls == 1

    async def test_nor_after_a_timeout(self) -> None:
        with pytest.raises(CascadeExhausted) as caught:
            await told(policy(types("abcdef", timeout=2.5)))
        assert [a.latency for a in caught.value.attempts] == [2.5]

    async def test_what_fails_before_its_first_word_is_tried_again(self) -> None:
        blank = Drips(" ", "\n", end=APIConnectionError("cut off"), name="a")
        asked = policy(Tier(blank, retries=0, fallbacks=[ScriptedModel("good")]))
        assert await texts(asked) == [(3.0, "good")]

    async def test_white_space_before_the_first_word_is_not_lost(self) -> None:
        assert await texts(policy(Tier(Drips(" ", "a", name="a")))) == [(2.0, " a")]

    async def test_a_model_that_returns_another_text_has_failed(self) -> None:
        with pytest.raises(CascadeExhausted, match="streamed another text than it returned"):
            await told(policy(Tier(Drips("a", "b", end="c"))))

    async def test_what_it_returns_besides_is_released_too(self) -> None:
        asked = policy(Tier(Drips("a", end="abc")))
        assert await texts(asked) == [(1.0, "a"), (2.0, "bc")]

    async def test_it_waits_where_a_rejected_answer_may_be_the_result(self) -> None:
        rejected = says("bad", verify=good)
        broken = Tier(Drips("a", end=APIConnectionError("cut off")), retries=0)
        assert await texts(policy(rejected, broken, exhausted="best")) == [(2.0, "bad")]
        assert await texts(policy(rejected, types("abc", "b"), exhausted="best")) == [(3.0, "abc")]

    async def test_a_start_further_on_is_the_last_tier_all_the_same(self) -> None:
        asked = policy(says("bad", verify=good), types("ab", "b"))
        assert await texts(asked, start="b") == [(1.0, "a"), (2.0, "b")]


class TestVerifiedPrefix:
    """``release="verified-prefix"``."""

    async def test_text_is_released_as_far_as_the_check_has_looked(self) -> None:
        asked = policy(types(JSON, verify=Braces()))
        assert await texts(asked, release="verified-prefix") == [
            (64.0, JSON[:64]),
            (80.0, JSON[64:80]),
            (100.0, JSON[80:]),
        ]

    async def test_what_is_rejected_after_all_is_retracted(self) -> None:
        asked = policy(types(JSON[:-1], verify=Braces()), says("{}", name="b", verify=Braces()))
        assert (await told(asked, release="verified-prefix"))[2:] == [
            (80.0, TextReleased("a", JSON[64:80])),
            (99.0, TextRetracted("a", "no braces")),
            (99.0, TierRejected("a", "no braces")),
            (99.0, TierStarted("b")),
            (99.0, TextReleased("b", "{}")),
            (99.0, "{}"),
        ]

    async def test_a_repair_begins_anew(self) -> None:
        steps = [Scripted(text=JSON[:-1], chunks=99), Scripted(text=JSON, chunks=100)]
        asked = policy(Tier(ScriptedModel(*steps, name="a"), verify=Braces(), repairs=1))
        events = [event for _, event in await told(asked, release="verified-prefix")]
        assert [event for event in events if not isinstance(event, TextReleased)] == [
            TierStarted("a"),
            TextRetracted("a", "no braces"),
            JSON,
        ]

    async def test_a_hopeless_answer_is_never_released(self) -> None:
        asked = policy(types(HOPELESS, verify=Braces()), says("{}", name="b"))
        assert await told(asked, release="verified-prefix") == [
            (0.0, TierStarted("a")),
            (64.0, TierRejected("a", "no brace")),
            (64.0, TierStarted("b")),
            (64.0, TextReleased("b", "{}")),
            (64.0, "{}"),
        ]

    async def test_it_pauses_while_another_tier_may_win(self) -> None:
        other = says("bad", after=20, name="b", verify=good)  # runs from 70 to 90
        asked = policy(types(JSON, verify=Braces()), other, start_after=70)
        assert await texts(asked, release="verified-prefix") == [
            (64.0, JSON[:64]),
            (90.0, JSON[64:80]),
            (100.0, JSON[80:]),
        ]

    async def test_what_another_tier_has_outrun_is_retracted(self) -> None:
        other = says("good", after=20, name="b", verify=good)
        asked = policy(
            types(JSON, verify=Braces()), other, start_after=70, prefer="fastest"
        )  # fmt: skip
        assert (await told(asked, release="verified-prefix"))[1:] == [
            (64.0, TextReleased("a", JSON[:64])),
            (70.0, TierStarted("b")),
            (90.0, TextRetracted("a", "another tier was accepted first")),
            (90.0, TextReleased("b", "good")),
            (90.0, "good"),
        ]

    async def test_a_text_that_the_verifier_changed_is_released_anew(self) -> None:
        asked = policy(types(JSON, verify=Braces(text="{}")))
        assert (await texts(asked, release="verified-prefix"))[-2:] == [
            (100.0, None),
            (100.0, "{}"),
        ]

    async def test_a_text_that_the_verifier_lengthened_goes_on(self) -> None:
        asked = policy(types(JSON, verify=Braces(text=JSON + "\n")))
        released = await texts(asked, release="verified-prefix")
        assert released[-1] == (100.0, JSON[80:] + "\n")

    async def test_a_check_that_crashes_releases_nothing_more(self) -> None:
        class Broken(Braces):
            def prefix(self, text: str) -> Verdict | None:
                assert len(text) < 80
                return None

        asked = policy(types(JSON, verify=Broken()))
        assert await texts(asked, release="verified-prefix") == [
            (64.0, JSON[:64]),
            (100.0, JSON[64:]),
        ]

    async def test_a_last_tier_without_a_verifier_may_be_retried(self) -> None:
        flaky = Drips("a", end=APIConnectionError("cut off"))
        tiers = says("", verify=Braces()), Tier(flaky, retries=0, fallbacks=[ScriptedModel("good")])
        assert (await told(policy(*tiers), release="verified-prefix"))[-4:] == [
            (1.0, TextReleased("b", "a")),
            (2.0, TextRetracted("b", "APIConnectionError: cut off")),
            (2.0, TextReleased("b", "good")),
            (2.0, "good"),
        ]

    async def test_and_may_return_another_text(self) -> None:
        tiers = says("", verify=Braces()), Tier(Drips("a", end="c"))
        assert await texts(policy(*tiers), release="verified-prefix") == [
            (1.0, "a"),
            (2.0, None),
            (2.0, "c"),
        ]


class TestConfiguration:
    """What would do nothing is refused, and nothing is called."""

    async def test_an_unknown_release_value(self) -> None:
        with pytest.raises(ConfigError, match=r"'verified'.*did you mean 'verified-prefix'"):
            cascade_stream(policy(says("x")), "hi", release="verified")  # type: ignore[arg-type]

    async def test_verified_prefix_where_no_tier_has_a_prefix_check(self) -> None:
        asked = policy(types(JSON, verify=Braces()), says("x", name="b", verify=good))
        with pytest.raises(ConfigError, match=r"^policy 'p': .*use release='accepted'"):
            await told(asked, start="b", release="verified-prefix")

    @pytest.mark.parametrize(
        ("settings", "error"),
        [({"start": "c"}, ConfigError), ({"variables": {"x": "y"}}, PromptError),
         ({"deadlin": 1}, ConfigError)],
    )  # fmt: skip
    async def test_what_cascade_refuses(
        self, settings: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await told(policy(says("x")), **settings)

    async def test_a_stream_is_entered_once(self) -> None:
        stream = cascade_stream(policy(says("x")), "hi")
        async with stream:
            with pytest.raises(RuntimeError, match="cascade_stream again"):
                await stream.__aenter__()


Leave = Callable[[CascadeStream], Awaitable[None]]


async def by_break(stream: CascadeStream) -> None:
    async with stream as events:
        async for event in events:
            if isinstance(event, TextReleased):
                break


async def by_an_error(stream: CascadeStream) -> None:
    async def fail() -> None:
        async with stream as events:
            async for event in events:
                assert not isinstance(event, Finished)
                if isinstance(event, TextReleased):
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def by_cancellation(stream: CascadeStream) -> None:
    with anyio.move_on_after(0.5):
        async with stream as events:
            async for event in events:
                assert not isinstance(event, Finished)


async def by_not_reading(stream: CascadeStream) -> None:
    async with stream:
        await anyio.sleep(0.25)


class TestEndings:
    """However a block ends, its call has ended too; and an error is never lost."""

    @pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
    @pytest.mark.parametrize("leave", [by_break, by_an_error, by_cancellation, by_not_reading])
    @pytest.mark.parametrize("start_after", [None, 0])
    async def test_leaving_early_cancels_everything(
        self, leave: Leave, start_after: int | None
    ) -> None:
        endless = Scripted(text="x" * 1000, chunks=1000, chunk_delay=0.1)
        model = ScriptedModel(endless, name="endless")
        tiers = [says("bad", verify=good, retries=0), Tier(model)]
        asked = policy(*tiers, start_after=start_after)
        await leave(cascade_stream(asked, "hi"))
        assert [call.outcome for call in model.calls] == ["cancelled"]

    async def test_a_call_that_fails_raises_out_of_the_iteration(self) -> None:
        async with cascade_stream(policy(says("bad", verify=good)), "hi") as events:
            assert [type(await anext(events)) for _ in range(2)] == [TierStarted, TierRejected]
            with pytest.raises(CascadeExhausted):
                await anext(events)
            with pytest.raises(StopAsyncIteration):
                await anext(events)

    async def test_it_raises_at_the_end_of_the_block_when_nobody_was_told(self) -> None:
        with pytest.raises(DeadlineExceededError) as caught:
            async with cascade_stream(policy(says("x", after=9), deadline=1.0), "hi"):
                await anyio.sleep(2)
        assert caught.value.policy == "p"

    async def test_the_error_of_the_block_goes_before(self) -> None:
        async def fail() -> None:
            async with cascade_stream(policy(says("bad", verify=good)), "hi"):
                await anyio.sleep(1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()

    async def test_a_block_left_before_the_failure_raises_nothing(self) -> None:
        begun = anyio.current_time()
        async with cascade_stream(policy(says("bad", after=1, verify=good)), "hi"):
            pass
        assert anyio.current_time() == begun

    async def test_a_bug_in_a_verifier_that_ends_the_process_goes_through(self) -> None:
        def interrupted(answer: Answer) -> bool:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await told(policy(says("x", verify=interrupted)))

    async def test_what_had_come_can_be_read_after_the_block(self) -> None:
        async with cascade_stream(policy(says("x")), "hi") as events:
            await anyio.sleep(1)
        assert [type(event) async for event in events] == [TierStarted, TextReleased, Finished]


def test_the_page_on_streaming_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[1] / "docs" / "streaming.md"
    (example,) = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    exec(compile(example, str(page), "exec", dont_inherit=True), {"__name__": "docs"})
    assert "small: the check" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("leave", [False, True])
def test_a_call_leaves_nothing_for_the_garbage_collector(backend: str, leave: bool) -> None:
    class Brief:
        name = "b"

        async def complete(self, call: Call, /) -> Answer:
            call.on_delta("good")
            return Answer("good")

    async def main() -> int:
        asked = policy(says("bad", verify=good), Tier(Brief()))
        async with Engine(random=NoJitter()) as engine:
            for _ in range(5):
                async with engine.stream(asked, "hi") as events:
                    async for _ in events:
                        if leave:
                            break
            return calls()

    def calls() -> int:
        return sum(isinstance(held, LiveCall) for held in gc.get_objects())

    gc.collect()
    before = calls()  # errors that other tests keep hold on to theirs
    gc.disable()
    try:
        left = anyio.run(main, backend=backend)
    finally:
        gc.enable()
    assert left - before <= 1  # the event loop may hold on to its last task
