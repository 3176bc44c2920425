"""Throughput of the integer model beside the float32 network and TFLite's kernels, in one run.

    python benchmarks/integer_model.py [--network float.h5 --int8 a.tflite --int16 b.tflite] [--repeats 7]

Without files, a ResNet-8 for 32x32 images with random weights is made and converted. One thread, batch 100.
Each round measures every candidate once, in turn; the fastest round counts, so that other load on the
machine disturbs least. Writes benchmarks/integer_model.csv: what, precision, kernels, samples_per_second,
ratio_to_float32 (float32 time of the same task divided by this time), ratio_to_tflite (throughput over that
of the TFLite interpreter on the same kernels).
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in all jobs
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel  # noqa: E402
from qnn_robustness.quantization.tflite_model import TFLiteModel  # noqa: E402

BATCH = 100  # as attacks take by default
# TFLite's slow kernels are measured on fewer samples.
FEW = 16
COLUMNS = ("what", "precision", "kernels", "samples_per_second", "ratio_to_float32", "ratio_to_tflite")


def resnet8() -> keras.Model:
    """The MLPerf Tiny ResNet-8 (Banbury et al. 2021) with random weights and logits."""
    layers = keras.layers
    x = source = layers.Input((32, 32, 3))

    def convolve(x, filters, stride=1, activate=True):
        x = layers.BatchNormalization()(layers.Conv2D(filters, 3, stride, "same")(x))
        return layers.ReLU()(x) if activate else x

    x = convolve(x, 16)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = convolve(convolve(x, filters, stride), filters, activate=False)
        shortcut = x if stride == 1 else layers.Conv2D(filters, 1, stride, "same")(x)
        x = layers.ReLU()(layers.add([shortcut, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(source, layers.Dense(10)(x))


def convert(network: keras.Model, precision: str, path: Path) -> Path:
    """Convert with random calibration inputs: speed does not depend on their distribution."""
    random = np.random.default_rng(0)
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [random.uniform(0, 1, (1, *network.input_shape[1:])).astype(np.float32)] for _ in range(20)
    )
    ops = tf.lite.OpsSet
    converter.target_spec.supported_ops = [
        ops.TFLITE_BUILTINS_INT8
        if precision == "int8"
        else ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    converter.inference_input_type = converter.inference_output_type = tf.as_dtype(precision)
    path.write_bytes(converter.convert())
    return path


def tasks(logits: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> dict[str, Callable[[], object]]:
    """Forward pass, and forward pass with the input gradient of the cross-entropy, both compiled."""
    labels = tf.zeros(len(x), tf.int32)
    forward = tf.function(logits, input_signature=[tf.TensorSpec((None, *x.shape[1:]))])

    @tf.function(input_signature=[tf.TensorSpec((None, *x.shape[1:]))])
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(x)))
        return tape.gradient(loss, x)

    return {"forward": lambda: forward(x).numpy(), "gradient": lambda: gradient(x).numpy()}


def measure(candidates: dict[tuple, tuple[Callable[[], object], int]], repeats: int) -> dict[tuple, float]:
    """Return samples per second of each candidate: the best of `repeats` rounds after one to warm up."""
    best = dict.fromkeys(candidates, np.inf)
    for round_number in range(repeats + 1):
        for key, (run, samples) in candidates.items():
            start = time.perf_counter()
            run()
            if round_number:
                best[key] = min(best[key], (time.perf_counter() - start) / samples)
    return {key: 1 / seconds for key, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, help="float32 Keras network")
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--int16", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "integer_model.csv")
    arguments = parser.parse_args()
    network = keras.models.load_model(arguments.network, compile=False) if arguments.network else resnet8()
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            precision: getattr(arguments, precision) or convert(network, precision, Path(folder) / precision)
            for precision in KERNELS
        }
        rows = table(network, paths, arguments.repeats)
    with arguments.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    for row in (COLUMNS, *rows):
        print(*row, sep="\t")


def table(network: keras.Model, paths: dict[str, Path], repeats: int) -> list[tuple]:
    """Measure everything and return the rows of the table."""
    x = tf.constant(np.random.default_rng(0).uniform(0, 1, (BATCH, *network.input_shape[1:])), tf.float32)
    candidates = {}
    for task, run in tasks(lambda x: network(x, training=False), x).items():
        candidates[task, "float32", "keras"] = run, BATCH
    for precision, path in paths.items():
        for kernels in KERNELS[precision]:
            model = IntegerModel.from_file(path, kernels)
            for task, run in tasks(model.logits, x).items():
                candidates[task, precision, kernels] = run, BATCH
            codes = model.quantize(x.numpy()[: BATCH if kernels == "xnnpack" else FEW])
            candidates["tflite", precision, kernels] = _interpreter(model, path, codes), len(codes)
    speed = measure(candidates, repeats)
    rows = []
    for (task, precision, kernels), samples_per_second in speed.items():
        of_float = of_tflite = ""
        if task != "tflite":
            of_float = f"{samples_per_second / speed[task, 'float32', 'keras']:.3f}"
        if task == "forward" and precision != "float32":
            of_tflite = f"{samples_per_second / speed['tflite', precision, kernels]:.3f}"
        rows.append((task, precision, kernels, round(samples_per_second), of_float, of_tflite))
    return rows


def _interpreter(model: IntegerModel, path: Path, codes: np.ndarray) -> Callable[[], np.ndarray]:
    network, inputs = TFLiteModel(path, model.kernels), model.as_file_input(codes)
    return lambda: network.run(inputs)


if __name__ == "__main__":
    main()
