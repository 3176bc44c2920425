"""Training recipes: reproducible, effective, and what they promise about batches and checkpoints."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.batches import Batches, augment

RECIPE = {
    "method": "standard",
    "initial": None,
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.05,
    "momentum": 0.9,
    "warmup_epochs": 1,
    "shift": 1,
    "flip": True,
    "patience": None,
    "validation_attack": None,
    "parameters": {},
}
PGD = {**RECIPE, "method": "pgd_adversarial", "parameters": {"epsilon": 0.1, "step_size": 0.05, "steps": 3}}


def bars(count: int, seed: int) -> Split:
    """Horizontal and vertical bars in noise: two classes that a small network separates."""
    random = np.random.default_rng(seed)
    samples = random.integers(0, 100, (count, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(count) % 2
    for sample, label, place in zip(samples, labels, random.integers(0, 8, count), strict=True):
        (sample if label else sample.swapaxes(0, 1))[place] += 150
    return Split(samples, labels)


def trained(recipe, tmp_path, name="network", splits=None, **inputs):
    import keras
    import pandas as pd

    from qnn_robustness.training.fitting.resume import ResumeFile
    from qnn_robustness.training.fitting.train import train_network

    path, history = tmp_path / f"{name}.keras", tmp_path / f"{name}.csv"
    train_network(
        *(splits or (bars(200, 0), bars(60, 1))),
        architecture="small_cnn",
        recipe=recipe,
        seed=3,
        network_path=path,
        history_path=history,
        resume=ResumeFile(tmp_path / "resume.npz", "key"),
        **inputs,
    )
    return keras.saving.load_model(path), pd.read_csv(history), path


@pytest.fixture(scope="module")
def standard(tmp_path_factory):
    return trained(RECIPE, tmp_path_factory.mktemp("standard"))


def test_the_network_kept_is_that_of_the_best_epoch(standard):
    network, history, _ = standard
    validation = bars(60, 1)
    logits = np.asarray(network(validation.samples.astype(np.float32) / 255))
    assert (logits.argmax(axis=1) == validation.labels).mean() == pytest.approx(history["val_accuracy"].max(), abs=1e-6)


def test_the_learning_rate_rises_and_falls_to_zero(standard):
    _, history, _ = standard
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["learning_rate"].iloc[0] == pytest.approx(0.05)
    assert history["learning_rate"].iloc[-1] == pytest.approx(0, abs=1e-9)


def test_fine_tuning_starts_from_the_given_network(standard, tmp_path):
    network, _, path = standard
    still = {**PGD, "epochs": 1, "learning_rate": 1e-12}
    tuned, _, _ = trained(still, tmp_path, "tuned", initial=path)
    for one, other in zip(network.get_weights(), tuned.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_ranges_of_activations_are_taken_anew_before_training_and_before_validation(
    standard, tmp_path, monkeypatch
):
    from qnn_robustness.quantization.fake_quantized import FakeQuantized

    calibrate, weights = FakeQuantized.calibrate, []

    def recorded(quantized, samples):
        weights.append(np.concatenate([weight.ravel() for weight in quantized.network.get_weights()]))
        calibrate(quantized, samples)

    monkeypatch.setattr(FakeQuantized, "calibrate", recorded)
    parameters = {**PGD["parameters"], "calibration_samples": 50}
    recipe = {**PGD, "method": "quantization_aware_adversarial", "epochs": 2, "parameters": parameters}
    trained(recipe, tmp_path, "tuned", initial=standard[2])
    changed = [(one != other).any() for one, other in pairwise(weights)]
    assert changed == [True, False, True], "an epoch of training, its validation, and the same for the next"


def test_pgd_samples_stay_in_the_ball_and_raise_the_loss(standard):
    import tensorflow as tf

    from qnn_robustness.training.fitting.objective import Material
    from qnn_robustness.training.pgd_adversarial import objective

    network, _, _ = standard
    split = bars(40, 2)
    samples, labels = tf.constant(split.samples.astype(np.float32) / 255), tf.constant(split.labels)
    recipe = objective(network, Material(0, split), epsilon=0.1, step_size=0.05, steps=5)
    adversarial = recipe.adversarial(samples, labels, 0)
    assert np.abs(adversarial - samples).max() <= 0.1 + 1e-6
    assert adversarial.numpy().min() >= 0
    assert adversarial.numpy().max() <= 1

    def loss(inputs):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, network(inputs)).numpy()

    assert (loss(adversarial) >= loss(samples) - 1e-4).mean() > 0.9
    np.testing.assert_array_equal(adversarial, recipe.adversarial(samples, labels, 0))
    assert (adversarial != recipe.adversarial(samples, labels, 1)).numpy().any()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_is_that_of_nesterov_along_the_gradient_with_weight_decay(momentum, tmp_path):
    """The first step: (1 + momentum) x rate x (gradient of cross-entropy + that of the penalty), in closed form."""
    import keras

    decayed = keras.layers.Dense(2, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.1))
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), decayed]).save(tmp_path / "initial.keras")
    (before,) = decayed.get_weights()
    once = {
        **RECIPE,
        "epochs": 1,
        "batch_size": 200,
        "momentum": momentum,
        "warmup_epochs": 0,
        "shift": 0,
        "flip": False,
    }
    network, _, _ = trained(once, tmp_path, initial=tmp_path / "initial.keras")
    split = bars(200, 0)
    inputs = split.samples.reshape(200, -1) / 255
    odds = np.exp(inputs @ before)
    slope = inputs.T @ (odds / odds.sum(axis=1, keepdims=True) - np.eye(2)[split.labels]) / 200 + 2 * 0.1 * before
    np.testing.assert_allclose(network.get_weights()[0], before - (1 + momentum) * 0.05 * slope, atol=1e-5)


class Killed(Exception):
    """Stands for what ends a process."""


def killed_in_epoch(monkeypatch, epoch):
    """Let a training fail when the given epoch (from 0) begins, as a kill would."""
    start = Batches.start_epoch

    def failing(batches, number):
        if number == epoch:
            raise Killed
        start(batches, number)

    monkeypatch.setattr(Batches, "start_epoch", failing)


@pytest.fixture
def stateful(tmp_path):
    """A small network with batch normalisation and dropout: statistics and random states are part of the state."""
    import keras

    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dropout(0.3)]
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *hidden, keras.layers.Dense(2)])
    network.save(tmp_path / "initial.keras")
    return tmp_path / "initial.keras"


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(stateful, tmp_path, monkeypatch, capsys):
    undisturbed, expected, _ = trained(PGD, tmp_path, "undisturbed", initial=stateful)
    with monkeypatch.context() as patch:
        killed_in_epoch(patch, 2)
        with pytest.raises(Killed):
            trained(PGD, tmp_path, "resumed", initial=stateful)
    assert (tmp_path / "resume.npz").exists()
    started = []
    start = Batches.start_epoch
    monkeypatch.setattr(Batches, "start_epoch", lambda self, epoch: (started.append(epoch), start(self, epoch)))
    resumed, history, _ = trained(PGD, tmp_path, "resumed", initial=stateful)
    assert started == [0, 2], "one call by the constructor, then the epoch that is left"
    for one, other in zip(undisturbed.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    without_seconds = [table.drop(columns="seconds") for table in (expected, history)]
    assert without_seconds[0].equals(without_seconds[1])
    assert not (tmp_path / "resume.npz").exists()
    told = [line for line in capsys.readouterr().out.splitlines() if "after epoch" in line]
    assert told == ["going on after epoch 2 of 3"]


def test_a_resume_file_of_another_key_or_a_damaged_one_is_ignored(tmp_path):
    from qnn_robustness.training.fitting.resume import ResumeFile

    file = ResumeFile(tmp_path / "resume.npz", "one")
    assert file.load() is None
    file.save({"best_0": np.arange(3)})
    assert file.load()["best_0"].tolist() == [0, 1, 2]
    assert ResumeFile(file.path, "another").load() is None
    file.path.write_bytes(file.path.read_bytes()[:-30])
    assert file.load() is None


def test_a_resume_file_that_has_lost_an_array_is_ignored(tmp_path, capsys):
    """As when a length in the list of an .npz is wrong, which has no check sum: what follows is not seen."""
    from qnn_robustness.common.files import read_arrays, write_arrays
    from qnn_robustness.training.fitting.resume import ResumeFile

    file = ResumeFile(tmp_path / "resume.npz", "one")
    file.save({"history": np.array("[]"), "network_0": np.arange(3), "best_0": np.arange(3)})
    assert file.load().keys() == {"history", "network_0", "best_0"}
    written = read_arrays(file.path)
    for lost in ("network_0", "best_0", "key"):
        write_arrays(file.path, **{name: array for name, array in written.items() if name != lost})
        assert file.load() is None
        assert capsys.readouterr().out.startswith(f"starting anew: {file.path} ")
    swapped = {"network_0": "best_0", "best_0": "network_1"}
    write_arrays(file.path, **{swapped.get(name, name): array for name, array in written.items()})
    assert file.load() is None


def test_the_log_says_at_once_that_a_training_starts_anew(tmp_path):
    """Also that of a job which is killed before its end."""
    import subprocess
    import sys

    from qnn_robustness.training.fitting.resume import ResumeFile

    ResumeFile(tmp_path / "resume.npz", "one").save({})
    (tmp_path / "damaged.npz").write_bytes(b"PK")
    program = (
        "import os, sys; from qnn_robustness.training.fitting.resume import ResumeFile; "
        "[ResumeFile(path, 'another').load() for path in sys.argv[1:]]; os._exit(0)"
    )
    paths = [str(tmp_path / name) for name in ("resume.npz", "damaged.npz")]
    buffered = {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program, *paths]
    ended = subprocess.run(command, env=buffered, capture_output=True, text=True, check=True)
    lines = ended.stdout.splitlines()
    assert [line.startswith(f"starting anew: {path}") for line, path in zip(lines, paths, strict=True)] == [True] * 2


def test_training_ends_when_no_epoch_is_better_for_long_enough(tmp_path):
    still = {**RECIPE, "epochs": 6, "learning_rate": 1e-12, "patience": 2}
    _, history, _ = trained(still, tmp_path)
    assert len(history) == 3
    assert len(set(history["val_accuracy"])) == 1


def test_a_validation_attack_adds_the_robust_accuracy(tmp_path):
    attacked = {**RECIPE, "epochs": 1, "validation_attack": {"epsilon": 1.0, "step_size": 0.5, "steps": 2}}
    _, history, _ = trained(attacked, tmp_path)
    assert history["val_robust_accuracy"][0] < history["val_accuracy"][0]


def digits(first: int, last: int) -> Split:
    """Handwritten digits of scikit-learn, as 8-bit images."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    samples = np.rint(loaded.images[first:last, ..., None] * (255 / 16)).astype(np.uint8)
    return Split(samples, loaded.target[first:last].astype(np.int64))


