"""The crafting loop on models whose answers are known."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import eagerpy as ep
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from foolbox.attacks import LinfAdditiveUniformNoiseAttack

from qnn_robustness.attacks.crafting.active import narrowed
from qnn_robustness.attacks.crafting.craft import REJECTED, Setting, _of_another_class, craft
from qnn_robustness.attacks.crafting.queries import BudgetSpent, QueryCounter
from qnn_robustness.attacks.crafting.recheck import sample_of
from qnn_robustness.attacks.crafting.streams import SampleStreams
from qnn_robustness.common import registry
from qnn_robustness.common.distances import distance, to_unit
from qnn_robustness.common.errors import UserError
from qnn_robustness.configuration.checks.experiments import FEWEST_QUERIES
from qnn_robustness.configuration.checks.methods import complete_method
from qnn_robustness.configuration.documentation import SCHEMA
from qnn_robustness.configuration.schema import load_schema

SHAPE = (6, 6, 1)
CLASSES = 3
WEIGHTS = np.random.default_rng(0).normal(size=(36, CLASSES)).astype(np.float32)
WEIGHTS -= WEIGHTS.mean(axis=0)  # random images then fall into every class
DECISION = {
    "boundary": {
        "steps": 200,
        "spherical_step": 0.05,
        "source_step": 0.05,
        "step_adaptation": 1.5,
        "initial_draws": 50,
    },
    "hop_skip_jump": {
        "steps": 6,
        "initial_gradient_eval_steps": 30,
        "max_gradient_eval_steps": 100,
        "gamma": 1.0,
        "smallest_probe": 1 / 255,
        "initial_draws": 50,
    },
}


def logits(inputs: np.ndarray) -> np.ndarray:
    # row by row, so that not even rounding depends on the batch
    rows = [row.reshape(1, -1) @ WEIGHTS for row in inputs]
    return np.concatenate(rows).astype(np.float32)


def rounded_logits(inputs: np.ndarray) -> np.ndarray:
    return logits(np.rint(inputs * np.float32(255)) / np.float32(255))


def numpy_model(on_lattice: bool = True) -> foolbox.NumPyModel:
    return foolbox.NumPyModel(rounded_logits if on_lattice else logits, (0, 1), data_format="channels_last")


def of_no_class_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return labels that make every one of the inputs adversarial."""
    seen = zip(logits(first).argmax(axis=1), logits(second).argmax(axis=1), strict=True)
    return np.array([min(set(range(CLASSES)) - set(pair)) for pair in seen])


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    samples = np.random.default_rng(1).integers(0, 256, (12, *SHAPE), dtype=np.uint8)
    labels = logits(samples / np.float32(255)).argmax(axis=1)
    labels[3] = (labels[3] + 1) % CLASSES  # one sample that is misclassified when clean
    return samples, labels


def setting(method: str, batch_size: int = 12, seeds=(0,), on_lattice: bool = True, **changes) -> Setting:
    return Setting(
        registry.load("attacks", method),
        "l2",
        [],
        seeds,
        on_lattice,
        batch_size,
        parameters=DECISION[method],
        **changes,
    )


@pytest.mark.parametrize("access", ["white_box", "score", "decision"])
def test_searches_without_gradients_are_made_in_arrays(access, data):
    seen = []

    class Recorded(LinfAdditiveUniformNoiseAttack):
        def run(self, model, inputs, *arguments, **options):
            seen.append(type(ep.astensor(inputs)))
            return super().run(model, inputs, *arguments, **options)

    weights = tf.constant(WEIGHTS)
    model = foolbox.TensorFlowModel(lambda inputs: tf.reshape(inputs, (-1, 36)) @ weights, (0, 1))
    method = SimpleNamespace(__name__="recorded", ACCESS=access, build=lambda norm: Recorded())
    crafted = craft(Setting(method, "linf", [0.5], (0,), False, 12), model, *data)
    assert seen
    assert all(issubclass(kind, ep.TensorFlowTensor) == (access == "white_box") for kind in seen)
    assert crafted.found.any()


