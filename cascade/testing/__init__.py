"""Test doubles, for this project's tests and for its users'."""

from cascade.testing.jitter import NoJitter
from cascade.testing.scripted import Scripted, ScriptedCall, ScriptedModel, ScriptedProvider, script

__all__ = ["NoJitter", "Scripted", "ScriptedCall", "ScriptedModel", "ScriptedProvider", "script"]