def test_adversarial_training_trades_clean_accuracy_for_robust_accuracy(tmp_path):
    """As published: PGD training and TRADES make robust what standard training does not, and cost clean accuracy
    (Madry et al. 2018, section 5; Zhang et al. 2019, table 5); with a beta of 0 TRADES is standard training.
    """
    ball = {"epsilon": 0.15, "step_size": 0.05, "steps": 5}
    common = {**RECIPE, "epochs": 6, "batch_size": 32, "shift": 0, "flip": False}
    common["validation_attack"] = {"epsilon": 0.15, "step_size": 0.03, "steps": 10}
    methods = {"standard": ("standard", {}), "pgd": ("pgd_adversarial", ball)}
    methods |= {f"trades {beta}": ("trades", {**ball, "beta": float(beta)}) for beta in (0, 6)}
    clean, robust = {}, {}
    for name, (method, parameters) in methods.items():
        recipe = {**common, "method": method, "parameters": parameters}
        _, history, _ = trained(recipe, tmp_path, splits=(digits(0, 800), digits(800, 1300)))
        clean[name], robust[name] = history[["val_accuracy", "val_robust_accuracy"]].iloc[-1]
    assert (clean["trades 0"], robust["trades 0"]) == (clean["standard"], robust["standard"])
    assert min(robust["pgd"], robust["trades 6"]) > robust["standard"] + 0.2
    assert max(clean["pgd"], clean["trades 6"]) < clean["standard"]


