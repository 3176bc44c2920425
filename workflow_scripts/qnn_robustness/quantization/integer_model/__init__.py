"""Integer networks reproduced byte for byte, and differentiable; README.md has the arithmetic.

`model` holds IntegerModel and as_foolbox, `exactness` the comparison with the TFLite interpreter.
Importing either imports TensorFlow.
"""
