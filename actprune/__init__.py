"""Prune PyTorch networks by their activation statistics: profile, theory, plan, prune, verify."""

from actprune.errors import ActpruneError as ActpruneError
from actprune.errors import BudgetError as BudgetError
from actprune.loading.saved import load as load
from actprune.planning.plan import plan as plan
from actprune.planning.result import Plan as Plan
from actprune.profiling.collect import profile as profile
from actprune.profiling.diff import diff as diff
from actprune.profiling.merge import merge as merge
from actprune.profiling.result import Profile as Profile
from actprune.profiling.store import load_profile as load_profile
from actprune.profiling.store import save_profile as save_profile
from actprune.pruning.masked import masked as masked
from actprune.pruning.prune import prune as prune
from actprune.pruning.saved import save_pruned as save_pruned
from actprune.refit.settings import Compensation as Compensation
from actprune.sites.find import survey as survey
from actprune.theory.site_theory import Theory as Theory
from actprune.theory.summary import fit as fit
from actprune.verifying.result import Verdict as Verdict
from actprune.verifying.verify import verify as verify
