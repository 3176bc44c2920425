"""The loss of each recipe: closed forms, other implementations, and limits that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import log_softmax, logsumexp, softmax

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.batches import Batches

SHAPE, CLASSES, BATCH = (6, 6, 1), 3, 12
BALL = {"epsilon": 0.1, "step_size": 0.1, "steps": 1}
QUICK = {"iterations": 5, "regularisation": 1.0, "weight": 1.0, "compared": "logits"}


@pytest.fixture(scope="module")
def network():
    """A smooth convolution with batch normalisation, and a dense layer."""
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input(SHAPE)
    hidden = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(hidden)))


@pytest.fixture(scope="module")
def split() -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 256, (BATCH, *SHAPE), dtype=np.uint8), random.integers(0, CLASSES, BATCH))


@pytest.fixture
def batch(split):
    import tensorflow as tf

    return tf.constant(split.samples.astype(np.float32) / 255), tf.constant(split.labels)


def recipe(name, network, split, teacher=None, **parameters):
    from qnn_robustness.common import registry
    from qnn_robustness.training.fitting.objective import Material

    return registry.load("training", name).objective(network, Material(0, split, teacher), **parameters)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("standard", {}),
        ("pgd_adversarial", BALL),
        ("trades", {**BALL, "beta": 6.0}),
        ("sinkhorn_adversarial", {**BALL, **QUICK}),
        ("sinkhorn_adversarial", {**BALL, **QUICK, "compared": "probabilities"}),
        ("jacobian_regularization", {"weight": 0.1, "projections": 2, "scope": "layers"}),
        ("defensive_distillation", {"temperature": 20.0, "label_weight": 0.0}),
        ("quantization_aware_adversarial", {**BALL, "calibration_samples": 10}),
        ("ensemble_adversarial", {**BALL, "clean_weight": 0.5}),
    ],
)
def test_small_steps_along_the_gradient_lower_the_loss(name, parameters, network, split, batch):
    import keras
    import tensorflow as tf

    network = keras.models.clone_model(network)
    objective = recipe(name, network, split, **parameters)
    objective.refresh()
    drawn = (batch[0], tf.constant(True)) if name == "ensemble_adversarial" else ()  # its own network, not a static one
    values = []
    for _ in range(6):
        with tf.GradientTape() as tape:
            value, logits = objective.loss(*batch, 0, *drawn)
        assert logits.shape == (BATCH, CLASSES)
        values.append(float(value))
        weights = network.trainable_variables
        for weight, gradient in zip(weights, tape.gradient(value, [w.value for w in weights]), strict=True):
            weight.assign_sub(0.005 * gradient)
    assert np.isfinite(values).all()
    assert values[-1] < values[0]


def cross_entropy_of(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -log_softmax(logits.astype(float), 1)[np.arange(len(labels)), labels]


def test_pgd_training_minimises_cross_entropy_on_what_the_attack_makes(network, split, batch):
    objective = recipe("pgd_adversarial", network, split, **BALL)
    adversarial = objective.adversarial(*batch, 0)
    assert np.abs(adversarial - batch[0]).max() > 0.05
    value, _ = objective.loss(*batch, 0)
    expected = cross_entropy_of(network(adversarial, training=True).numpy(), split.labels).mean()
    assert float(value) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["pgd_adversarial", "trades", "sinkhorn_adversarial", "ensemble_adversarial"])
def test_crafting_leaves_the_statistics_of_batch_normalisation_alone(name, network, split, batch):
    extra = {"trades": {"beta": 6.0}, "sinkhorn_adversarial": QUICK, "ensemble_adversarial": {"clean_weight": 0.5}}
    objective = recipe(name, network, split, **BALL, **extra.get(name, {}))
    before = [weight.numpy() for weight in network.non_trainable_variables]
    objective.diverging(batch[0], 0) if name == "trades" else objective.adversarial(*batch, 0)
    for old, weight in zip(before, network.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


@pytest.mark.parametrize("compared", ["logits", "probabilities"])
def test_sinkhorn_training_adds_the_divergence_of_the_outputs(compared, network, split, batch):
    parameters = {**QUICK, "iterations": 500, "weight": 2.5, "compared": compared}
    objective = recipe("sinkhorn_adversarial", network, split, **BALL, **parameters)
    adversarial = objective.adversarial(*batch, 0)
    clean, perturbed = (network(inputs, training=True).numpy() for inputs in (batch[0], adversarial))
    outputs = (softmax(clean, 1), softmax(perturbed, 1)) if compared == "probabilities" else (clean, perturbed)
    expected = cross_entropy_of(perturbed, split.labels).mean() + 2.5 * divergence_of(*outputs, 1.0)
    assert float(objective.loss(*batch, 0)[0]) == pytest.approx(expected, rel=1e-2)


def test_jacobian_training_adds_half_the_weight_of_the_norm(network, split, batch):
    objective = recipe("jacobian_regularization", network, split, weight=0.8, projections=2, scope="network")
    logits, norms = objective.squared_norms(batch[0], 0)
    expected = (cross_entropy_of(logits.numpy(), split.labels) + 0.4 * norms.numpy()).mean()
    assert float(objective.loss(*batch, 0)[0]) == pytest.approx(expected, rel=1e-4)


def test_quantization_aware_training_attacks_and_fits_the_fake_quantized_network(network, split, batch):
    objective = recipe("quantization_aware_adversarial", network, split, **BALL, calibration_samples=10)
    objective.refresh()
    adversarial = objective.adversarial(*batch, 0)
    quantized = cross_entropy_of(objective.quantized(adversarial).numpy(), split.labels).mean()
    assert float(objective.loss(*batch, 0)[0]) == pytest.approx(quantized, rel=1e-3)
    clean = cross_entropy_of(objective.quantized(batch[0]).numpy(), split.labels).mean()
    assert abs(quantized - clean) > 0.01
    np.testing.assert_array_equal(objective.predict(batch[0]), objective.quantized(batch[0]))
    assert (objective.predict(batch[0]).numpy() != network(batch[0]).numpy()).any()


def test_the_gradient_of_trades_goes_through_both_branches(network, split, batch):
    """The derivative along a random direction of the weights, by finite differences with the same perturbation."""
    import tensorflow as tf

    objective = recipe("trades", network, split, **BALL, beta=6.0)
    adversarial, random = objective.diverging(batch[0], 0), np.random.default_rng(0)
    weights = network.trainable_variables
    with tf.GradientTape() as tape:
        value, _ = objective.loss(*batch, 0)
    gradients = [gradient.numpy() for gradient in tape.gradient(value, [w.value for w in weights])]
    moves = [random.normal(size=weight.shape).astype(np.float32) for weight in weights]

    def loss(step: float) -> float:
        for weight, move in zip(weights, moves, strict=True):
            weight.assign_add(step * move)
        clean, perturbed = (
            log_softmax(network(x, training=True).numpy().astype(float), 1) for x in (batch[0], adversarial)
        )
        for weight, move in zip(weights, moves, strict=True):
            weight.assign_sub(step * move)
        divergence = (np.exp(clean) * (clean - perturbed)).sum(1)
        return float((-clean[np.arange(BATCH), split.labels] + 6 * divergence).mean())

    slope = (loss(1e-4) - loss(-1e-4)) / 2e-4
    assert sum((g * m).sum() for g, m in zip(gradients, moves, strict=True)) == pytest.approx(slope, rel=0.03)


# --- TRADES ----------------------------------------------------------------------------------------------


def test_trades_is_cross_entropy_plus_the_divergence(network, split, batch):
    objective = recipe("trades", network, split, **BALL, beta=6.0)
    adversarial = objective.diverging(batch[0], 0)
    value, _ = objective.loss(*batch, 0)
    clean, perturbed = (log_softmax(network(x, training=True).numpy(), 1) for x in (batch[0], adversarial))
    cross_entropy = -clean[np.arange(BATCH), split.labels]
    expected = cross_entropy + 6 * (np.exp(clean) * (clean - perturbed)).sum(1)
    assert float(value) == pytest.approx(expected.mean(), rel=1e-3)


def test_trades_perturbs_within_the_ball_to_where_outputs_differ(network, split, batch):
    from qnn_robustness.training.trades import divergence

    objective = recipe("trades", network, split, epsilon=0.1, step_size=0.02, steps=10, beta=1.0)
    adversarial = objective.diverging(batch[0], 0)
    assert np.abs(adversarial - batch[0]).max() <= 0.1 + 1e-6
    random = np.clip(batch[0] + np.random.default_rng(0).choice([-0.1, 0.1], batch[0].shape), 0, 1)
    clean = objective.predict(batch[0])
    found, chance = (divergence(clean, objective.predict(x)).numpy() for x in (adversarial, random))
    assert (found > chance).all()


def test_trades_climbs_the_divergence_of_the_perturbed_outputs_from_the_clean_ones(network, split, batch, monkeypatch):
    """From a start farther away, where the divergence the other way round has another gradient."""
    import tensorflow as tf

    from qnn_robustness.training import trades

    monkeypatch.setattr(trades, "START", 0.2)
    objective = recipe("trades", network, split, epsilon=0.5, step_size=0.2, steps=4, beta=1.0)
    clean = tf.nn.softmax(network(batch[0]))

    def climbed(loss) -> tf.Tensor:
        lowest, highest = tf.maximum(batch[0] - 0.5, 0), tf.minimum(batch[0] + 0.5, 1)
        start = 0.2 * tf.random.stateless_normal(batch[0].shape, objective.draw(0))
        points = tf.clip_by_value(batch[0] + start, lowest, highest)
        for _ in range(4):
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = loss(tf.nn.softmax(network(points)))
            points = tf.clip_by_value(points + 0.2 * tf.sign(tape.gradient(value, points)), lowest, highest)
        return points

    def divergence(one, from_other) -> tf.Tensor:
        return tf.reduce_sum(one * tf.math.log(one / from_other))

    expected = climbed(lambda perturbed: divergence(clean, perturbed))
    other = climbed(lambda perturbed: divergence(perturbed, clean))
    found = objective.diverging(batch[0], 0).numpy()
    near, far = (np.isclose(found, points.numpy(), atol=1e-3).mean() for points in (expected, other))
    assert near > 0.98
    assert far < near - 0.02, "the test would see the other direction"


# --- Jacobian regularization -----------------------------------------------------------------------------


def exact_squared_norms(function, samples) -> np.ndarray:
    """Return the squared Frobenius norm of each sample's Jacobian by automatic differentiation."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(samples)
        outputs = tf.reshape(function(samples), (len(samples), -1))
    return (tape.batch_jacobian(outputs, samples).numpy() ** 2).reshape(len(samples), -1).sum(1)


