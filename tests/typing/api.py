"""What users type, checked by mypy and pyright; never run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never, assert_type

from cascade import (
    Answer,
    Attempt,
    Budget,
    Call,
    CallRecord,
    Cost,
    Engine,
    Entry,
    EventStream,
    Finished,
    Limits,
    Message,
    ModelSpec,
    Observer,
    Policy,
    Price,
    Provider,
    RateLimits,
    Request,
    Result,
    RetryBudget,
    Route,
    Router,
    StreamEvent,
    TextReleased,
    TextRetracted,
    Tier,
    TierRejected,
    TierStarted,
    TokenLogprob,
    ToolCall,
    Usage,
    Verdict,
    Verifier,
    call_model,
    cascade,
    cascade_stream,
    cascade_sync,
    provider,
)
from cascade.policies import (
    BudgetSettings,
    Canary,
    Certified,
    DriftWatch,
    Evaluation,
    Goal,
    GoldenRow,
    GoldenSet,
    Heuristic,
    LatencyLimit,
    Learned,
    LedgerBudget,
    LedgerDriftWatch,
    Llm,
    Metrics,
    OpenTelemetry,
    PolicyFile,
    PolicyReplay,
    Project,
    Recording,
    Score,
    Scorer,
    Shadow,
    Split,
    SqliteLedger,
    Step,
    Table,
    Task,
    TaskBudget,
    Thresholds,
    assign,
    checked_by,
    current_project,
    evaluate,
    find_policy,
    find_policy_file,
    find_project,
    find_router,
    fit_router,
    kept,
    keyed,
    load_latencies,
    load_policy,
    load_policy_file,
    load_project,
    make_router,
    make_scorer,
    policy_names,
    project_settings,
    reload_project,
    router,
    router_names,
    save_latencies,
    scorer,
    scorer_names,
    summarise,
    table_of,
    tune,
)
from cascade.verifiers import JsonSchema, Judge, OneOf, SelfConfidence, Sql, verifier


@dataclass
class Invoice:
    number: str
    total: float


@verifier("typing-short")
def short(answer: Answer) -> bool:
    return len(answer.text) < 100


async def asynchronous(request: Request, answer: Answer) -> Verdict:
    return Verdict.accept(score=1.0) if answer.text else Verdict.reject("empty", repairable=True)


class Own:
    def verify(self, request: Request, answer: Answer, /) -> Verdict:
        return Verdict.abstain("never sure")


async def by_model(request: Request, answer: Answer) -> Verdict:
    reply, cost = await call_model("openai:gpt-5-mini", request.with_params(max_tokens=5))
    assert_type(reply, Answer)
    assert_type(cost, Cost)
    return (
        Verdict("accepted", cost=cost) if "yes" in reply.text else Verdict.reject("no", cost=cost)
    )


@provider("typing-own")
class OwnProvider:
    def __init__(self, context: object) -> None:
        self.context = context

    async def complete(self, call: Call, /) -> Answer | None:
        call.on_delta("x")
        return Answer(
            "x",
            tool_calls=(ToolCall("look_up", "{}"),),
            usage=Usage(input_tokens=3, output_tokens=1),
            logprobs=(TokenLogprob("x", -0.1),),
        )


own_verifier: Verifier = Own()
own_provider: Provider = OwnProvider(None)


def code(prompt: str) -> str | None:
    return None if len(prompt) > 10 else prompt


policy = Policy(
    "invoice",
    tiers=[
        Tier(code),
        Tier("openai:gpt-5-mini", verify=JsonSchema(Invoice), timeout=10, repairs=1),
        Tier(["openai:a", "openai:b"], verify=short & SelfConfidence(), name="both"),
        Tier("openai:gpt-5", verify=asynchronous, price=Price(input=1.25, output=10)),
        Tier(own_provider, verify=own_verifier, fallbacks=["openai:gpt-5"]),
        Tier("openai:e", verify=by_model, samples=3, on_abstain="accept"),
        Tier("openai:c", verify=(OneOf("a", "b") | ~Sql("sqlite")) & Judge("openai:d", rubric="r")),
    ],
    start_after=[None, None, 0.8, 0.8, 0.8, None, 0],
    prefer="cheapest",
    grace=0.5,
)


async def calls(messages: Sequence[Message]) -> None:
    assert_type(await cascade(policy, "prompt"), Result)
    await cascade("extract", [{"role": "user", "content": "hi"}], deadline=3.0, exhausted="best")
    await cascade(Path("p.toml"), messages, start="both", variables={"schema": "…"})
    assert_type(cascade_sync(policy, Request.of("prompt")), Result)
    async with Engine(retry_budget=RetryBudget(fraction=0.1)) as engine:
        assert_type(await engine.run(policy, "prompt", prefer="fastest"), Result)


spec = ModelSpec("openai:a", price=Price(input=1, output=2), limits=Limits(concurrency=4))
Tier(spec, fallbacks=[ModelSpec("anthropic:b", context_window=200_000), "openai:c"])


class Seen:
    def call_finished(self, record: CallRecord, /) -> None:
        assert_type(record.latency, float)


async def by_length(request: Request) -> Route | str | None:
    return "both" if len(request.text) > 400 else None


async def accounting(budget: Budget, router: Router) -> None:
    observer: Observer = Seen()
    async with Engine(budget=budget, observers=[observer]) as engine:
        result = await engine.run(policy, "prompt", effort="fast", max_cost=0.01)
        assert_type(result.route, Route | None)
        entry = Entry("support", by_length, {"extract": "extract", "other": policy})
        assert_type(await engine.run(entry, "prompt", effort="best"), Result)
    Policy("routed", [Tier("openai:a"), Tier("openai:b")], router=router, priority="critical")


async def streams(engine: Engine) -> None:
    async with cascade_stream(policy, "prompt", release="verified-prefix", deadline=3.0) as events:
        assert_type(events, EventStream)
        async for event in events:
            assert_type(event, StreamEvent)
            match event:
                case TextReleased(tier=tier, text=text):
                    assert_type((tier, text), tuple[str, str])
                case TextRetracted(reason=reason) | TierRejected(reason=reason):
                    assert_type(reason, str)
                case TierStarted(tier=tier):
                    assert_type(tier, str)
                case Finished(result=result):
                    assert_type(result, Result)
                case _:
                    assert_never(event)
    async with engine.stream("extract", "prompt", start="both", prefer="fastest") as events:
        assert_type(await anext(events), StreamEvent)


def what_comes_back(result: Result) -> None:
    assert_type(result.text, str)
    assert_type(result.parsed, Any)
    assert_type(result.verdict, Verdict | None)
    assert_type(result.escalations, int)
    assert_type(result.explain(), str)
    assert_type(result.winner, Attempt)
    for attempt in result.attempts:
        assert_type(attempt.cost.low, float | None)
        assert_type(attempt.time_to_first_token, float | None)
    if result.answer.usage is not None:
        assert_type(result.answer.usage.input_tokens, int | None)
    assert_type(result.answer.rate_limits, RateLimits | None)
    for token in result.answer.logprobs or ():
        assert_type(token, TokenLogprob)
    for tool_call in result.answer.tool_calls:
        assert_type(tool_call, ToolCall)


assert_type(find_policy("extract", overrides=["deadline=5"]), Policy)
assert_type(load_policy(Path("p.toml"), overrides=["deadline=5"]), Policy)
assert_type(find_policy_file("extract"), PolicyFile)
assert_type(load_policy_file("p.toml"), PolicyFile)
names: Sequence[str] = policy_names()


project = load_project("cascade.toml", overrides=["models.small.timeout=5"])
assert_type(project, Project)
assert_type(project.tasks["narrative"], Task)
assert_type(project.with_model("narrative", "large", by="alice"), Policy)
assert_type(current_project(), Project | None)
assert_type(reload_project(), Project | None)
assert_type(find_project(Path.cwd()), Path | None)


async def of_a_project() -> None:
    async with Engine(project="cascade.toml") as engine:
        assert_type(await engine.run("narrative", "prompt", effort="fast"), Result)
        engine.reload()
    async with Engine(**project_settings()) as engine:
        await engine.run(project.policies["narrative"], "prompt")


limits = BudgetSettings(
    day=20.0,
    tasks={"narrative": TaskBudget(per_call=0.01, allow=["hedges"])},
    steps=[Step(above=0.2, hedges=False, start="lower"), Step(above=0.0, only="cheapest")],
)
money: Budget = LedgerBudget(limits, path=".cascade/ledger.db")
written = SqliteLedger(".cascade/ledger.db", prompt="hash", answer="none", redact=str.upper)
figures = Metrics()
drift: Sequence[Observer] = [DriftWatch(), LedgerDriftWatch(written.path), OpenTelemetry()]
engine_of_all = Engine(budget=money, observers=[written, figures, *drift])
assert_type(figures.text(), str)
assert_type(written.flush(), bool)
save_latencies(written.path, engine_of_all.latencies())
engine_of_all.learn(load_latencies(written.path))


@router("typing-by-length")
def routed(request: Request, choices: Sequence[str], *, most: int = 400) -> str | None:
    return choices[-1] if len(request.text) > most else None


@router("typing-own")
class OwnRouter:
    def route(self, request: Request, choices: Sequence[str], /) -> Route:
        return Route(choices[0], label="easy")


rules = Heuristic([{"when": {"min_words": 40}, "start": "large"}])
fitted, quality = fit_router([("easy?", {"small": True, "large": True})], ["small", "large"])
assert_type(fitted, Learned)
assert_type(quality["small"].auroc, float | None)
routers: Sequence[Router] = [
    rules,
    Llm(spec, {"easy": "small", "hard": "large"}),
    fitted,
    OwnRouter(),
    make_router("typing-by-length", {"most": 100}),
]
Policy(
    "routed",
    [Tier("openai:small", name="small"), Tier("openai:large", name="large")],
    router=routed,
)
assert_type(router_names(), list[str])
assert_type(find_router("heuristic"), Any)


@scorer("typing-close")
def close(answer: str, reference: float, *, by: float = 1.0) -> bool:
    return abs(float(answer) - reference) <= by


class OwnScorer:
    def score(self, row: GoldenRow, answer: Answer, /) -> Score:
        return Score(1.0) if answer.text == row.reference else Score(0.0, "not the reference")


scorers: Sequence[Scorer] = [make_scorer("typing-close", {"by": 0.5}), OwnScorer()]
assert_type(scorer_names(), list[str])
golden = GoldenSet.load("golden.jsonl")
assert_type(golden.sha256, str)
recording = Recording.load(Path("golden.recording.jsonl.gz"))
assert_type(recording.models, tuple[str, ...])
calls_of_it = PolicyReplay(policy, recording).run()
assert_type(summarise(calls_of_it, [tier.name for tier in policy.tiers]).escalations, float)
evaluation = evaluate(recording, Thresholds(min_accuracy=0.9), policy=policy)
assert_type(evaluation, Evaluation)
assert_type(evaluation.passed, bool)

table = table_of(recording, ["small", "large"])
assert_type(table, Table)
goal = Goal(max_drop=0.02, max_latency=LatencyLimit.parse("p95=2s"), confidence=0.95)
assert_type(tune(table, goal).certified, bool)

shadow = Shadow(policy, of="tickets", share=0.05)
canary = Canary(policy, "candidate", share=0.1, name="typing")
certified = Certified(policy, error=0.02, compare=checked_by(lambda top: OneOf(top.text)))
arms = Entry("arms", Split({"a": 0.5, "b": 0.5}, salt="typing"), {"a": policy, "b": "candidate"})
assert_type(assign("customer 7", {"a": 0.5, "b": 0.5}, salt="typing"), str)


async def beside_what_serves() -> None:
    async with Engine(observers=[shadow]) as engine, shadow.running(engine), kept(canary, "l.db"):
        with keyed("customer 7"):
            assert_type(await engine.run(canary.entry, "prompt"), Result)
        await engine.run(arms, "prompt")
    async with Engine() as engine, certified.running(engine):
        await engine.run(certified.entry, "prompt")
    assert_type(canary.rolled_back, float | None)
    assert_type(certified.broken, float | None)