WATCHED = {"epsilon": 0.2, "step_size": 0.1, "steps": 2}


@pytest.mark.parametrize(
    ("recipe", "monitor", "epsilon"),
    [
        (RECIPE, "val_accuracy", None),
        ({**RECIPE, "validation_attack": WATCHED}, "val_accuracy", 0.2),
        (PGD, "val_robust_accuracy", 0.1),
        ({**PGD, "validation_attack": WATCHED}, "val_robust_accuracy", 0.2),
    ],
)
def test_the_epoch_is_chosen_by_what_the_recipe_is_for(recipe, monitor, epsilon, tmp_path, monkeypatch):
    import pandas as pd

    from qnn_robustness.training.fitting import fit

    seen, history = {}, pd.DataFrame({"val_accuracy": [1.0], "val_robust_accuracy": [1.0]})
    monkeypatch.setattr(fit, "_validation_step", lambda objective, attack, example: seen.update(attack=attack))
    monkeypatch.setattr(fit, "_training_step", lambda *_: None)
    monkeypatch.setattr(fit, "run_epochs", lambda *_, **options: seen.update(options) or history)
    trained(recipe, tmp_path)
    assert seen["monitor"] == monitor
    assert (seen["attack"].epsilon if seen["attack"] else None) == epsilon


def test_a_network_that_has_learned_nothing_is_told(standard, tmp_path, capsys):
    still = {**RECIPE, "epochs": 1, "learning_rate": 1e-12}
    network, _, _ = trained(still, tmp_path, initial=standard[2])
    assert "learned nothing" not in capsys.readouterr().out
    last = network.get_layer("logits")
    last.set_weights([np.zeros_like(weights) for weights in last.get_weights()])
    network.save(tmp_path / "guessing.keras")
    for recipe in (still, {**PGD, "epochs": 1, "learning_rate": 1e-12}):
        trained(recipe, tmp_path, initial=tmp_path / "guessing.keras")
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
        expected = "learned nothing: it is right for 50.0% of 60 validation samples, and 50.0% are of one class; set"
        assert len(lines) == 1
        assert expected in lines[0]


