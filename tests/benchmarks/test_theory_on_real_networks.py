from __future__ import annotations

import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from actprune.data.source import Arrays
from actprune.loading.model import load_model
from actprune.profiling.collect import profile
from actprune.profiling.thresholds import nearest_exact, rethresholded
from actprune.zoo.digits_mlp import data
from benchmarks import theory_on_real_networks as benchmark
from benchmarks.harness import rows
from benchmarks.real_networks import summary
from benchmarks.real_networks.certify import by_document, coverage
from benchmarks.real_networks.figures import figures
from benchmarks.real_networks.growth import Settings, cases, shuffled, sizes
from benchmarks.real_networks.judge import chosen_rule, outcome
from benchmarks.real_networks.names import CHOSEN_ON, NETS, REPORTED_ON
from benchmarks.real_networks.networks import NETWORKS, digits_mlp
from benchmarks.real_networks.record import record


def test_a_small_network_goes_through_everything() -> None:
    recording = digits_mlp()
    made = list(benchmark.run(recording, Settings(draws=1, replicates=9, splits=20)))

    keys = [benchmark.key(row) for row in made]
    assert len(set(keys)) == len(keys)
    # 2 sites under 4 rules, as they are and with independent units; 1 curve; 4 plans
    assert [sum(k[0] == kind for k in keys) for kind in ("site", "control", "curve")] == [8, 8, 1]
    assert sum(k[0] == "certificate" for k in keys) == 4
    assert not list(benchmark.run(recording, Settings(draws=1), set(keys)))  # nothing is left
    drawn = figures(made)
    assert set(drawn) == {"k-growth", "k-errors", "alpha-beside-b"}
    for content in drawn.values():
        ElementTree.fromstring(content)
    for table in (summary.laws, summary.tails, summary.forecasts, summary.estimators):
        assert "digits-mlp" in table(made) or table is summary.estimators
    assert summary.certificates(made).count("digits-mlp") == 3  # at 10 RMS nothing ever fires


def test_the_quick_form_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "append", None)  # nothing is written
    monkeypatch.setattr(sys, "argv", ["theory_on_real_networks", "--quick"])
    threads = torch.get_num_threads()
    try:
        benchmark.main()
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.startswith("chosen on digits-mlp: ")


def test_peaks_are_what_a_profile_counts() -> None:
    model, x = load_model("zoo:digits-mlp").model, data().inputs[0][:200]
    recording = record("net", "data", model, x, batch=64)
    counted = profile(model, Arrays.of(x), histogram=True)
    for mine, theirs in zip(recording.sites, counted.sites, strict=True):
        assert np.array_equal(mine.fires("own").sum(0), theirs.samples_active.sum(0))
        t = nearest_exact(3 * (mine.rms or 0.0))
        again = rethresholded(counted, {mine.name: t})
        assert np.array_equal((mine.peak > t).sum(0), again.sites[0].samples_active.sum(0))


def test_truths_come_from_the_samples_that_follow() -> None:
    assert (sizes(99), sizes(100), sizes(899)) == ([], [10], [10, 30, 89])
    rng = np.random.default_rng(0)
    rates = np.concatenate([np.full(50, 0.02), np.zeros(50)])
    fires = rng.random((100, 100)) < rates
    (case,) = cases(fires, draws=1, seed=0)
    assert case["D"] == 10
    assert case["K"][-1] == fires.any(0).sum()  # 10 D are all the samples
    assert case["ahead"]["no change"] == [[case["K"][0] - k, k == case["K"][0]]
                                          for k in case["K"][1:]]  # fmt: skip
    assert not cases(fires[:, 50:], draws=1, seed=0)  # units that never fire need no forecast


def test_shuffling_keeps_counts_and_parts_the_units() -> None:
    fires = np.zeros((1000, 2), dtype=bool)
    fires[:100] = True
    apart = shuffled(fires, seed=0)
    assert apart.sum(0).tolist() == [100, 100]
    assert apart.all(1).sum() < 30  # 10 expected, standard deviation 3


def test_a_document_is_one_sample_however_many_its_pieces() -> None:
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(420), 10)
    # 40 rare units; a document fires a unit in all its pieces, or in none
    fires = (rng.random((420, 40)) < 0.01)[documents]
    found = by_document(fires, documents, splits=200, seed=0)
    assert (found["documents"], found["few"], found["pieces"]) == (420, 20, 200)
    # pieces of the same documents choose and check, so a free unit has no piece that fires it
    assert found["few_covered"] < 0.5
    assert found["whole_covered"] >= 0.95 - 4 * (0.95 * 0.05 / 200) ** 0.5  # binomial


def test_certificates_hold_for_independent_units() -> None:
    rng = np.random.default_rng(0)
    fires = rng.random((4200, 30)) < rng.beta(0.3, 12, 30)
    found = coverage(fires, splits=200, seed=0)
    assert (found["calibration"], found["check"], found["truth_samples"]) == (100, 100, 4000)
    assert found["covered"] >= 0.95 - 4 * (0.95 * 0.05 / 200) ** 0.5
    assert 1 <= found["together"] < 1.2


def a_row(net: str, errors: dict[str, tuple[float, int]]) -> dict:
    """One site of 100 units whose K grows by 10, 20 and 40."""
    ahead = {who: [list(e)] * 3 for who, e in errors.items()}
    ahead |= {who: [[90.0, 0]] * 3 for who in ("urn", "predictive", "chao2", "good-toulmin")
              if who not in errors}  # fmt: skip
    picks = {"same ratio": ["urn", "chao2", "urn"], "half": ["urn"] * 3}
    case = {"D": 10, "draw": 0, "K": [20, 30, 40, 60], "ahead": ahead, "picks": picks}
    return {"kind": "site", "net": net, "site": "a", "rule": "own", "units": 100, "cases": [case]}


def test_a_rule_is_chosen_by_its_error_if_it_covers() -> None:
    net = CHOSEN_ON[0]
    # five forecasts, of which chao2 covers four and the more exact urn none
    made = [a_row(net, {"urn": (1.0, 0), "chao2": (-4.0, int(i > 0))}) for i in range(5)]
    assert chosen_rule(made) == "chao2"
    found = outcome(made, "chao2", nets=[net], times=(10,))
    assert found is not None
    assert (found.cases, found.error, found.growth, found.signed) == (5, 0.04, 0.4, -0.04)
    assert (found.covered, found.ratio) == (0.8, pytest.approx(0.1))
    assert found.held
    # without any that covers, the error alone
    assert chosen_rule([a_row(net, {"urn": (1.0, 0), "chao2": (-4.0, 0)})]) == "urn"
    other = [a_row(REPORTED_ON[0], {"chao2": (-4.0, 1)})]
    assert summary.sentence([*made, *other]).startswith(
        "Chosen: chao2. On the other networks, at 2 D not held (ratio 0.40, 100 % covered); "
    )
    mixed = outcome(made, "backtest, same ratio", nets=[net], times=(5,))
    assert mixed is not None
    assert mixed.error == 0.04  # chao2 was picked for 5 D


def test_networks_have_the_names_of_the_rows() -> None:
    assert tuple(NETWORKS) == NETS


def test_the_figures_are_drawn_from_the_rows() -> None:
    for name, content in figures(rows(benchmark.NAME)).items():
        path = benchmark.FIGURES / f"{name}.svg"
        assert path.read_text() == content, f"run python -m {benchmark.__name__} --figures"
