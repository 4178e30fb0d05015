"""Recordings: rows times models of real answers."""

from cascade_policies.recordings.header import Header, RecordedModel, RecordedVerifier
from cascade_policies.recordings.recording import Recording
from cascade_policies.recordings.rows import RecordedAnswer, RecordedVerdict, Row

__all__ = [
    "Header",
    "RecordedAnswer",
    "RecordedModel",
    "RecordedVerdict",
    "RecordedVerifier",
    "Recording",
    "Row",
]
