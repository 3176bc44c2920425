"""What a network costs on a microcontroller, against closed forms and exhaustive search."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from density_builder import density_file, random_density
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_builder import Builder

from qnn_robustness.evaluation.cost_and_robustness import cost_and_robustness
from qnn_robustness.evaluation.device_cost import device_cost, fits
from qnn_robustness.quantization.device import ALIGNMENT, NO_PRODUCTS, PRODUCTS, Buffer, Cost, cost, lifetimes, plan
from qnn_robustness.quantization.flatbuffer import read_graph
from qnn_robustness.quantization.integer_model.operators import LAYERS

ROOT = Path(__file__).resolve().parents[2]
RESNET = ROOT / "reference_models" / "cifar10_resnet8" / "pgd_adversarial"


def convolution(size: int, kernel: int, before: int, after: int) -> int:
    return size * size * kernel * kernel * before * after


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    """A convolution, a depthwise convolution with stride, an addition to itself, and a dense layer."""
    builder = Builder()
    source = builder.tensor(np.int8, [1, 8, 8, 3], 0.5)
    weights = builder.constant(np.zeros((5, 3, 3, 3), np.int8), 0.1)
    first = builder.tensor(np.int8, [1, 8, 8, 5], 0.5)
    builder.operator("CONV_2D", [source, weights], [first], "Conv2DOptions", strideH=1, strideW=1)
    depthwise = builder.constant(np.zeros((1, 3, 3, 5), np.int8), 0.1)
    second = builder.tensor(np.int8, [1, 4, 4, 5], 0.5)
    builder.operator("DEPTHWISE_CONV_2D", [first, depthwise], [second], "DepthwiseConv2DOptions", strideH=2, strideW=2)
    third = builder.tensor(np.int8, [1, 4, 4, 5], 0.5)
    builder.operator("ADD", [second, second], [third], "AddOptions")
    dense = builder.constant(np.zeros((7, 80), np.int8), 0.1)
    output = builder.tensor(np.int8, [1, 7], 0.5)
    builder.operator("FULLY_CONNECTED", [third, dense, -1], [output], "FullyConnectedOptions")
    return builder.save(tmp_path_factory.mktemp("device") / "net.tflite", [source], [output])


def test_work_is_counted_by_hand(path):
    assert cost(path).macs == 8 * 8 * 9 * 3 * 5 + 4 * 4 * 9 * 5 + 80 * 7
    assert cost(path).flash == Path(path).stat().st_size


def test_activations_live_from_their_maker_to_their_last_reader(path):
    source, first, second, third, output = lifetimes(read_graph(path))
    assert source == Buffer(192, -1, 0)
    assert first == Buffer(320, 0, 1)
    assert (second, third) == (Buffer(80, 1, 2), Buffer(80, 2, 3))
    assert output == Buffer(ALIGNMENT, 3, 4)  # 7 bytes, aligned; there until the end
    assert cost(path).arena == 192 + 320


@pytest.mark.parametrize(("precision", "bytes_a_value"), [("int8", 1), ("int16", 2)])
def test_resnet8_of_mlperf_tiny(precision, bytes_a_value):
    """12.5 million multiply-accumulates (Banbury et al. 2021); at its widest, a block holds three maps of 32x32x16."""
    measured = cost(RESNET / f"{precision}.tflite")
    macs = convolution(32, 3, 3, 16) + 2 * convolution(32, 3, 16, 16)
    for size, before, after in ((16, 16, 32), (8, 32, 64)):
        macs += convolution(size, 3, before, after) + convolution(size, 3, after, after)
        macs += convolution(size, 1, before, after)
    assert measured.macs == macs + 64 * 10
    assert measured.macs == pytest.approx(12.5e6, rel=0.01)
    assert measured.arena == 3 * 32 * 32 * 16 * bytes_a_value


def test_transposed_and_grouped_convolutions_are_counted_by_hand(tmp_path):
    builder = Builder()
    source, middle = builder.tensor(np.int8, [1, 4, 6, 8], 0.5), builder.tensor(np.int8, [1, 4, 6, 4], 0.5)
    groups, filters = (builder.constant(np.ones(shape, np.int8), 0.1) for shape in ((4, 3, 3, 2), (5, 3, 2, 4)))
    builder.operator("CONV_2D", [source, groups], [middle], "Conv2DOptions", strideH=1, strideW=1)
    output, shape = builder.tensor(np.int8, [1, 8, 12, 5], 0.5), builder.shape_of_batch(middle, [8, 12, 5])
    options = {"strideH": 2, "strideW": 2}
    builder.operator("TRANSPOSE_CONV", [shape, filters, middle], [output], "TransposeConvOptions", **options)
    path = builder.save(tmp_path / "transposed.tflite", [source], [output])
    assert cost(path).macs == (4 * 6 * 4) * (3 * 3 * 2) + (4 * 6 * 4) * (5 * 3 * 2)


def test_the_products_of_an_unknown_operator_are_not_known(tmp_path):
    builder = Builder()
    source = builder.tensor(np.int8, [1, 4], 0.5)
    output = builder.tensor(np.int8, [1, 4], 0.5)
    builder.operator("LSTM", [source], [output])
    path = builder.save(tmp_path / "lstm.tflite", [source], [output])
    assert np.isnan(cost(path).macs)
    assert cost(path).arena == 2 * ALIGNMENT
    table = device_cost([network(paths=[path], defenses=["none"])], {"none": [NONE]})
    assert table["macs"].isna().all()
    assert table.to_csv(index=False, columns=["macs", "fits"]).splitlines()[1] == ",64 KB / 256 KB"


def size_of(buffers: list[Buffer], places: list[int]) -> int:
    return max(place + buffer.size for place, buffer in zip(places, buffers, strict=True))


def lowest(buffers: list[Buffer]) -> int:
    """Return the smallest arena of all: some order of placing each buffer as low as possible reaches it."""
    best = sum(buffer.size for buffer in buffers)
    for order in permutations(range(len(buffers))):
        places: dict[int, int] = {}
        for index in order:
            rivals = [i for i in places if buffers[i].overlaps(buffers[index])]
            free = (
                start
                for start in sorted({0, *(places[i] + buffers[i].size for i in rivals)})
                if all(start + buffers[index].size <= places[i] or places[i] + buffers[i].size <= start for i in rivals)
            )
            places[index] = next(free)
        best = min(best, size_of(buffers, [places[i] for i in range(len(buffers))]))
    return best


BUFFERS = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size * ALIGNMENT, first, first + length),
        st.integers(1, 6),
        st.integers(-1, 4),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(BUFFERS)
def test_no_two_buffers_share_memory_and_the_arena_is_no_smaller_than_possible(buffers):
    places = plan(buffers)
    for i, one in enumerate(buffers):
        for j, other in enumerate(buffers[:i]):
            apart = places[i] + one.size <= places[j] or places[j] + other.size <= places[i]
            assert apart or not one.overlaps(other)
    live = [sum(b.size for b in buffers if b.first <= time <= b.last) for time in range(-1, 9)]
    least = lowest(buffers)
    assert max(live) <= least <= size_of(buffers, places) <= sum(b.size for b in buffers)


def test_the_plan_is_greedy_by_size_even_where_another_is_smaller():
    """The four largest of vww_96_int8.tflite of MLPerf Tiny, in a chain, of which TensorFlow Lite Micro
    makes 73,728 bytes: the two largest are placed first, one upon the other, and of the two equal ones the last.
    """
    chain = [Buffer(27648, -1, 0), Buffer(18432, 0, 1), Buffer(18432, 1, 2), Buffer(36864, 2, 3)]
    assert plan(chain) == [0, 55296, 36864, 0]
    assert size_of(chain, plan(chain)) == 73728
    assert lowest(chain) == 18432 + 36864


def network(**changes) -> dict:
    entry = {"model": "m", "training": "t", "precision": "int8", "paths": [str(RESNET / "int8.tflite")]}
    return {**entry, "defenses": ["none", "bits"], **changes}


NONE, BITS = {"method": None, "parameters": {}}, {"method": "bit_depth", "parameters": {"bits": 4}}
MEDIAN = {"method": "median_smoothing", "parameters": {"window": 2}}


def test_the_table_has_a_row_for_each_pipeline():
    table = device_cost([network()], {"none": [NONE], "bits": [BITS]})
    assert table["inferences"].tolist() == [1, 1]
    assert table["preprocessor"].tolist() == ["none", "bits"]
    assert table["operations"].tolist() == [0, 3 * 32 * 32 * 3]
    assert table["macs"].unique().tolist() == [12501632]
    assert table["fits"].unique().tolist() == ["64 KB / 256 KB"]


def test_a_class_of_microcontrollers_holds_what_fills_it():
    full = Cost(macs=1, flash=256 * 1024, arena=64 * 1024)
    assert fits(full) == "64 KB / 256 KB"
    assert fits(replace(full, arena=full.arena + 1)) == fits(replace(full, flash=full.flash + 1)) == "128 KB / 512 KB"
    assert fits(replace(full, arena=1025 * 1024)) == fits(replace(full, flash=2049 * 1024)) == ""


def test_a_detector_runs_the_network_behind_each_squeezer_and_keeps_the_sample():
    fronts = {"none": [NONE], "squeezing": [NONE, BITS, MEDIAN]}
    plain, detector = device_cost([network(defenses=["none", "squeezing"])], fronts).to_dict("records")
    assert (plain["inferences"], detector["inferences"]) == (1, 3)
    assert detector["macs"] == 3 * 12501632
    assert detector["operations"] == 3072 * (3 + 6)  # the median of four by insertion: six comparisons
    assert detector["flash"] == plain["flash"]
    assert detector["arena"] == plain["arena"] + 3072


def test_a_density_model_needs_flash_and_memory_of_its_own():
    pixels = {"method": "pixel_defend", "parameters": {"density": density_file(3), "epsilon": 0.1}}
    plain, behind = device_cost([network(defenses=["none", "pixels"])], {"none": [NONE], "pixels": [pixels]}).to_dict(
        "records"
    )
    assert behind["flash"] == plain["flash"] + 4 * random_density(3).parameters
    assert behind["arena"] == plain["arena"]  # two layers of four features fit into what the network needs later
    wide = {"method": "pixel_defend", "parameters": {"density": density_file(3, width=80), "epsilon": 0.1}}
    row = device_cost([network(defenses=["pixels"])], {"pixels": [wide]}).iloc[0]
    rows = 2 * 80 * (32 + 64 + 1) * 4  # for each of two layers its inputs above and left, and its links
    assert row["arena"] == 32 * 32 * 3 + rows > plain["arena"]


def test_a_density_model_that_two_squeezers_share_is_stored_once():
    fronts = [
        {"method": method, "parameters": {"density": density_file(3), "epsilon": 0.1}}
        for method in ("pixel_defend", "pixel_defend_one_pass")
    ]
    plain, twice = device_cost(
        [network(defenses=["none", "twice"])], {"none": [NONE], "twice": [NONE, *fronts]}
    ).to_dict("records")
    assert twice["flash"] == plain["flash"] + 4 * random_density(3).parameters


def test_a_detector_by_likelihood_runs_its_density_model_and_the_network_once():
    plain, detector = device_cost(
        [network(defenses=["none", "likelihood"])],
        {"none": [NONE], "likelihood": [NONE]},
        {"likelihood": density_file(3)},
    ).to_dict("records")
    density = random_density(3)
    assert (detector["inferences"], detector["macs"]) == (1, plain["macs"])
    assert detector["flash"] == plain["flash"] + 4 * density.parameters
    # each weight is multiplied and added; four operations a gate, for four features of two layers in both stacks; the
    # value of each channel under three components, at 14 operations
    assert detector["operations"] == 32 * 32 * (2 * density.parameters + 2 * 2 * 4 * 4 + 3 * 3 * 14)
    wide = device_cost(
        [network(defenses=["likelihood"])], {"likelihood": [NONE]}, {"likelihood": density_file(3, width=80)}
    ).iloc[0]
    assert wide["arena"] == 32 * 32 * 3 + 2 * 80 * (32 + 64 + 1) * 4 > plain["arena"]


def test_a_vote_needs_the_flash_of_all_and_the_arena_of_the_largest():
    paths = [str(RESNET / name) for name in ("int16.tflite", "int8.tflite")]
    row = device_cost([network(precision="vote", paths=paths, defenses=["none"])], {"none": [NONE]}).iloc[0]
    assert row["inferences"] == 2
    assert row["macs"] == 2 * 12501632
    assert row["flash"] == sum(Path(path).stat().st_size for path in paths)
    assert row["arena"] == 3 * 32 * 32 * 16 * 2 + 32 * 32 * 3  # the sample is kept in 8 bits


def test_a_float32_network_does_the_same_work_in_four_times_the_memory(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    from qnn_robustness.models.float_network import load_network, predict
    from qnn_robustness.quantization.convert_float import convert_float

    keras_network = load_network(RESNET / "float32.keras")
    path = tmp_path / "float32.tflite"
    path.write_bytes(convert_float(keras_network))
    integer, measured = cost(RESNET / "int8.tflite"), cost(path)
    assert measured.macs == integer.macs
    assert measured.arena == 4 * integer.arena
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    sample = np.random.default_rng(0).random((1, 32, 32, 3), dtype=np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
    interpreter.invoke()
    logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(logits, predict(keras_network, sample), rtol=1e-3, atol=1e-3)


def test_what_is_beaten_in_every_respect_is_not_on_the_front():
    costs = pd.DataFrame(
        {
            "model": "m", "training": "t", "preprocessor": ["none", "slow", "fast"], "precision": "int8",
            "macs": 100, "operations": [0, 50, 5], "flash": 10, "arena": 20, "fits": "",
        }
    )  # fmt: skip
    worst = pd.DataFrame(
        {
            "model": "m", "training": "t", "preprocessor": ["none", "slow", "fast"], "target": "int8",
            "kernels": "reference", "norm": "linf", "budget": 0.1, "accuracy": [0.1, 0.3, 0.4],
            "samples": 200,
        }
    )  # fmt: skip
    worst = pd.concat([worst.assign(part=part, masked=None) for part in ("adaptive", "worst")], ignore_index=True)
    assert cost_and_robustness(costs, worst)["pareto"].tolist() == [True, False, True]
    other = worst.assign(kernels="xnnpack", accuracy=1.0)
    assert len(cost_and_robustness(costs, pd.concat([worst, other]))) == 3, "the first kernel set is reported"
    unknown = cost_and_robustness(costs.assign(macs=[100, 100, None]), worst)
    assert unknown["pareto"].tolist() == [True, True, False], "what costs nobody knows what is on no front"
    unattacked = worst[(worst["part"] == "worst") | (worst["preprocessor"] != "fast")]
    masked = worst.assign(masked=worst["preprocessor"] == "fast")
    for table in (cost_and_robustness(costs, unattacked), cost_and_robustness(costs, masked)):
        assert table["pareto"].tolist() == [True, True, False], "robustness that is not to be believed beats nothing"
    fewer = cost_and_robustness(costs, worst.assign(samples=worst["preprocessor"].map({"fast": 100}).fillna(200)))
    assert fewer["pareto"].tolist() == [True, True, True], "accuracies on other samples are not compared"
    equal = cost_and_robustness(costs, worst.assign(accuracy=0.5))
    assert equal["pareto"].tolist() == [True, False, False]
    small = [
        table.assign(model="small") for table in (costs.assign(macs=1, flash=1, arena=1), worst.assign(accuracy=1.0))
    ]
    both = cost_and_robustness(*(pd.concat(pair) for pair in zip((costs, worst), small, strict=True)))
    assert both.groupby("model")["pareto"].sum().to_dict() == {"m": 2, "small": 1}, "models are for different data"


def in_int8(keras_layers, shape: tuple[int, ...], path: Path) -> Path:
    import keras

    from qnn_robustness.quantization.convert import convert

    network = keras.Sequential([keras.Input(shape), *keras_layers])
    path.write_bytes(convert(network, "int8", np.random.default_rng(0).random((4, *shape), np.float32).round(2)))
    return path


def test_a_dilated_convolution_is_counted_by_hand(tmp_path):
    """The converter makes four samples of one: 4 x 5 x 5 x 2 values, and 4 x 3 x 3 x 3 behind the convolution."""
    from keras import layers

    measured = cost(in_int8([layers.Conv2D(3, 3, dilation_rate=2)], (9, 9, 2), tmp_path / "dilated.tflite"))
    assert measured.macs == (4 * 3 * 3 * 3) * (3 * 3 * 2)
    assert measured.arena == 176 + 208  # 162 and 200 bytes, aligned


def test_a_convolution_of_repeated_pixels_is_counted_by_hand(tmp_path):
    """The file leaves sizes open, and the interpreter's reference kernels cannot run it."""
    from keras import layers

    measured = cost(in_int8([layers.UpSampling2D(2), layers.Conv2D(3, 3)], (4, 5, 2), tmp_path / "repeated.tflite"))
    assert measured.macs == (6 * 8 * 3) * (3 * 3 * 2)


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5)])
def test_a_dense_layer_on_many_axes_is_counted_by_hand(shape, tmp_path):
    from keras import layers

    measured = cost(in_int8([layers.Dense(70)], shape, tmp_path / "dense.tflite"))
    rows = int(np.prod(shape[:-1]))
    assert measured.macs == rows * 5 * 70
    assert measured.arena >= 2 * rows * 70  # what comes in and out of the last RESHAPE


