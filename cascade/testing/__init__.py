"""Test doubles, for this project's tests and for its users'."""

from cascade.testing.faulty_server import FaultyServer
from cascade.testing.jitter import NoJitter
from cascade.testing.reply import Reply, ServedRequest, ServerLedger
from cascade.testing.scripted import Scripted, ScriptedCall, ScriptedModel, ScriptedProvider, script

__all__ = [
    "FaultyServer",
    "NoJitter",
    "Reply",
    "Scripted",
    "ScriptedCall",
    "ScriptedModel",
    "ScriptedProvider",
    "ServedRequest",
    "ServerLedger",
    "script",
]