@pytest.mark.parametrize("batch_size", [1, 12])
@pytest.mark.parametrize("on_lattice", [True, False])
def test_an_attack_without_numbers_makes_no_network_robust(on_lattice, batch_size, data, capsys):
    class Broken(LinfAdditiveUniformNoiseAttack):
        def run(self, model, inputs, *arguments, **options):
            result = super().run(model, inputs, *arguments, **options)
            rows = [broken[clean.index(row.tobytes())] for row in inputs.numpy()]
            return ep.where(ep.from_numpy(result, np.array(rows)).reshape((-1, 1, 1, 1)), result * np.nan, result)

    method = SimpleNamespace(__name__="attacks.broken", ACCESS="score", build=lambda norm: Broken())
    attack = Setting(method, "linf", [0.5], (0,), on_lattice, batch_size)
    clean = [row.tobytes() for row in to_unit(data[0]).astype(np.float32)]
    broken = np.arange(12) == 4
    crafted = craft(attack, numpy_model(on_lattice), *data)
    kept = data[0][4] if on_lattice else to_unit(data[0][4]).astype(np.float32)
    np.testing.assert_array_equal(crafted.adversarial[0, 0, 4], kept)
    assert crafted.found[0, 0].any()
    assert not crafted.found[0, 0, 4]
    assert capsys.readouterr().out.startswith("broken: 1 of 12 samples came back with values that are no numbers;")
    broken = np.full(12, True)
    with pytest.raises(UserError, match=r"^broken: 12 of 12 samples came back with values that are no numbers$"):
        craft(attack, numpy_model(on_lattice), *data)


def test_a_network_without_numbers_is_fooled_and_not_robust(data):
    """On all but the clean images, whose labels are 0: the place of the first score that is no number."""
    known = {row.tobytes() for row in to_unit(data[0]).astype(np.float32)}

    def broken(inputs: np.ndarray) -> np.ndarray:
        clean = np.array([row.tobytes() in known for row in inputs])
        return np.where(clean[:, None], [[1, 0, 0]], np.nan).astype(np.float32)

    parameters = {"queries": 5, "initial_share": 0.5}
    setting = Setting(registry.load("attacks", "square"), "linf", [0.1], (0,), True, 12, parameters=parameters)
    model = foolbox.NumPyModel(broken, (0, 1), data_format="channels_last")
    assert craft(setting, model, data[0], np.zeros(12, np.int64)).found.all()


@pytest.mark.parametrize("method", DECISION)
@pytest.mark.parametrize("on_lattice", [True, False])
def test_a_sample_does_not_depend_on_its_batch(method, on_lattice, data):
    whole = craft(setting(method, on_lattice=on_lattice), numpy_model(on_lattice), *data)
    parts = craft(setting(method, batch_size=5, on_lattice=on_lattice), numpy_model(on_lattice), *data)
    # what the order of sums in a batch changes is rounded away on the lattice
    np.testing.assert_allclose(whole.adversarial, parts.adversarial, rtol=0, atol=0 if on_lattice else 1e-6)


@pytest.mark.parametrize("method", DECISION)
def test_features_are_attacked_as_images_of_the_same_values_are(method, data):
    samples, labels = data
    features = to_unit(samples).astype(np.float32)
    expected = craft(setting(method, on_lattice=False), numpy_model(False), samples, labels)
    found = craft(setting(method, on_lattice=False), numpy_model(False), features, labels)
    assert found.adversarial.dtype == np.float32
    np.testing.assert_array_equal(found.adversarial, expected.adversarial)
    checked = sample_of(found.adversarial[:, :, :2], features, 6)
    np.testing.assert_array_equal(checked[2:], features[:4])


def test_a_sample_draws_the_same_whichever_others_are_attacked(data):
    samples, labels = data
    whole = craft(setting("boundary"), numpy_model(), samples, labels)
    chosen = np.array([1, 4, 9])
    part = craft(setting("boundary"), numpy_model(), samples[chosen], labels[chosen], chosen)
    np.testing.assert_array_equal(part.adversarial, whole.adversarial[:, :, chosen])


@pytest.mark.parametrize("method", DECISION)
def test_what_is_found_is_adversarial_and_farther_than_the_exact_minimum(method, data):
    samples, labels = data
    crafted = craft(setting(method), numpy_model(), samples, labels)
    adversarial, found = crafted.adversarial[0, 0], crafted.found[0, 0]
    assert adversarial.dtype == np.uint8
    assert found.mean() > 0.8
    predictions = logits(adversarial / np.float32(255)).argmax(axis=1)
    np.testing.assert_array_equal(predictions != labels, found)
    scores = logits(samples / np.float32(255))
    for sample, label in enumerate(labels):
        margins = [
            (scores[sample, label] - scores[sample, other]) / np.linalg.norm(WEIGHTS[:, label] - WEIGHTS[:, other])
            for other in range(CLASSES)
            if other != label
        ]
        if found[sample]:
            far = distance("l2", adversarial[sample : sample + 1], samples[sample : sample + 1])[0]
            assert far >= max(min(margins), 0) - 1e-5