@pytest.mark.parametrize("scope", ["network", "layers"])
def test_projections_estimate_the_norm_of_the_jacobian(scope, split):
    """Without batch normalisation, so that a sample repeated in a batch has the Jacobian it has alone."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    inputs = keras.Input((3, 3, 1))
    convolution = keras.layers.Conv2D(2, 2, activation="tanh")(inputs)
    network = keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(convolution)))
    objective = recipe("jacobian_regularization", network, split, weight=1.0, projections=1, scope=scope)
    samples = tf.constant(np.random.default_rng(0).random((2, 3, 3, 1)), tf.float32)
    exact = exact_squared_norms(network, samples)
    if scope == "layers":
        hidden = keras.Model(inputs, convolution)
        exact = exact + exact_squared_norms(hidden, samples) * CLASSES / np.prod(hidden.output_shape[1:])
    draws = 4000
    _, estimates = objective.squared_norms(tf.repeat(samples, draws, axis=0), 0)
    estimates = estimates.numpy().reshape(2, draws)
    error = estimates.std(1) / np.sqrt(draws)
    assert (np.abs(estimates.mean(1) - exact) < 4 * error).all()
    assert (error < 0.03 * exact).all(), "the test would see a wrong factor"


def test_every_layer_with_a_kernel_counts(split):
    """A separable convolution has two, neither of which is called `kernel`."""
    import keras

    layers = [keras.layers.SeparableConv2D(3, 3), keras.layers.BatchNormalization(), keras.layers.PReLU()]
    layers += [keras.layers.DepthwiseConv2D(2), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    network = keras.Sequential([keras.Input(SHAPE), *layers])
    objective = recipe("jacobian_regularization", network, split, weight=1.0, projections=1, scope="layers")
    outputs = objective.outputs.outputs
    assert [output.shape[1:] for output in outputs] == [(CLASSES,), (4, 4, 3), (3, 3, 3)]


def test_layers_are_those_that_the_network_calls(split):
    """A network grown by `add` has called its first layers again and again; a shared layer counts at each call."""
    import keras

    grown = keras.Sequential([keras.Input(SHAPE)])
    for layer in (keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(CLASSES)):
        grown.add(layer)
    inputs, shared = keras.Input(SHAPE), keras.layers.Conv2D(1, 3)
    twice = keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(shared(shared(inputs)))))
    for network, hidden in ((grown, [(4, 4, 2)]), (twice, [(4, 4, 1), (2, 2, 1)])):
        objective = recipe("jacobian_regularization", network, split, weight=1.0, projections=1, scope="layers")
        assert [output.shape[1:] for output in objective.outputs.outputs[1:]] == hidden
        calls = [node for nodes in objective.outputs._nodes_by_depth.values() for node in nodes if not node.is_input]
        assert len(calls) == 3 + (network is twice), "no layer is run once more for its Jacobian"


def test_one_output_needs_no_luck(split):
    """With one logit every direction is the only one: each projection gives the exact norm."""
    import keras
    import tensorflow as tf

    network = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    objective = recipe("jacobian_regularization", network, split, weight=1.0, projections=3, scope="network")
    samples = tf.zeros((2, 2, 2, 1))
    _, norms = objective.squared_norms(samples, 0)
    np.testing.assert_allclose(norms, exact_squared_norms(network, samples), rtol=1e-5)


# --- Defensive distillation ------------------------------------------------------------------------------


def test_distillation_mixes_soft_and_hard_labels_at_the_temperature(network, split, batch):
    import keras

    teacher = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    parameters = {"temperature": 5.0, "label_weight": 0.1}
    taught = recipe("defensive_distillation", network, split, teacher, **parameters)
    alone = recipe("defensive_distillation", network, split, **parameters)
    values = [float(objective.loss(*batch, 0)[0]) for objective in (taught, alone)]
    deployed = keras.models.clone_model(network)
    deployed.set_weights(network.get_weights())
    recipe("defensive_distillation", deployed, split, **parameters).finish()
    student = log_softmax(deployed(batch[0], training=True).numpy() / 5, 1)
    soft = softmax(teacher(batch[0]).numpy() / 5, 1)
    hard = np.eye(CLASSES)[split.labels]
    expected = [-((0.1 * hard + 0.9 * soft) * student).sum(1).mean(), -(hard * student).sum(1).mean()]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_distilled_network_has_logits_as_large_as_the_temperature_says(split, tmp_path):
    """Without a teacher it is the network of standard training, and its last layer T times that one's."""
    from qnn_robustness.training.fitting.resume import ResumeFile
    from qnn_robustness.training.fitting.train import train_network

    fitting = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1, "momentum": 0.9, "warmup_epochs": 0, "shift": 0}
    fitting |= {"flip": False, "patience": None, "validation_attack": None}
    parameters = {"standard": {}, "defensive_distillation": {"temperature": 20.0, "label_weight": 0.0}}
    for name, values in parameters.items():
        train_network(
            split, split, architecture="small_cnn", recipe={"method": name, "parameters": values, **fitting}, seed=3,
            network_path=tmp_path / f"{name}.keras", history_path=tmp_path / f"{name}.csv",
            resume=ResumeFile(tmp_path / "resume.npz", "key"),
        )  # fmt: skip
    import keras

    plain, distilled = (keras.saving.load_model(tmp_path / f"{name}.keras").get_weights() for name in parameters)
    for index, (expected, found) in enumerate(zip(plain, distilled, strict=True)):
        factor = 20 if index >= len(plain) - 2 else 1
        np.testing.assert_allclose(found, factor * expected, rtol=1e-6)


