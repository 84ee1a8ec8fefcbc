"""Results as plain data that JSON can hold."""

import dataclasses
import math

import numpy as np

from actprune.theory.count_fit import CountFit
from actprune.theory.resampling import Estimate


def plain(value: object) -> object:
    """Dataclasses as dicts, arrays as lists, numbers as Python's; no NaN or infinity passes.

    A field x that holds an `Estimate` becomes x, x_stderr and x_reason.
    """
    if isinstance(value, CountFit):
        return plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, object] = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if isinstance(item, Estimate):
                out[field.name] = plain(item.value)
                out[f"{field.name}_stderr"] = plain(item.stderr)
                out[f"{field.name}_reason"] = item.reason
            else:
                out[field.name] = plain(item)
        return out
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        assert math.isfinite(value), "a result must not hold NaN or infinity"
    return value