def test_a_sample_misclassified_when_clean_is_its_own_adversarial_sample(data):
    samples, labels = data
    crafted = craft(setting("boundary"), numpy_model(), samples, labels)
    assert crafted.found[0, 0, 3]
    np.testing.assert_array_equal(crafted.adversarial[0, 0, 3], samples[3])
    assert crafted.queries[0, 0, 3] == 1


def test_a_sample_of_another_class_is_the_start_where_random_images_are_all_of_one_class(data):
    samples, _ = data

    def dark_or_bright(inputs: np.ndarray) -> np.ndarray:  # uniform noise is never bright
        bright = np.rint(inputs * 255).reshape(len(inputs), -1).mean(axis=1) - 200
        return np.stack([-bright, bright], axis=1).astype(np.float32)

    images = samples.copy()
    images[5] = 250
    model = foolbox.NumPyModel(dark_or_bright, (0, 1), data_format="channels_last")
    labels = dark_or_bright(images / np.float32(255)).argmax(axis=1)
    crafted = craft(setting("hop_skip_jump"), model, images, labels)
    assert crafted.found.all()


@pytest.mark.parametrize("method", DECISION)
def test_a_sample_alone_starts_from_noise(method, data):
    """No other attacked sample has another class; random images have."""
    samples, labels = data[0][:1], data[1][:1]
    assert craft(setting(method), numpy_model(), samples, labels).found.all()


@pytest.mark.parametrize("method", DECISION)
def test_what_a_budget_buys_does_not_depend_on_the_batch(method, data):
    """One sample is of the class of all noise: it uses up every draw, and the others must not wait for it."""

    def brightness(inputs: np.ndarray) -> np.ndarray:  # dark, bright, or grey like noise
        mean = (np.rint(inputs * 255) / 255).reshape(len(inputs), -1).mean(axis=1)
        return np.stack([0.3 - mean, mean - 0.7, 0 * mean], axis=1).astype(np.float32)

    images = np.random.default_rng(2).integers(0, 60, (6, *SHAPE), dtype=np.uint8)
    images[3:] += 195
    images[1] = data[0][0]
    model = foolbox.NumPyModel(brightness, (0, 1), data_format="channels_last")
    labels = np.array([0, 2, 0, 1, 1, 1])
    together = craft(setting(method, query_budget=120), model, images, labels)
    rows = np.array([0, 2, 3, 4, 5])
    apart = craft(setting(method, 2, query_budget=120), model, images[rows], labels[rows], streams=rows)
    assert together.found.all()
    np.testing.assert_array_equal(together.queries[0, 0, rows], apart.queries[0, 0])
    np.testing.assert_array_equal(together.adversarial[0, 0, rows], apart.adversarial[0, 0])


@pytest.mark.parametrize("method", DECISION)
def test_a_network_with_one_class_is_never_fooled(method, data):
    def constant(inputs: np.ndarray) -> np.ndarray:
        return np.tile(np.float32([1, 0]), (len(inputs), 1))

    model = foolbox.NumPyModel(constant, (0, 1), data_format="channels_last")
    crafted = craft(setting(method), model, data[0], np.zeros(len(data[0]), int))
    assert not crafted.found.any()
    np.testing.assert_array_equal(crafted.adversarial[0, 0], data[0])


def test_seeds_differ_and_repeat(data):
    first = craft(setting("boundary", seeds=(0, 1)), numpy_model(), *data)
    again = craft(setting("boundary", seeds=(1,)), numpy_model(), *data)
    assert (first.adversarial[0] != first.adversarial[1]).any()
    np.testing.assert_array_equal(first.adversarial[1], again.adversarial[0])


@pytest.mark.parametrize("limit", [20, 150])
def test_a_query_budget_is_kept_and_the_best_sample_until_then_counts(limit, data):
    samples, labels = data
    crafted = craft(setting("hop_skip_jump", query_budget=limit), numpy_model(), samples, labels)
    assert crafted.queries.max() <= limit
    adversarial, found = crafted.adversarial[0, 0], crafted.found[0, 0]
    assert (logits(adversarial[found] / np.float32(255)).argmax(axis=1) != labels[found]).all()


FEWEST = {"square": ("linf", {"queries": 5}, [0.3]), "zoo": ("l2", {"difference": 1.0}, [])}


