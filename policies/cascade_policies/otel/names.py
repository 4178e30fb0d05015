"""Every name that goes to OpenTelemetry, in this one file.

``gen_ai.*`` are those of the semantic conventions for generative AI, as of version 1.43, in which
they are still in development: https://github.com/open-telemetry/semantic-conventions-genai.
``cascade.*`` are our own: what the conventions have no name for.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "cascade"
"""Name of the tracer and of the meter."""

# Operations, and the attribute that names them.
OPERATION: Final = "gen_ai.operation.name"
CALL: Final = "invoke_workflow"
ATTEMPT: Final = "chat"
WORKFLOW: Final = "gen_ai.workflow.name"

PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
ERROR_TYPE: Final = "error.type"

# Texts, which are left out unless they are asked for.
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

# The event of a verifier's verdict.
EVALUATION: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE: Final = "gen_ai.evaluation.score.value"
EVALUATION_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"

# Metrics, and the attribute that tells the two kinds of tokens apart.
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  (a name, no secret)
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
WORKFLOW_DURATION: Final = "gen_ai.workflow.duration"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  (a name, no secret)

# Our own, of a call and of an attempt.
CALL_ID: Final = "cascade.call.id"
POLICY: Final = "cascade.policy"
TIER: Final = "cascade.tier"
OUTCOME: Final = "cascade.outcome"
VARIANT: Final = "cascade.variant"
ESCALATIONS: Final = "cascade.escalations"
ATTEMPTS: Final = "cascade.attempts"
COST_LOW: Final = "cascade.cost.low"
COST_HIGH: Final = "cascade.cost.high"
COST_BASIS: Final = "cascade.cost.basis"
WASTE_LOW: Final = "cascade.waste.low"
WASTE_HIGH: Final = "cascade.waste.high"
ROUTE_START: Final = "cascade.route.start"
ROUTE_LABEL: Final = "cascade.route.label"
ROUTE_SECONDS: Final = "cascade.route.duration"
NUMBER: Final = "cascade.attempt.number"
KIND: Final = "cascade.attempt.kind"
MEMBER: Final = "cascade.attempt.member"
WAITED: Final = "cascade.attempt.waited"
VERDICT_CODE: Final = "cascade.verdict.code"

# Our own metrics.
CALL_COST: Final = "cascade.call.cost"
CALL_ESCALATIONS: Final = "cascade.call.escalations"

TOKEN_BOUNDS: Final = tuple(float(4**power) for power in range(14))
DURATION_BOUNDS: Final = tuple(0.01 * 2**power for power in range(14))
FIRST_CHUNK_BOUNDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3, 0.35,
    0.4, 0.45, 0.5, 0.75, 1.0, 2.0, 5.0,
)  # fmt: skip
"""Upper bounds of the histograms, as the conventions give them: tokens, seconds, seconds."""

COST_BOUNDS: Final = tuple(mantissa * 10.0**power for power in range(-6, 2) for mantissa in (1, 3))
"""US dollars."""

_PROVIDERS: Final = {
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "openai-responses": "openai",
    "xai": "x_ai",
}

OURS: Final = "cascade"
"""The provider of a plain function: it runs in this process."""

_HERE: Final = ("function", "local", "scripted")


def provider_and_model(name: str) -> tuple[str, str]:
    """The provider as the conventions call it, and the model as the provider does.

    Args:
        name: as in an attempt: ``openai:gpt-5-mini``, ``openai/gpt-5-mini`` or a function's name.
    """
    for separator in (":", "/"):
        provider, found, model = name.partition(separator)
        if found:
            return _PROVIDERS.get(provider, provider), model
    return OURS, name


def runs_here(name: str) -> bool:
    """Whether a model runs in this process."""
    provider, found, _ = name.partition(":")
    return not found or provider in _HERE
