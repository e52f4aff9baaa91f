"""Untouched: asking a network for answers in the middle of things, and leaving it as it was."""

from brainnet.observation.untouched import untouched as untouched
