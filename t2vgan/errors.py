"""The one exception that means: the user can fix this."""


class UserError(ValueError):
    """A mistake the user can cause and mend; its one-line text names field, value, rule, remedy."""