def test_distillation_refuses_a_network_without_a_dense_layer_at_its_end(split):
    import keras

    network = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(UserError, match="global_average_pooling2d"):
        recipe("defensive_distillation", network, split, temperature=20.0, label_weight=0.0)


@pytest.mark.parametrize("head", ["averaged", "reshaped", "flattened", "linear", "nested"])
def test_the_logits_of_any_linear_head_are_as_large_as_the_temperature_says(head, split, batch):
    import keras

    layers, inputs = keras.layers, keras.Input(SHAPE)
    nested = keras.Sequential([keras.Input((4, 4, 2)), layers.Flatten(), layers.Dense(CLASSES)])
    heads = {
        "averaged": (layers.Conv2D(CLASSES, 1), layers.GlobalAveragePooling2D()),
        "reshaped": (layers.Conv2D(CLASSES, 4), layers.Reshape((CLASSES,))),
        "flattened": (layers.Conv2D(CLASSES, 4), layers.Flatten()),
        "linear": (layers.Flatten(), layers.Dense(CLASSES), layers.Activation("linear")),
        "nested": (nested,),
    }
    x = layers.Conv2D(2, 3, activation="relu")(inputs)
    for layer in heads[head]:
        x = layer(x)
    network = keras.Model(inputs, x)
    before = network(batch[0]).numpy()
    recipe("defensive_distillation", network, split, temperature=20.0, label_weight=0.0).finish()
    np.testing.assert_allclose(network(batch[0]), 20 * before, rtol=1e-4, atol=1e-5)


