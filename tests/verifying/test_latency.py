"""Two models timed in turn, and the paired ratio of their times."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.verifying.latency import in_layout, interleaved, latency, layout_of, paired


class Recorded(nn.Module):
    """Notes when it runs, and in which layout its weights then are."""

    def __init__(self, name: str, runs: list[tuple[str, str]], *, seconds: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.name, self.runs, self.seconds = name, runs, seconds

    def __deepcopy__(self, memo: dict) -> Recorded:
        return Recorded(self.name, self.runs, seconds=self.seconds)

    def forward(self, x: Tensor) -> Tensor:
        last = self.conv.weight.is_contiguous(memory_format=torch.channels_last)
        self.runs.append((self.name, "channels_last" if last else "contiguous"))
        time.sleep(self.seconds)
        return self.conv(x)


def images(n: int = 2) -> Batch:
    return Batch(args=(torch.zeros(n, 4, 8, 8),), kwargs={}, labels=None, ids=torch.arange(n))


def test_models_run_in_turn_and_the_order_turns_round() -> None:
    runs: list[tuple[str, str]] = []
    found = latency(Recorded("a", runs), Recorded("b", runs), images(), rounds=6)
    names = "".join(name for name, _ in runs)
    assert names == "ab" + "baab" * 3  # a warm-up, then six rounds
    assert (found.rounds, found.batch, found.threads) == (6, 2, torch.get_num_threads())
    assert (found.layout, found.device) == ("contiguous", "cpu")


def test_a_model_that_sleeps_longer_is_found_slower_by_as_much() -> None:
    slow, fast = Recorded("a", [], seconds=0.012), Recorded("b", [], seconds=0.003)
    found = latency(slow, fast, images(), rounds=5)
    # sleeping never ends early; what is added to both only brings the ratio down from 4
    assert found.before_ms >= 12
    assert found.after_ms >= 3
    assert 1 < found.ratio <= found.before_ms / 3
    assert found.ratio_p20 <= found.ratio <= found.ratio_p80


def test_ratios_are_those_of_a_round_and_not_of_the_medians() -> None:
    before, after = [4.0, 40.0, 4.0, 4.0, 8.0], [2.0, 20.0, 1.0, 4.0, 4.0]
    found = paired(before, after)
    assert found["ratio"] == 2  # of 2, 2, 4, 1, 2
    # 20 % and 80 % of the way through 1, 2, 2, 2, 4: positions .8 and 3.2 of 0 to 4
    assert found["ratio_p20"] == pytest.approx(1.8)
    assert found["ratio_p80"] == pytest.approx(2.4)


def test_a_channels_last_model_is_compared_in_its_own_layout() -> None:
    runs: list[tuple[str, str]] = []
    dense = Recorded("a", runs).to(memory_format=torch.channels_last)  # pyright: ignore
    small = Recorded("b", runs)
    found = latency(dense, small, images(), rounds=3)
    assert found.layout == "channels_last"
    assert {layout for _, layout in runs} == {"channels_last"}
    assert small.conv.weight.is_contiguous()  # it was copied


def test_layouts_are_told_apart() -> None:
    net = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Linear(6, 2))
    batch = images()
    assert layout_of(net, batch) == "contiguous"
    assert layout_of(in_layout(net, "channels_last"), batch) == "channels_last"
    last = Batch(
        args=(batch.args[0].to(memory_format=torch.channels_last),),
        kwargs={},
        labels=None,
        ids=batch.ids,
    )
    assert layout_of(net, last) == "channels_last"
    assert layout_of(nn.Linear(2, 2), batch) == "contiguous"


def test_slow_runs_stop_after_the_time_that_is_allowed_but_not_before_three_rounds() -> None:
    seen = interleaved([lambda: 1.0, lambda: 2.0], rounds=50, most=0)
    assert seen == [[1.0] * 3, [2.0] * 3]