@pytest.mark.parametrize("name", ["square", "zoo", *DECISION])
def test_a_sample_is_found_with_the_fewest_queries_that_a_configuration_may_ask_for(name, data):
    method = registry.load("attacks", name)
    norm, parameters, budgets = FEWEST.get(name, ("l2", DECISION.get(name), []))
    entry = {"method": name, "parameters": dict(parameters)}
    complete_method(load_schema(SCHEMA), "attacks", entry, "attacks.few")
    fewest = getattr(method, "FEWEST_QUERIES", FEWEST_QUERIES)
    setting = Setting(method, norm, budgets, [0], True, 12, parameters=entry["parameters"])
    counts = [
        craft(replace(setting, query_budget=queries), numpy_model(), *data).found for queries in (fewest - 1, fewest)
    ]
    clean = 1  # the sample that is misclassified
    assert [int(found.sum()) > clean for found in counts] == [False, True]


def test_more_queries_do_not_find_farther_samples(data):
    samples, labels = data
    distances = []
    for limit in (100, 300, None):
        crafted = craft(setting("hop_skip_jump", query_budget=limit), numpy_model(), samples, labels)
        distances.append(np.median(distance("l2", crafted.adversarial[0, 0], samples)))
    assert distances[0] >= distances[1] >= distances[2]


def test_queries_are_counted_for_the_active_samples_alone(data):
    samples = data[0][:4].astype(np.float32) / 255
    counter = QueryCounter(numpy_model(), samples, data[1][:4], "l2")
    counter(samples)
    counter(np.concatenate([samples, samples]))
    with narrowed(counter, np.array([1, 3])):
        counter(samples[[1, 3]])
        with narrowed(counter, np.array([1])):
            counter(samples[[3]])
    assert counter.queries.tolist() == [3, 4, 3, 5]
    with pytest.raises(ValueError, match="do not belong"):
        counter(samples[:3])


def test_a_log_tells_how_far_a_long_block_is(data, monkeypatch, capsys):
    monkeypatch.setattr("qnn_robustness.common.progress.SECONDS_LOGGED", 0.0)
    crafted = craft(setting("hop_skip_jump", query_budget=300), numpy_model(), data[0][:4], data[1][:4])
    shown = capsys.readouterr().err
    counts = [int(count) for count in re.findall(r"0/1 .*?(\d+) queries a sample", shown)]
    assert counts == sorted(counts)
    assert len(set(counts)) > 10
    assert counts[-1] + 1 == 300  # and the clean sample, asked before; one misclassified sample is not attacked
    assert sorted(crafted.queries.ravel()) == [1, 300, 300, 300]


def test_the_budget_ends_within_a_call_and_is_never_exceeded(data):
    samples = data[0][:4].astype(np.float32) / 255
    counter = QueryCounter(numpy_model(), samples, of_no_class_of(samples, 1 - samples), "l2", query_budget=3)
    counter(np.concatenate([1 - samples, samples / 2]))
    counter(np.concatenate([1 - samples, samples]))  # the second half is beyond the budget
    assert counter.queries.tolist() == [3, 3, 3, 3]
    assert (counter.best != samples).any(axis=(1, 2, 3)).all()
    with pytest.raises(BudgetSpent):
        counter(samples)
    assert counter.queries.tolist() == [3, 3, 3, 3]


def test_what_lies_outside_the_box_is_not_the_best_sample(data):
    samples = data[0][:1].astype(np.float32) / 255
    labels = logits(samples).argmax(axis=1)
    counter = QueryCounter(numpy_model(False), samples, labels, "l2", query_budget=10)
    outside = samples - 5 * WEIGHTS[:, labels[0]].reshape(samples.shape)
    assert logits(outside).argmax(axis=1) != labels
    counter(outside)
    np.testing.assert_array_equal(counter.best, samples)


def test_a_sample_that_has_spent_its_budget_does_not_end_the_others(data):
    samples, labels = data[0][:3].astype(np.float32) / 255, data[1][:3]
    counter = QueryCounter(numpy_model(), samples, labels, "l2", query_budget=2)
    other = np.stack([1 - samples[0], samples[1], samples[2]])
    counter.labels = of_no_class_of(samples, other)
    with narrowed(counter, np.array([0])):
        counter(other[:1])
        counter(other[:1])  # costs nothing: its answer is known
        counter(np.rint(other[:1]))  # farther
        counter(samples[:1])  # nearer, but beyond the budget
    assert counter.spent.tolist() == [True, False, False]
    np.testing.assert_array_equal(counter.best[0], other[0])
    counter(samples)
    assert counter.queries.tolist() == [2, 1, 1]
    counter(1 - samples)
    with pytest.raises(BudgetSpent):
        counter(samples)
    assert counter.queries.tolist() == [2, 2, 2]


