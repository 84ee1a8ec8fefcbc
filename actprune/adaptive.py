"""`actprune.profile`: the loop of `profiling`, with the stopping rules of `theory` by their names.

Imports go up the flow only, so the loop knows what a rule is but none of the rules, and the rules
know nothing of the loop. Here they meet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from actprune.profiling import collect
from actprune.theory.stop_rules import rule_called

P = ParamSpec("P")
R = TypeVar("R")


def _by_name(loop: Callable[P, R]) -> Callable[P, R]:
    @wraps(loop)
    def profile(*args: P.args, **kwargs: P.kwargs) -> R:
        until = kwargs.get("until")
        if isinstance(until, str):
            kwargs["until"] = rule_called(until)
        return loop(*args, **kwargs)

    return profile


profile = _by_name(collect.profile)
