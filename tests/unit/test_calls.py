"""What a Keras network calls, also inside of networks that are layers of it."""

from __future__ import annotations

from itertools import pairwise


def test_a_network_inside_gives_way_to_its_calls_each_time_that_it_is_called():
    import keras

    from qnn_robustness.common.calls import calls, flat_calls

    layers = keras.layers
    innermost = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a"), layers.ReLU(name="b")])
    inputs = keras.Input((4,))
    inner = keras.Model(inputs, layers.Add(name="c")([inputs, innermost(inputs)]))
    outer = keras.Sequential([keras.Input((4,)), inner, inner, layers.Dense(2, name="d")])
    assert len(calls(outer)) == 3
    found = flat_calls(outer)
    assert [call.operation.name for call in found] == ["a", "b", "c", "a", "b", "c", "d"]
    assert len({id(call.output) for call in found}) == 7
    for before, after in pairwise(found):
        assert before.output in after.inputs
    for first, add in ((found[0], found[2]), (found[3], found[5])):
        assert first.inputs[0] in add.inputs
    assert found[0].inputs[0] is outer.inputs[0]
    assert found[-1].output is outer.outputs[0]


def test_a_network_inside_with_several_results_is_a_call():
    import keras

    from qnn_robustness.common.calls import flat_calls

    inputs = keras.Input((4,))
    inner = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])
    outer = keras.Model(inputs, keras.layers.Add()(inner(inputs)))
    assert [type(call.operation).__name__ for call in flat_calls(outer)] == ["Functional", "Add"]