@pytest.mark.parametrize("shape", [(3, 36), (3, 37), (3, 38), (5, 3, *SHAPE), (3, *SHAPE)])
def test_streams_belong_to_samples(shape):
    axis = 1 if len(shape) > 4 else 0
    tensor = ep.astensor(np.zeros(1, np.float32))
    with SampleStreams(0, [4, 7, 9], SHAPE).serving_eagerpy():
        together = ep.normal(tensor, shape).numpy()
    alone_shape = tuple(1 if position == axis else size for position, size in enumerate(shape))
    with SampleStreams(0, [7], SHAPE).serving_eagerpy():
        alone = ep.normal(tensor, alone_shape).numpy()
    np.testing.assert_array_equal(together.take(1, axis=axis), alone.take(0, axis=axis))


def test_draws_without_a_sample_axis_are_shared_and_eagerpy_is_restored():
    tensor = ep.astensor(np.zeros(1, np.float32))
    before = type(tensor).normal
    draws = []
    for indices in ([0, 1], [5]):
        with SampleStreams(3, indices, SHAPE).serving_eagerpy():
            draws.append(ep.normal(tensor, (36, 1)).numpy())
    np.testing.assert_array_equal(*draws)
    assert type(tensor).normal is before


def linear_network(view_of: dict) -> foolbox.TensorFlowModel:
    tf = pytest.importorskip("tensorflow")
    from qnn_robustness.attacks.crafting.sources import View
    from qnn_robustness.attacks.crafting.sources.differentiable import seen

    weights = tf.constant(WEIGHTS)
    clean = np.random.default_rng(2).uniform(size=(5, *SHAPE)).astype(np.float32)
    return seen(lambda x: tf.reshape(x, (-1, 36)) @ weights, SHAPE, View(True, clean, **view_of))


def test_the_temperature_makes_the_mean_singular_value_of_the_jacobian_one(data):
    tf = pytest.importorskip("tensorflow")
    inputs = ep.astensor(tf.constant(data[0][:2] / np.float32(255)))
    plain, tempered = linear_network({})(inputs).numpy(), linear_network({"temperature": "jacobian"})(inputs).numpy()
    expected = np.linalg.svd(WEIGHTS, compute_uv=False).mean()
    np.testing.assert_allclose(plain / tempered, expected, rtol=1e-5)
    np.testing.assert_allclose(plain / linear_network({"temperature": 20})(inputs).numpy(), 20, rtol=1e-5)


def test_a_warm_start_keeps_what_is_adversarial_already_and_begins_at_the_rest(data):
    """Without a step, PGD returns where it began."""
    samples, labels = data
    keep = np.arange(len(labels)) != 3
    samples, labels = samples[keep], labels[keep]
    model = linear_network({})
    begin = np.clip(samples.astype(int) + np.where(samples < 128, 8, -8), 0, 255).astype(np.uint8)
    warm = Setting(
        registry.load("attacks", "pgd"),
        "linf",
        [8 / 255],
        (0,),
        True,
        batch_size=5,
        parameters={"steps": 0, "relative_step_size": 0.1, "restarts": 1},
        warm_starts=begin[None, None],
    )
    crafted = craft(warm, model, samples, labels)
    np.testing.assert_array_equal(crafted.adversarial[0, 0], begin)
    fooled = logits(begin / np.float32(255)).argmax(axis=1) != labels
    np.testing.assert_array_equal(crafted.found[0, 0], fooled)
    assert (crafted.queries[0, 0][fooled] == 1).all()


def test_a_warm_started_search_finds_at_least_what_it_began_with(data):
    samples, labels = data
    model, budget = linear_network({}), 4 / 255
    parameters = {"steps": 3, "relative_step_size": 0.2, "restarts": 1}
    plain = Setting(registry.load("attacks", "pgd"), "linf", [budget], (0,), True, 12, parameters=parameters)
    first = craft(plain, model, samples, labels)
    warm = Setting(
        registry.load("attacks", "pgd"),
        "linf",
        [budget],
        (0,),
        True,
        12,
        parameters=parameters,
        warm_starts=first.adversarial,
    )
    again = craft(warm, model, samples, labels)
    assert (again.found | ~first.found).all()
    np.testing.assert_array_equal(again.adversarial[first.found], first.adversarial[first.found])


def test_the_next_sample_of_another_class_is_the_start():
    predictions = np.array([0, 0, 1, 2, REJECTED, 0])
    np.testing.assert_array_equal(_of_another_class(predictions, np.array([0, 1, 0, 2, 0, 1])), [2, 1, 2, 5, 2, 5])
    np.testing.assert_array_equal(_of_another_class(np.zeros(3, int), np.array([0, 0, 1])), [0, 1, 2])
