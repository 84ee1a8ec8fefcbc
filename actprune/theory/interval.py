"""An interval, and why it is open or missing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Low and high end at a level; an end is None where there is none, and `reason` says why."""

    low: float | None
    high: float | None
    level: float  # of coverage, 0 to 1
    reason: str | None = None

    def covers(self, value: float) -> bool:
        """Whether `value` lies inside, ends included; an end that is None excludes nothing."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)
