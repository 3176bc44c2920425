"""AutoAttack: what its parts do within it, on linear classifiers with known distances and on small networks."""

from __future__ import annotations

import numpy as np
import pytest
from attack_models import Linear, linear
from attack_oracles import attacked, attacked_some, check_independence, rectified, rowwise_model

from qnn_robustness.attacks import apgd, autoattack, autoattack_few_classes, square
from qnn_robustness.attacks.fab import FINAL_STEPS
from qnn_robustness.common.distances import distance
from qnn_robustness.common.errors import UserError

NORMS = ("linf", "l2")
STEPS, QUERIES = 8, 30


def attack(norm: str, classes: int, steps: int = STEPS, queries: int = QUERIES):
    if classes < 4:
        return autoattack_few_classes.build(norm, steps=steps, queries=queries)
    return autoattack.build(norm, steps=steps, targets=9, queries=queries)


def run(norm: str, network: Linear, budget: float, chosen: list[int] | None = None, **parameters: int):
    chosen = list(range(len(network.samples))) if chosen is None else chosen
    attempt = attack(norm, network.weights.shape[1], **parameters)
    return attacked_some(attempt, rowwise_model(network), network, budget, chosen, norm=norm, seed=0)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("norm", NORMS)
def test_success_is_decided_by_the_exact_distance(norm: str, classes: int) -> None:
    """FAB, the third part, finds the exact distance of linear classifiers even where APGD has too few steps."""
    network = linear(seed=1, samples=12, classes=classes)
    exact = network.distances(norm)
    budget = float(np.median(exact))
    found = run(norm, network, budget).found
    assert found[exact < budget * 0.998].all()
    assert not found[exact > budget * (1 + 1e-5)].any()


@pytest.mark.parametrize("norm", NORMS)
def test_rectified_networks_within_a_linear_region(norm: str) -> None:
    network = rectified(seed=0)
    exact = network.distances(norm)
    budget = float(np.median(exact))
    result = attacked(attack(norm, 4), network.model(), network.samples, network.labels, budget, norm=norm)
    assert result.found[exact < budget * 0.998].all()
    assert not result.found[exact > budget * (1 + 1e-4)].any()
    assert distance(norm, result.points, network.samples).max() <= budget + 1e-6


@pytest.mark.parametrize(("classes", "targets", "planes"), [(5, 4, 1), (2, 1, 1), (3, 1, 2)])
def test_survivors_meet_every_part_and_others_only_the_first_ones(classes: int, targets: int, planes: int) -> None:
    """A survivor costs every query of every part: targets of APGD and FAB, hyperplanes of untargeted FAB, Square."""
    network = linear(seed=2, samples=10, classes=classes)
    exact = network.distances("linf")
    result = run("linf", network, float(np.quantile(exact, 0.6)))
    final = 1  # Foolbox looks at every result once more
    climbs = (1 + targets) * (1 + STEPS)
    walks = targets * STEPS * (planes + 1)
    rest = QUERIES - 1  # the clean sample was looked at already
    # Survivors with a FAB result beyond the budget also cost the final search of FAB.
    full = 1 + climbs + walks + FINAL_STEPS + rest + final
    assert (result.queries[~result.found] == full).all()
    assert (result.queries[result.found] < full).all()
    assert sum(len(call) for call in result.calls) == result.queries.sum()


@pytest.mark.parametrize("classes", [3, 5])
def test_square_follows_the_schedule_for_ten_thousand_queries(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, shares, share_at = linear(seed=6, samples=4, classes=classes), [], square.share_at
    monkeypatch.setattr(square, "share_at", lambda *arguments: shares.append(share_at(*arguments)) or shares[-1])
    assert not run("linf", network, network.distances("linf").min() * 0.5).found.any()
    assert shares == [0.8] * 9 + [0.4] * (QUERIES - 11)


@pytest.mark.parametrize("norm", NORMS)
def test_never_weaker_than_its_first_part_alone(norm: str) -> None:
    network = linear(seed=3, samples=16, classes=6)
    budget = float(np.median(network.distances(norm)))
    whole = run(norm, network, budget)
    alone = attacked(
        apgd.build(norm, loss="ce", steps=STEPS, restarts=1, targets=9),
        rowwise_model(network),
        network.samples,
        network.labels,
        budget,
        norm=norm,
    )
    assert whole.found[alone.found].all()
    assert whole.found.sum() > alone.found.sum()
    np.testing.assert_array_equal(whole.points[alone.found], alone.points[alone.found])
    np.testing.assert_array_equal(whole.points[~whole.found], alone.points[~whole.found])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [3, 5])
def test_samples_do_not_depend_on_each_other(norm: str, classes: int) -> None:
    network = linear(seed=7, samples=8, classes=classes)
    budget = float(np.median(network.distances(norm)))
    together = check_independence(lambda chosen: run(norm, network, budget, chosen, steps=4, queries=12))
    assert 0 < together.found.sum() < 8


def test_the_number_of_classes_chooses_the_version() -> None:
    few, many = linear(seed=8, classes=3), linear(seed=8, classes=4)
    for network, module, parameters, other in (
        (few, autoattack, {"steps": 1, "targets": 1, "queries": 2}, "use autoattack_few_classes"),
        (many, autoattack_few_classes, {"steps": 1, "queries": 2}, "use autoattack$"),
    ):
        classes = network.weights.shape[1]
        wrong = module.build("linf", **parameters)
        with pytest.raises(UserError, match=other):
            attacked(wrong, network.tensorflow_model(), network.samples, network.labels, 0.1, norm="linf")
        with pytest.raises(UserError, match=f"the network has {classes}"):
            module.check_classes(classes, **parameters)
    autoattack.check_classes(4, steps=1, targets=1, queries=2)
    autoattack_few_classes.check_classes(3, steps=1, queries=2)