@pytest.mark.parametrize(("recipe", "told"), [(RECIPE, False), (PGD, True)])
def test_what_is_told_is_of_the_epoch_that_is_kept(recipe, told, tmp_path, monkeypatch, capsys):
    """Robust accuracy prefers a network that always names one class to one that attacks always fool."""
    import pandas as pd

    from qnn_robustness.training.fitting import fit

    history = pd.DataFrame({"val_accuracy": [0.9, 0.5], "val_robust_accuracy": [0.1, 0.5]})
    monkeypatch.setattr(fit, "run_epochs", lambda *_, **options: history)
    trained(recipe, tmp_path)
    assert ("learned nothing" in capsys.readouterr().out) == told


def test_a_training_that_diverges_ends_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^the loss is (nan|inf) in epoch 1; set a lower learning_rate, or less"):
        trained({**RECIPE, "learning_rate": 1e6, "warmup_epochs": 0}, tmp_path)
    assert not (tmp_path / "network.keras").exists()


def test_weights_that_are_no_numbers_end_a_training_whose_loss_hides_them(standard, tmp_path):
    """ReLU makes zeros of what they give, and the loss is that of a network which knows nothing."""
    import keras

    network = keras.saving.load_model(standard[2])
    kernel = network.get_layer(index=1).kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    network.save(tmp_path / "initial.keras")
    with pytest.raises(UserError, match=r"^conv2d\w*/kernel holds nan or inf in epoch 1; set a lower learning_rate"):
        trained({**RECIPE, "epochs": 1}, tmp_path, initial=tmp_path / "initial.keras")
    assert not (tmp_path / "network.keras").exists()


