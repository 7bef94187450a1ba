"""Exceptions whose one-line message is all that a user needs."""

from collections.abc import Callable


class UserError(ValueError):
    """A user's mistake; the message names field, value, rule and remedy."""

    barrier: Callable[[], None] | None = None
    """Where all ranks raise the same error: called after printing it, before the exit."""


class AlreadyReportedError(UserError):
    """A mistake that another process of this machine prints."""


class RunStoppedError(Exception):
    """A run stopped through no mistake; the message names cause and remedy."""
