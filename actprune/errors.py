"""The few errors that actprune raises on purpose; the command line prints them as one line."""


class ActpruneError(Exception):
    """A mistake of the user: what, where, got, remedy, in one line. Exit code 2."""


class BudgetError(ActpruneError):
    """A well-formed target that this model cannot reach. Exit code 1."""