@pytest.mark.parametrize(("counts", "empty"), [((0, 20), "training"), ((20, 0), "validation"), ((0, 0), "training")])
def test_an_empty_split_is_refused(counts, empty, tmp_path):
    with pytest.raises(UserError, match=f"^the {empty} split is empty; "):
        trained(RECIPE, tmp_path, splits=(bars(counts[0], 0), bars(counts[1], 1)))


def test_an_epoch_holds_every_sample_once_and_epochs_differ():
    split = Split(np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1), np.arange(50))
    batches = Batches(split, 16, seed=0)
    orders = []
    for epoch in (0, 1):
        batches.start_epoch(epoch)
        orders.append(np.concatenate([labels for _, labels in batches]))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0].tolist() != orders[1].tolist()
    assert len(batches) == 4


def test_augmentation_only_moves_and_mirrors():
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 2, 2] = 9
    random = np.random.default_rng(0)
    for _ in range(20):
        moved = augment(image, random, shift=2, flip=True)
        assert moved.shape == image.shape
        assert sorted(moved.reshape(-1))[-1] == 9
        assert moved.sum() == 9
    np.testing.assert_array_equal(augment(image, random, shift=0, flip=False), image)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (lambda layers, x: layers.Dense(2, activation="softmax", name="end")(x), "ends in end, which gives probab"),
        (lambda layers, x: layers.Softmax(name="end")(layers.Dense(2)(x)), "ends in end, which gives probabilities"),
        (lambda layers, x: inner(layers.Dense(2, "softmax", name="end"), x), "ends in end, which gives probabilities"),
        (lambda layers, x: layers.Dense(1)(x), r"outputs of shape \(None, 1\); expected \(None, 2\)$"),
        (lambda layers, x: layers.Dense(2)(layers.Lambda(lambda y: 2 * y)(x)), "no Lambda$"),
        (lambda layers, x: layers.Dense(2)(own_layer(layers)()(x)), "take layers of keras.layers"),
        (lambda layers, x: None, r"expected keras.Model\(inputs, logits\)$"),
    ],
)
def test_an_architecture_that_later_jobs_could_not_use_is_one_line(ending, message, tmp_path, monkeypatch):
    import keras

    from qnn_robustness.models import small_cnn

    def build(shape, classes):
        inputs = keras.Input(shape)
        outputs = ending(keras.layers, keras.layers.Flatten()(inputs))
        return keras.Sequential([keras.layers.Dense(2)]) if outputs is None else keras.Model(inputs, outputs)

    monkeypatch.setattr(small_cnn, "build", build)
    with pytest.raises(UserError, match=f"^qnn_robustness/models/small_cnn.py: .*{message}"):
        trained(RECIPE, tmp_path)
    assert not list(tmp_path.iterdir())


def inner(layer, x):
    """Return what a network of one layer, called as a layer itself, makes of `x`."""
    import keras

    return keras.Sequential([keras.Input(x.shape[1:]), layer])(x)


def own_layer(layers):
    """Return a layer that only the process knows which has registered it."""
    import keras

    @keras.saving.register_keras_serializable("tests")
    class Square(layers.Layer):
        def call(self, inputs):
            return inputs**2

    return Square
