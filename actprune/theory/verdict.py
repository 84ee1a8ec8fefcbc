"""One site's findings in words to act on (ours)."""

from actprune.theory.count_fit import CountFit
from actprune.theory.liveness import BlockCertificate, Enough
from actprune.theory.resampling import Estimate

_ADVICE = {
    "enough": "They can be planned for removal; verify the pruned model on held-out data.",
    "borderline": "Removing them is likely to touch few inputs; more samples would tell.",
    "not enough": "Do not remove them for being silent here: they may only be rare.",
    "nothing free": "Nothing can go for free here: every cut of this site changes some output.",
}


def site_verdict(
    *,
    units: int,
    free: int,
    always_on: int,
    alive: Estimate,
    enough: Enough,
    split: BlockCertificate,
) -> str:
    """Free units, how sure that is, and what to do."""
    if free == 0:
        said = [f"Units free: 0 of {units}; {enough.why}."]
    else:
        said = [f"Units free: {free} of {units}; samples: {enough.answer}; {enough.why}."]
        if free == units:
            said.append("No unit fired at all: check the firing rule and the data first.")
        if split.upper is not None:
            said.append(
                f"With {split.level:.0%} confidence at most {split.upper:.2%} of inputs from the "
                "same distribution fire one of them."
            )
        if alive.value is not None and alive.value >= 1:
            error = "" if alive.stderr is None else f" (standard error {alive.stderr:.0f})"
            said.append(f"Free but alive, at least about {alive.value:.0f}{error}.")
    if always_on:
        said.append(f"Units on in every sample: {always_on}, candidates for merging.")
    return " ".join([*said, _ADVICE[enough.answer]])


def describe_fit(fit: CountFit) -> str:
    """The chosen law with its parameters; b never without its family."""
    parts = [] if fit.b is None or fit.M is None else [f"b = {fit.b:.3g}", f"M = {fit.M:.3g}"]
    if fit.mean is not None and not parts:
        parts.append(f"rate {fit.mean:.3g}")
    if fit.family == "inflated":
        parts += [f"dead share {fit.pi0:.3g}", f"always-on share {fit.pi1:.3g}"]
    return f"Counts follow the {fit.family} law best ({', '.join(parts)})."