def test_distillation_refuses_a_network_that_ends_in_a_sum_of_two_dense_layers(split):
    """The last one alone would be multiplied by the temperature."""
    import keras

    flat = keras.layers.Flatten()(inputs := keras.Input(SHAPE))
    network = keras.Model(inputs, keras.layers.Dense(CLASSES)(flat) + keras.layers.Dense(CLASSES)(flat))
    with pytest.raises(UserError, match=r"ends in add\w* \(Add\), where a Dense or Conv2D layer"):
        recipe("defensive_distillation", network, split, temperature=20.0, label_weight=0.0)


# --- Sinkhorn --------------------------------------------------------------------------------------------


def points(seed: int, count: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((first[:, None].astype(float) - second[None]) ** 2).sum(2)


def plan_of(cost: np.ndarray, regularisation: float) -> np.ndarray:
    """Return the entropic plan between uniform weights by Sinkhorn's scaling of rows and columns in float64."""
    rows, columns = (np.full(size, 1 / size) for size in cost.shape)
    kernel, scale = np.exp(-cost / regularisation), np.ones(cost.shape[1])
    for _ in range(5000):
        left = rows / (kernel @ scale)
        scale = columns / (kernel.T @ left)
    return left[:, None] * kernel * scale


def value_of(plan: np.ndarray, cost: np.ndarray, regularisation: float) -> float:
    return float((plan * cost).sum() + regularisation * (plan * np.log(plan * plan.size)).sum())


def divergence_of(first: np.ndarray, second: np.ndarray, regularisation: float, plan=plan_of) -> float:
    def value(one, other):
        cost = squared(one, other)
        return value_of(plan(cost, regularisation), cost, regularisation)

    return value(first, second) - value(first, first) / 2 - value(second, second) / 2


def sinkhorn(first, second, regularisation, iterations=2000) -> float:
    import tensorflow as tf

    from qnn_robustness.training.fitting.sinkhorn import sinkhorn_divergence

    return float(tf.function(sinkhorn_divergence)(first, second, regularisation, iterations))


@pytest.mark.parametrize("regularisation", [0.5, 1.0, 5.0])
def test_the_divergence_is_that_of_plain_sinkhorn(regularisation):
    expected = divergence_of(points(0), points(1), regularisation)
    assert sinkhorn(points(0), points(1), regularisation) == pytest.approx(expected, rel=2e-3)


def test_the_divergence_is_that_of_pot():
    import ot

    def plan(cost, regularisation):
        weights = [np.full(size, 1 / size) for size in cost.shape]
        return ot.sinkhorn(*weights, cost, regularisation, numItermax=5000, stopThr=1e-12)

    expected = divergence_of(points(0), points(1), 1.0, plan)
    assert sinkhorn(points(0), points(1), 1.0) == pytest.approx(expected, rel=2e-3)


def test_batches_may_differ_in_size():
    first, second = points(0, 4), points(1, 9)
    expected = divergence_of(first, second, 1.0)
    assert sinkhorn(first, second, 1.0) == pytest.approx(expected, rel=2e-3)
    assert sinkhorn(second, first, 1.0) == pytest.approx(expected, rel=2e-3)
    assert sinkhorn(np.repeat(first, 2, axis=0), first, 1.0) == pytest.approx(0, abs=1e-4)  # the same, counted twice


def test_without_regularisation_it_becomes_exact_transport():
    first, second = points(0), points(1)
    count = len(first)
    rows, columns = np.kron(np.eye(count), np.ones(count)), np.kron(np.ones(count), np.eye(count))
    exact = linprog(squared(first, second).ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.full(2 * count, 1 / count))
    errors = [abs(sinkhorn(first, second, r, 5000) - exact.fun) for r in (1.0, 0.1, 0.02)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 * exact.fun


def test_equal_batches_have_no_divergence_and_others_a_positive_one():
    assert sinkhorn(points(0), points(0), 1.0) == pytest.approx(0, abs=1e-6)
    assert sinkhorn(points(0), points(0)[::-1], 1.0) == pytest.approx(0, abs=1e-4)
    for seed in range(1, 6):
        assert sinkhorn(points(0), points(seed), 1.0) > 0


def test_few_iterations_bound_the_cost_from_below():
    from qnn_robustness.training.fitting.sinkhorn import transport_cost

    cost = squared(points(0), points(1)).astype(np.float32)[None] * 30
    values = [float(transport_cost(cost, 1.0, iterations)[0]) for iterations in (1, 3, 10, 100)]
    assert values == sorted(values)


def test_its_gradient_is_that_of_finite_differences():
    import tensorflow as tf

    from qnn_robustness.training.fitting.sinkhorn import sinkhorn_divergence

    first, second = points(0), points(1)
    with tf.GradientTape() as tape:
        moved = tf.constant(second)
        tape.watch(moved)
        value = sinkhorn_divergence(first, moved, 1.0, 2000)
    gradient = tape.gradient(value, moved).numpy()
    for place in ((0, 0), (3, 2), (6, 1)):
        up, down = second.astype(float), second.astype(float)
        up[place] += 1e-4
        down[place] -= 1e-4
        slope = (divergence_of(first, up, 1.0) - divergence_of(first, down, 1.0)) / 2e-4
        assert gradient[place] == pytest.approx(slope, rel=0.01, abs=2e-4)


def test_the_soft_minimum_is_scipys():
    from qnn_robustness.training.fitting.sinkhorn import _soft_minimum

    values = points(0)
    expected = -0.1 * logsumexp(-values.astype(float) / 0.1, axis=1, b=1 / 3)
    np.testing.assert_allclose(_soft_minimum(values, 0.1, axis=1), expected, rtol=1e-4)


# --- Ensemble adversarial training -----------------------------------------------------------------------


def test_static_samples_are_moved_as_their_samples_are_and_drawn_for_each_batch():
    samples = np.random.default_rng(0).integers(0, 100, (40, 5, 5, 1), dtype=np.uint8)
    split = Split(samples, np.arange(40))
    static = [[samples + np.uint8(50), samples + np.uint8(100)]]
    batches = Batches(split, 4, seed=0, shift=0, flip=True, static=static)
    drawn = set()
    for clean, labels, version, own in batches:
        added = np.rint((version - clean) * 255)
        assert np.unique(added).size == 1
        drawn.add((float(added.flat[0]), bool(own)))
        plain = Batches(split, 4, seed=0, shift=0, flip=True)
        np.testing.assert_array_equal(clean, next(images for images, names in plain if (names == labels).all()))
    assert drawn == {(50.0, False), (100.0, False), (0.0, True)}


def test_each_network_is_drawn_as_often_however_many_attacks_it_has():
    samples = np.zeros((2000, 2, 2, 1), np.uint8)
    static = [[samples + np.uint8(1), samples + np.uint8(2)], [samples + np.uint8(3)]]
    batches = Batches(Split(samples, np.zeros(2000, np.int64)), 1, seed=0, static=static)
    drawn = np.array([0 if own else round(float(version.max()) * 255) for _, _, version, own in batches])
    shares = np.bincount(drawn, minlength=4) / 2000
    np.testing.assert_allclose(shares, [1 / 3, 1 / 6, 1 / 6, 1 / 3], atol=0.04)


def test_an_ensemble_takes_static_samples_or_its_own(network, split, batch):
    import tensorflow as tf

    objective = recipe("ensemble_adversarial", network, split, **BALL, clean_weight=0.3)
    static = tf.clip_by_value(batch[0] + 0.1, 0, 1)

    def expected(adversarial):
        losses = [
            -log_softmax(network(inputs, training=True).numpy(), 1)[np.arange(BATCH), split.labels].mean()
            for inputs in (batch[0], adversarial)
        ]
        return 0.3 * losses[0] + 0.7 * losses[1]

    taken, _ = objective.loss(*batch, 0, static, tf.constant(False))
    assert float(taken) == pytest.approx(expected(static), rel=1e-4)
    own = objective.adversarial(*batch, 0)
    made, _ = objective.loss(*batch, 0, static, tf.constant(True))
    assert float(made) == pytest.approx(expected(own), rel=1e-3)
