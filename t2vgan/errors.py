"""The exceptions whose one-line text is all that a user needs to see."""


class UserError(ValueError):
    """A mistake the user can cause and mend; its one-line text names field, value, rule, remedy."""


class AlreadyReportedError(UserError):
    """A mistake that another process on this machine prints too: one line is enough."""


class RunStoppedError(Exception):
    """A run had to stop through no mistake on the command line; the text says why and what next."""
