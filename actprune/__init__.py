"""Prune PyTorch networks by their activation statistics: profile, theory, plan, prune, verify."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from actprune.errors import ActpruneError as ActpruneError
from actprune.errors import BudgetError as BudgetError

if TYPE_CHECKING:
    from actprune.adaptive import profile as profile
    from actprune.auditing.audit import audit as audit
    from actprune.auditing.result import AuditResult as AuditResult
    from actprune.exporting.export import export as export
    from actprune.exporting.result import Exported as Exported
    from actprune.healing.heal import heal as heal
    from actprune.healing.result import Healed as Healed
    from actprune.healing.settings import HealSettings as HealSettings
    from actprune.integrations.pretrained import save_pretrained as save_pretrained
    from actprune.loading.saved import load as load
    from actprune.planning.result import Plan as Plan
    from actprune.planning.sweep import Frontier as Frontier
    from actprune.planning.sweep import sweep as sweep
    from actprune.profiling.diff import diff as diff
    from actprune.profiling.gram.settings import GramSettings as GramSettings
    from actprune.profiling.live.profiler import Profiler as Profiler
    from actprune.profiling.merge import merge as merge
    from actprune.profiling.result import Profile as Profile
    from actprune.profiling.store import load_profile as load_profile
    from actprune.profiling.store import save_profile as save_profile
    from actprune.profiling.strata import reweighted as reweighted
    from actprune.profiling.strata import stratum as stratum
    from actprune.profiling.subtract import subtract as subtract
    from actprune.profiling.thresholds import at_threshold as at_threshold
    from actprune.profiling.thresholds import rethresholded as rethresholded
    from actprune.pruning.masked import masked as masked
    from actprune.pruning.prune import prune as prune
    from actprune.pruning.saved import save_pruned as save_pruned
    from actprune.refit.settings import Compensation as Compensation
    from actprune.sites.find import survey as survey
    from actprune.theory.site_theory import Theory as Theory
    from actprune.theory.summary import fit as fit
    from actprune.timed import plan as plan
    from actprune.verifying.result import Verdict as Verdict
    from actprune.verifying.verify import verify as verify

# loaded when first asked for, so that `actprune --help` does not wait for torch
_HOMES = {
    "audit": "actprune.auditing.audit",
    "AuditResult": "actprune.auditing.result",
    "export": "actprune.exporting.export",
    "Exported": "actprune.exporting.result",
    "heal": "actprune.healing.heal",
    "Healed": "actprune.healing.result",
    "HealSettings": "actprune.healing.settings",
    "save_pretrained": "actprune.integrations.pretrained",
    "load": "actprune.loading.saved",
    "plan": "actprune.timed",
    "Plan": "actprune.planning.result",
    "Frontier": "actprune.planning.sweep",
    "sweep": "actprune.planning.sweep",
    "profile": "actprune.adaptive",
    "diff": "actprune.profiling.diff",
    "GramSettings": "actprune.profiling.gram.settings",
    "Profiler": "actprune.profiling.live.profiler",
    "merge": "actprune.profiling.merge",
    "Profile": "actprune.profiling.result",
    "load_profile": "actprune.profiling.store",
    "save_profile": "actprune.profiling.store",
    "reweighted": "actprune.profiling.strata",
    "stratum": "actprune.profiling.strata",
    "subtract": "actprune.profiling.subtract",
    "at_threshold": "actprune.profiling.thresholds",
    "rethresholded": "actprune.profiling.thresholds",
    "masked": "actprune.pruning.masked",
    "prune": "actprune.pruning.prune",
    "save_pruned": "actprune.pruning.saved",
    "Compensation": "actprune.refit.settings",
    "survey": "actprune.sites.find",
    "Theory": "actprune.theory.site_theory",
    "fit": "actprune.theory.summary",
    "Verdict": "actprune.verifying.result",
    "verify": "actprune.verifying.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'actprune' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
