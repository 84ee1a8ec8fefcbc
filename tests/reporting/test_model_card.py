from collections.abc import Callable

from actprune.reporting import model_card
from actprune.reporting.card import code, plain
from actprune.reporting.schema import Report


def test_the_card_says_how_to_load(make_report: Callable[..., Report]) -> None:
    own = model_card(make_report())
    assert 'actprune.load("DIR", factory=factory)' in own
    zoo = model_card(make_report(model={"spec": "zoo:mnist-cnn", "hash": "ab"}))
    assert 'model = actprune.load("DIR")' in zoo
    assert "factory" not in zoo


def test_the_card_holds_the_verdict_and_its_numbers(report: Report) -> None:
    card = model_card(report)
    for said in (
        "**Pass.** The target is met",
        "| MACs | 40.8 M | 20.3 M | -50.2 % |",
        "| magnitude, none | 1.518 | +1.44 | 56.10 % | not measured |",
        r"+0.021 nats \[+0.014, +0.030\], 90 %",
        'is not "can never fire"',
        "calibrated on `npz:digits.npz`, 1,198 samples",
    ):
        assert said in card, said


def test_tables_have_as_many_cells_in_every_row(make_report: Callable[..., Report]) -> None:
    baseline = {"criterion": "a|b", "compensate": "none", "loss": 1, "metrics": {"x|y": 2.0}}
    card = model_card(make_report(baselines=[baseline]))
    tables: list[list[str]] = [[]]
    for line in card.splitlines():
        if line.startswith("|"):
            tables[-1].append(line.replace(r"\|", ""))
        elif tables[-1]:
            tables.append([])
    widths = [{row.count("|") for row in table} for table in tables if table]
    assert len(widths) == 2
    assert all(len(w) == 1 for w in widths)


def test_markdown_shows_text_as_it_is() -> None:
    assert plain("<b>a_b|c</b>\nd") == r"\<b\>a\_b\|c\</b\> d"
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"


def test_unlabelled_data_are_named_as_such(make_report: Callable[..., Report]) -> None:
    card = model_card(make_report(labelled=False, loss_kind="KL(dense || pruned)"))
    assert "The data have no labels" in card
    assert "Without labels nothing here says whether the outputs are right" in card
