"""Training of density models: the gradient's network is the one that is used, and a kill changes nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from density_builder import random_weights

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.splits import Split
from qnn_robustness.models.density.pixel_cnn import PixelCNN, load_density
from qnn_robustness.training.fitting.batches import Batches

RECIPE = {
    "width": 8, "layers": 1, "mixtures": 2, "epochs": 4, "batch_size": 16, "learning_rate": 0.01, "warmup_epochs": 0.5,
    "flip": True, "seed": 0,
}  # fmt: skip


def slopes(count: int, seed: int) -> Split:
    """Rows that rise by the same step from pixel to pixel: all but their first values can be told."""
    random = np.random.default_rng(seed)
    starts, step = random.integers(0, 150, (count, 5, 1, 1)), random.integers(5, 15, (count, 1, 1, 1))
    return Split((starts + step * np.arange(6)[:, None]).astype(np.uint8), np.zeros(count, np.int64))


def trained(folder, name: str, validation: Split) -> tuple[PixelCNN, pd.DataFrame]:
    from qnn_robustness.training.density.train import train_density
    from qnn_robustness.training.fitting.resume import ResumeFile

    paths = {"density_path": folder / f"{name}.npz", "history_path": folder / f"{name}.csv"}
    train_density(slopes(160, 0), validation, **RECIPE, **paths, resume=ResumeFile(folder / "resume.npz", "key"))
    return load_density(paths["density_path"]), pd.read_csv(paths["history_path"])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_with_a_gradient_is_the_one_without(channels: int) -> None:
    from qnn_robustness.training.density.network import TrainablePixelCNN

    weights = random_weights(channels)
    network, density = TrainablePixelCNN(channels, 4, 2, 3), PixelCNN(weights)
    assert network.arrays().keys() == weights.keys()
    for name, values in weights.items():
        network.named[name].assign(values)
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, channels), dtype=np.uint8)
    images[0], images[1] = 0, 255
    floats = images.astype(np.float32)
    np.testing.assert_allclose(network(floats), density.outputs(images), atol=1e-4)
    np.testing.assert_allclose(network.bits_per_dimension(floats), density.bits_per_dimension(images), rtol=1e-4)


def test_training_learns_keeps_the_best_epoch_and_survives_a_kill(tmp_path, monkeypatch) -> None:
    validation = slopes(40, 1)
    undisturbed, history = trained(tmp_path, "undisturbed", validation)
    bits = undisturbed.bits_per_dimension(validation.samples).mean()
    assert bits == pytest.approx(history["val_bits_per_dimension"].min(), abs=1e-4)
    frequencies = np.bincount(validation.samples.ravel()) / validation.samples.size
    frequencies = frequencies[frequencies > 0]
    alone = -(frequencies * np.log2(frequencies)).sum()  # fewest bits where nothing is known of the pixels before
    assert bits < alone - 0.5

    start = Batches.start_epoch

    def killed(batches: Batches, epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        start(batches, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "start_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, "resumed", validation)
    assert (tmp_path / "resume.npz").exists()
    resumed, again = trained(tmp_path, "resumed", validation)
    assert not (tmp_path / "resume.npz").exists()
    for name, values in undisturbed.weights.items():
        np.testing.assert_array_equal(values, resumed.weights[name])
    assert history.drop(columns="seconds").equals(again.drop(columns="seconds"))


def test_an_empty_validation_split_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="validation split is empty"):
        trained(tmp_path, "density", slopes(0, 1))