def test_a_file_for_several_samples_costs_as_much_for_each(tmp_path):
    builder = Builder()
    source, output = builder.tensor(np.int8, [3, 4], 0.5), builder.tensor(np.int8, [3, 7], 0.5)
    weights = builder.constant(np.zeros((7, 4), np.int8), 0.1)
    builder.operator("FULLY_CONNECTED", [source, weights, -1], [output], "FullyConnectedOptions")
    assert cost(builder.save(tmp_path / "three.tflite", [source], [output])).macs == 4 * 7


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_matrices_is_counted_by_hand(transposed, tmp_path):
    builder = Builder()
    first = builder.tensor(np.int8, [1, 2, 5, 3] if transposed else [1, 2, 3, 5], 0.5)
    second, output = builder.tensor(np.int8, [1, 2, 5, 4], 0.5), builder.tensor(np.int8, [1, 2, 3, 4], 0.5)
    builder.operator("BATCH_MATMUL", [first, second], [output], "BatchMatMulOptions", adjX=transposed)
    assert cost(builder.save(tmp_path / "matrices.tflite", [first, second], [output])).macs == 2 * 3 * 4 * 5


def test_the_work_of_every_operator_of_the_integer_model_is_known():
    assert set(LAYERS) - NO_PRODUCTS == set(PRODUCTS)
