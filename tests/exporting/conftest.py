"""Networks that were cut and saved once, for every test of what can be done with them."""

from __future__ import annotations

import pytest
from cuts import CIFAR, MISSING, NAMES, Cut, half


@pytest.fixture(scope="session")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cut]:
    """Every network by its spec, without those whose assets are missing."""
    return {
        spec: half(spec, tmp_path_factory.mktemp("cut"))
        for spec in NAMES
        if not (spec.startswith(CIFAR) and MISSING)
    }


@pytest.fixture(params=NAMES, ids=lambda n: n.rpartition(":")[2])
def cut(request: pytest.FixtureRequest, cuts: dict[str, Cut]) -> Cut:
    """Each network in turn."""
    if request.param not in cuts:
        pytest.skip(f"no assets here: {', '.join(MISSING)}")
    return cuts[request.param]
