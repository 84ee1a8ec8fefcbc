"""Counts at which estimators are apt to break: (counts, samples)."""

DEGENERATE = {
    "all dead": ([0, 0, 0], 20),
    "all always on": ([20, 20, 20], 20),
    "only ends": ([0, 0, 20], 20),
    "one sample": ([0, 1, 1], 1),
    "two samples": ([0, 1, 2, 2], 2),
    "one unit": ([7], 20),
    "one dead unit, one sample": ([0], 1),
    "a spike": ([7] * 30, 20),
    "one unit between": ([0, 0, 20, 7], 20),
    "a single firing": ([0, 0, 0, 1], 20),
    "two neighbours": ([3, 4, 4], 20),
}
