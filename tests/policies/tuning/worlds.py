"""Recordings whose truth is known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from cascade_policies.replaying import Table


def table(
    quality: Any, score: Any, cost: Any, *, failed: Any = None, latency: Any = None, **more: Any
) -> Table:
    """A table of these arrays of shape (n, K); costs and latencies may be of shape (K,)."""
    quality = np.asarray(quality, float)
    shape = quality.shape
    times = np.zeros(shape) if latency is None else np.broadcast_to(latency, shape)
    prices = np.broadcast_to(np.asarray(cost, float), shape).copy()
    return Table(
        ids=[f"row {row}" for row in range(shape[0])],
        tiers=[f"tier {tier}" for tier in range(shape[1])],
        quality=quality,
        score=np.asarray(score, float),
        cost_low=prices,
        cost_high=prices,
        latency=np.array(times, float),
        check_latency=np.zeros(shape),
        failed=np.zeros(shape, bool) if failed is None else failed,
        stops_billing=[None] * shape[1],
        **more,
    )


def world(rows: int, seed: int = 0, *, timed: bool = False) -> Table:
    """Three tiers that are right on 70%, 85% and 93%, with scores that tell."""
    random = np.random.default_rng(seed)
    ease = random.standard_normal((rows, 1))
    own = random.standard_normal((rows, 3))
    quality = (0.7 * ease + 0.7 * own < [0.52, 1.04, 1.48]).astype(float)
    score = 1 / (1 + np.exp(-(random.standard_normal((rows, 3)) + 1.8 * (quality - 0.5))))
    latency = random.exponential([0.5, 1.0, 2.0], (rows, 3)) if timed else None
    return table(quality, score, [0.001, 0.006, 0.03], latency=latency)


POLICY = """\
name = "ticket"  # by hand

[[tiers]]
name = "small"
model = "openai:small"
verify = "self_confidence"  # how sure it was
threshold = 0.5

# the one in between
[[tiers]]
name = "mid"
model = "openai:mid"
verify = "self_confidence"

[[tiers]]
name = "large"
model = "openai:large"
"""


def files(folder: Path, rows: int, seed: int = 0) -> tuple[Path, Path]:
    """A policy file, and a recording of the `world` for it."""
    policy, recording = folder / "ticket.toml", folder / "ticket.recording.jsonl.gz"
    policy.write_text(POLICY)
    made = world(rows, seed, timed=True)
    with gzip.open(recording, "wt", encoding="utf-8") as file:
        for row in range(rows):
            models = {}
            for tier, name in enumerate(("small", "mid", "large")):
                score = float(made.score[row, tier])
                said = {"outcome": "accepted" if score >= 0.5 else "rejected", "score": score}
                models[name] = {
                    "output": "x",
                    "correct": bool(made.quality[row, tier]),
                    "cost_usd": float(made.cost_high[row, tier]),
                    "latency": float(made.latency[row, tier]),
                    "verdicts": {} if name == "large" else {"SelfConfidence": said},
                }
            prompt = f"ticket {row}: {'abcdefghij'[row % 10] * 3} {row * 7919}"
            file.write(json.dumps({"id": str(row), "prompt": prompt, "models": models}) + "\n")
    return policy, recording
