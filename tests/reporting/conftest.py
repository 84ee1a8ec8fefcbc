"""A realistic report, built without any model: the theory is the real one of simulated counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actprune.reporting.schema import Report, ReportSite
from actprune.theory import fit_site


@cache
def simulated_theory(seed: int, units: int) -> tuple[dict[str, Any], tuple[float, ...]]:
    """SiteTheory.to_dict() of beta rates with a few dead and always-on units, and the rates."""
    rng = np.random.default_rng(seed)
    blocks, size, positions = 16, 8, 25
    p = rng.beta(0.5, 0.8, units)
    p[: units // 8] = 0
    p[-units // 10 :] = 1
    fired = rng.random((blocks, size, units)) < p
    times = fired * (1 + rng.binomial(positions - 1, 0.4, fired.shape))
    flat = fired.reshape(-1, units)
    profile: Any = SimpleNamespace(
        site=SimpleNamespace(name="site", kind="conv"),
        units=units,
        samples=np.full(blocks, size),
        positions=np.full(blocks, size * positions),
        samples_active=fired.sum(1),
        positions_active=times.sum(1),
        first=np.where(flat.any(0), flat.argmax(0), -1),
    )
    return fit_site(profile).to_dict(), tuple(flat.mean(0).tolist())


def site(name: str, seed: int = 0, units: int = 32, keep: float = 0.5) -> ReportSite:
    """A site whose rarest units were removed."""
    theory, rates = simulated_theory(seed, units)
    kept = max(1, round(keep * units))
    removed = tuple(sorted(np.argsort(rates, kind="stable")[: units - kept].tolist()))
    fit = theory["fits"][theory["family"]]
    return ReportSite(
        name=name,
        kind="conv",
        units=units,
        kept=kept,
        free=theory["free"],
        rate=theory["rate"],
        family=theory["family"],
        b=fit["b"],
        M=fit["M"],
        pi0=fit["pi0"],
        pi1=fit["pi1"],
        alpha=None,
        reason="the counts reject the power law",
        rates=rates,
        removed=removed,
        theory={**theory, "name": name},
    )


def unseen_site(name: str) -> ReportSite:
    """A site of which nothing is known but its width."""
    return ReportSite(
        name=name,
        kind="linear",
        units=10,
        kept=10,
        free=10,
        rate=0.0,
        family=None,
        b=None,
        M=None,
        pi0=None,
        pi1=None,
        alpha=None,
        reason="no sample reached this site",
        rates=(),
        removed=(),
        theory={"growth": None, "lorenz": None, "reason": "no sample reached this site"},
    )


def build_report(sites: int = 3, **changes: Any) -> Report:
    """A report of a small convolutional network cut to half its MACs.

    `sites` above 3 gives a deep one; `changes` replace top-level fields.
    """
    names = ["conv1", "layer1.0.<b>conv</b> & co"] + [f"layer{i}.conv1" for i in range(2, sites)]
    made = [site(n, i, 16 * 2 ** (i * 3 // sites), 0.4 + 0.05 * (i % 7))
            for i, n in enumerate(names[: sites - 1])]  # fmt: skip
    made.append(unseen_site("head.fc"))
    target = {"kind": "macs", "asked": 0.5, "reached": 0.4983, "met": True}
    fields: dict[str, Any] = {
        "version": "0.1.0",
        "model": {"spec": "models.py:<b>net</b>", "hash": "9f2c41d7aa3b0e55"},
        "data": {
            "spec": "npz:digits.npz",
            "heldout": "a seeded third of npz:digits.npz",
            "calibration_samples": 1198,
            "heldout_samples": 599,
            "seed": 0,
        },
        "loss_kind": "cross-entropy",
        "labelled": True,
        "criterion": "residual",
        "allocate": "global",
        "compensation": {"kind": "refit"},
        "before": {"loss": 0.0812345678901, "metrics": {"accuracy": 0.9766, "perplexity": 1.0846},
                   "params": 269722, "macs": 40813184.0, "bytes": 1083816, "latency_ms": 7.4123},
        "after": {"loss": 0.1023456789012, "metrics": {"accuracy": 0.9699, "perplexity": 1.1078},
                  "params": 131870, "macs": 20338210.0, "bytes": 531944, "latency_ms": 4.9871},
        "baselines": [
            {"criterion": "magnitude", "compensate": "none", "loss": 1.5182736455,
             "metrics": {"accuracy": 0.5610}},
            {"criterion": "rare", "compensate": "none", "loss": 0.9021,
             "metrics": {"accuracy": 0.7}},
            {"criterion": "rare", "compensate": "refit", "loss": 0.12,
             "metrics": {"accuracy": 0.9616, "perplexity": 1.12}},
        ],
        "target": target,
        "targets": [target],
        "predicted": {
            "method": "probed",
            "local": {"loss_delta": 0.0187654, "low": 0.0101, "high": 0.0275},
            "loss_delta": 0.0213456, "low": 0.0142345, "high": 0.0301234, "level": 0.9,
            "counts_only": {"loss_delta": 0.047, "low": 0.011, "high": 0.16, "share": 0.0612},
        },
        "measured": {"loss_delta": 0.0211112, "low": 0.0123, "high": 0.0299, "level": 0.9,
                     "samples": 599},
        "verdict": "pass",
        "verdict_reason": "the target is met and the measured change lies inside the forecast",
        "certificate": {"units": sum(len(s.removed) for s in made), "inputs_affected": 0.0217,
                        "upper": 0.03445, "level": 0.95},
        "sites": made,
        "refusals": [
            {"layer": "<i>stem</i>", "reason": "its output is added to a shortcut & read twice"},
            {"layer": "head.norm", "reason": "a layer norm mixes all units"},
        ],
        "device": "cpu",
        "latency_batch": 32,
        "latency_threads": 2,
        "latency": {"before_ms": 7.4123, "after_ms": 4.9871, "ratio": 1.4863, "ratio_p20": 1.41,
                    "ratio_p80": 1.5612, "rounds": 25, "batch": 32, "threads": 2,
                    "layout": "contiguous", "device": "cpu"},
        "seconds": {"profile": 3.21, "plan": 8.7, "prune": 4.02, "verify": 71.3},
    }  # fmt: skip
    return Report.model_validate({**fields, **changes})


@pytest.fixture(scope="session")
def report() -> Report:
    return build_report()


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    return build_report
