"""Random one-operator .tflite files for hypothesis: any geometry, scale, zero point and multiplier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from tflite_builder import Builder

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
_BIAS_CODES = {np.int32: 2, np.int64: 4}
_ACTIVATIONS = (0, 1, 2, 3)  # NONE, RELU, RELU_N1_TO_1, RELU6
LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM")
COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
OTHERS = (
    "ADD",
    "BATCH_MATMUL",
    "CONCATENATION",
    "DIV",
    "FILL",
    "MAXIMUM",
    "MINIMUM",
    "MUL",
    "PAD",
    "PADV2",
    "PRELU",
    "QUANTIZE",
    "SELECT",
    "SELECT_V2",
    "SOFTMAX",
    "SQUARED_DIFFERENCE",
    "SUB",
)
MOVING = (
    "BATCH_TO_SPACE_ND",
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "GATHER",
    "MIRROR_PAD",
    "PACK",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_V2",
    "SLICE",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
    "UNPACK",
)
TABLES = (
    "ABS",
    "ELU",
    "EXP",
    "GELU",
    "HARD_SWISH",
    "LEAKY_RELU",
    "LOG",
    "LOGISTIC",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "RSQRT",
    "SQRT",
    "TANH",
)
# In float32, between DEQUANTIZE and QUANTIZE, where the converter leaves them.
FLOATS = ("CEIL", "COS", "ELU", "FLOOR", "NEG", "POW", "ROUND", "SIGN", "SIN", "SQUARE")
IN_FLOAT32 = tuple(f"{name} in float32" for name in FLOATS)
OPERATORS = (*LINEAR, *POOLS, *COMPARISONS, *OTHERS, *MOVING, *TABLES, *IN_FLOAT32)


class OperatorNetwork:
    """Draws one network with `operator` in it and writes it to `path`."""

    def __init__(self, draw: st.DrawFn, operator: str, precision: str, path: str | Path):
        self.draw, self.precision, self.dtype = draw, precision, np.dtype(precision).type
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.builder = Builder()
        self.height, self.width = draw(st.integers(1, 8)), draw(st.integers(1, 8))
        self.channels = draw(st.integers(1, 19))
        self.scale = np.float32(self._scale())
        if precision == "int16":
            self.scale /= np.float32(256)
        self.zero_point = self._zero_point()
        shape = [1, self.height, self.width, self.channels]
        self.input = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        self.activation = draw(st.sampled_from(_ACTIVATIONS))
        self.builder.save(path, [self.input], [self._output(operator)])

    def _output(self, operator: str) -> int:
        name = operator.removesuffix(" in float32")
        groups = ((TABLES, self._table), (COMPARISONS, self._compared), (IN_FLOAT32, self._in_float32))
        for group, drawn in groups:
            if operator in group:
                return drawn(name)
        return getattr(self, f"_{operator.lower()}")()

    def _scale(self) -> float:
        exponent = self.draw(st.floats(-9, -2))
        return 2.0 ** (round(exponent) if self.draw(st.booleans()) else exponent)

    def _ratio(self, largest: float) -> np.float32:
        """A quotient of scales; powers of two make ties."""
        exponent = self.draw(st.floats(-largest, largest))
        return np.float32(2.0 ** (round(exponent) if self.draw(st.booleans()) else exponent))

    def _zero_point(self) -> int:
        low, high = LIMITS[self.precision]
        return 0 if self.precision == "int16" else self.draw(st.integers(low, high) | st.sampled_from((low, high)))

    def _window(self) -> tuple[int, int, int, int, int, int, int]:
        """Return padding, strides, kernel and output size."""
        padding = self.draw(st.integers(0, 1))
        strides = self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3))
        kernel = self.draw(st.integers(1, 4)), self.draw(st.integers(1, 4))
        size = self.height, self.width
        if padding:
            kernel = tuple(map(min, kernel, size))
            out = [(n - k) // s + 1 for n, k, s in zip(size, kernel, strides, strict=True)]
        else:
            out = [-(-n // s) for n, s in zip(size, strides, strict=True)]
        return padding, *strides, *kernel, *out

    def _weights(self, shape: list[int], axis: int, terms: int) -> tuple[list[int], np.float32, dict[str, int]]:
        """Return the constant inputs, an output scale, and the bias option.

        The output scale lets a random accumulator span the output, or a part of it, or many times it.
        """
        outputs, random = shape[axis], self.random
        weights = (random.integers(-127, 128, shape) // random.choice([1, 1, 1, 5, 40])).astype(np.int8)
        per_channel = self.draw(st.booleans())
        scales = np.float32(2.0 ** random.uniform(-9, -4, outputs if per_channel else 1))
        spread = np.sqrt(terms) * 70 * LIMITS[self.precision][1] * 0.6
        stretch = 2.0 ** self.draw(st.floats(-9, 8))
        output_scale = np.float32(scales.max() * self.scale * spread / (LIMITS[self.precision][1] * stretch))
        if self.draw(st.booleans()):
            output_scale = np.float32(2.0 ** np.round(np.log2(output_scale)))
        bias_type = np.int32
        if self.precision == "int16" and ((shape[0] == 1 and axis == 3) or self.draw(st.booleans())):
            bias_type = np.int64
        bias = random.normal(0, spread * 0.5, outputs).astype(bias_type)
        if self.precision == "int8" and self.draw(st.booleans()) and scales[0] * self.scale / output_scale < 0.5:
            bias[0] = random.choice([-1, 1]) * (2**30 - 5)  # dead channels of real networks have such biases
        constants = [
            self.builder.constant(weights, scales, axis),
            self.builder.constant(bias, scales * self.scale),
        ]
        return constants, output_scale, {"quantizedBiasType": _BIAS_CODES[bias_type]}

    def _conv_2d(self) -> int:
        padding, stride_h, stride_w, kernel_h, kernel_w, out_h, out_w = self._window()
        groups = self.draw(st.sampled_from([1, *(n for n in range(1, self.channels + 1) if self.channels % n == 0)]))
        outputs = groups * self.draw(st.integers(1, max(1, 19 // groups)))
        shape = [outputs, kernel_h, kernel_w, self.channels // groups]
        constants, scale, bias_option = self._weights(shape, 0, kernel_h * kernel_w * shape[3])
        output = self.builder.tensor(self.dtype, [1, out_h, out_w, outputs], scale, self._zero_point())
        options = {"padding": padding, "strideH": stride_h, "strideW": stride_w, **bias_option}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": self.activation}
        self.builder.operator("CONV_2D", [self.input, *constants], [output], "Conv2DOptions", **options)
        return output

    def _depthwise_conv_2d(self) -> int:
        padding, stride_h, stride_w, kernel_h, kernel_w, out_h, out_w = self._window()
        multiplier = self.draw(st.integers(1, 3))
        outputs = self.channels * multiplier
        constants, scale, _ = self._weights([1, kernel_h, kernel_w, outputs], 3, kernel_h * kernel_w)
        output = self.builder.tensor(self.dtype, [1, out_h, out_w, outputs], scale, self._zero_point())
        options = {
            "padding": padding,
            "strideH": stride_h,
            "strideW": stride_w,
            "depthMultiplier": multiplier,
        }
        options |= {"dilationHFactor": 1, "dilationWFactor": 1, "fusedActivationFunction": self.activation}
        self.builder.operator(
            "DEPTHWISE_CONV_2D", [self.input, *constants], [output], "DepthwiseConv2DOptions", **options
        )
        return output

    def _transpose_conv(self) -> int:
        padding, outputs = self.draw(st.integers(0, 1)), self.draw(st.integers(1, 19))
        strides = self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3))
        kernel = self.draw(st.integers(1, 4)), self.draw(st.integers(1, 4))
        size = [n * s for n, s in zip((self.height, self.width), strides, strict=True)]
        if padding:
            size = [n - s + max(k, s) for n, k, s in zip(size, kernel, strides, strict=True)]
        constants, scale, bias_option = self._weights([outputs, *kernel, self.channels], 0, kernel[0] * self.channels)
        output = self.builder.tensor(self.dtype, [1, *size, outputs], scale, self._zero_point())
        options = {"padding": padding, "strideH": strides[0], "strideW": strides[1], **bias_option}
        options["fusedActivationFunction"] = self.activation
        inputs = [self.builder.shape_of_batch(self.input, [*size, outputs]), constants[0], self.input, constants[1]]
        self.builder.operator("TRANSPOSE_CONV", inputs, [output], "TransposeConvOptions", **options)
        return output

    def _flat(self) -> tuple[int, int]:
        size = self.height * self.width * self.channels
        flat = self.builder.tensor(self.dtype, [1, size], self.scale, self.zero_point)
        shape = self.builder.constant(np.array([-1, size], np.int32))
        self.builder.operator("RESHAPE", [self.input, shape], [flat])
        return flat, size

    def _fully_connected(self) -> int:
        flat, size = self._flat()
        outputs = self.draw(st.integers(1, 19))
        constants, scale, bias_option = self._weights([outputs, size], 0, size)
        output = self.builder.tensor(self.dtype, [1, outputs], scale, self._zero_point())
        options = {"fusedActivationFunction": self.activation, **bias_option}
        self.builder.operator("FULLY_CONNECTED", [flat, *constants], [output], "FullyConnectedOptions", **options)
        return output

    def _shape(self) -> list[int]:
        return [1, self.height, self.width, self.channels]

    def _zero_point_or_0(self) -> int:
        return self._zero_point() if self.draw(st.booleans()) else 0

    def _requantized(self, scale: np.float32, zero_point: int | None = None) -> int:
        zero_point = self._zero_point() if zero_point is None else zero_point
        other = self.builder.tensor(self.dtype, self._shape(), scale, zero_point)
        self.builder.operator("QUANTIZE", [self.input], [other], "QuantizeOptions")
        return other

    def _pair(self, scale: np.float32) -> list[int]:
        """Return the input and an operand of a given scale, in either order: an activation, a mean, or a constant."""
        kind = self.draw(st.sampled_from(("same", "mean", "constant")))
        if kind == "same":
            other = self._requantized(scale)
        elif kind == "mean":
            other = self.builder.tensor(self.dtype, [1, 1, 1, self.channels], scale, self._zero_point())
            axes = self.builder.constant(np.array([1, 2], np.int32))
            self.builder.operator("MEAN", [self.input, axes], [other], "ReducerOptions", keepDims=True)
        else:
            shape = self.draw(st.sampled_from(([self.channels], [1, 1, 1, self.channels], [1], self._shape())))
            low, high = LIMITS[self.precision]
            data = self.random.integers(low, high + 1, shape).astype(self.dtype)
            other = self.builder.constant(data, scale, zero_point=self._zero_point())
        return self.draw(st.permutations([self.input, other]))

    def _add(self) -> int:
        return self._added("ADD", potScaleInt16=False)

    def _sub(self) -> int:
        return self._added("SUB", potScaleInt16=False)

    def _added(self, name: str, **options: object) -> int:
        other_scale = np.float32(self.scale * self._ratio(3))
        pair = self._pair(other_scale)
        scale = np.float32(max(self.scale, other_scale) * self._ratio(2))
        output = self.builder.tensor(self.dtype, self._shape(), scale, self._zero_point())
        options["fusedActivationFunction"] = self.activation
        self.builder.operator(name, pair, [output], f"{name.title()}Options", **options)
        return output

    def _mul(self) -> int:
        other_scale = np.float32(self.scale * self._ratio(3))
        pair = self._pair(other_scale)
        scale = np.float32(self.scale * other_scale * np.float32(LIMITS[self.precision][1]) * self._ratio(4))
        output = self.builder.tensor(self.dtype, self._shape(), scale, self._zero_point())
        self.builder.operator("MUL", pair, [output], "MulOptions", fusedActivationFunction=self.activation)
        return output

    def _squared_difference(self) -> int:
        other_scale = np.float32(self.scale * self._ratio(3))
        pair, largest = self._pair(other_scale), max(self.scale, other_scale)
        scale = np.float32(largest * largest * np.float32(255) * self._ratio(3))
        output = self.builder.tensor(self.dtype, self._shape(), scale, self._zero_point())
        self.builder.operator("SQUARED_DIFFERENCE", pair, [output], "SquaredDifferenceOptions")
        return output

    def _div(self) -> int:
        """A quotient of the input, or a constant, and what is never 0: another constant, or something above 0."""
        low, high = LIMITS[self.precision]
        divisor_scale, zero_point = np.float32(self.scale * self._ratio(3)), self._zero_point()
        if self.draw(st.booleans()):
            codes = self.random.integers(low, high, self.draw(st.sampled_from(([self.channels], [], self._shape()))))
            codes = np.asarray(codes + (codes >= zero_point)).astype(self.dtype)
            divisor = self.builder.constant(codes, divisor_scale, zero_point=zero_point)
        else:
            zero_point = min(zero_point, high - 1)
            wide = self._requantized(divisor_scale, zero_point)
            least = self.builder.constant(np.array(zero_point + 1, self.dtype), divisor_scale, zero_point=zero_point)
            divisor = self.builder.tensor(self.dtype, self._shape(), divisor_scale, zero_point)
            self.builder.operator("MAXIMUM", [wide, least], [divisor], "MaximumMinimumOptions")
        scale = np.float32(self.scale / divisor_scale / 16 * self._ratio(3))
        output = self.builder.tensor(self.dtype, self._shape(), scale, self._zero_point())
        options = {"fusedActivationFunction": self.activation}
        self.builder.operator("DIV", [self.input, divisor], [output], "DivOptions", **options)
        return output

    def _compared(self, name: str) -> int:
        """One of two operands, whichever a comparison of two says, of the same scale or not."""
        equal = self.draw(st.booleans())
        pair = self._pair(self.scale if equal else np.float32(self.scale * self._ratio(3)))
        return self._selected("SELECT_V2", self._condition(name, pair))

    def _condition(self, name: str, pair: list[int]) -> int:
        condition = self.builder.tensor(np.bool_, self._shape())
        self.builder.operator(name, pair, [condition], f"{name.title().replace('_', '')}Options")
        return condition

    def _selected(self, name: str, condition: int) -> int:
        constant = [] if name == "SELECT" else self.draw(st.sampled_from(([self.channels], [], self._shape())))
        data = np.asarray(self.random.integers(*LIMITS[self.precision], constant)).astype(self.dtype)
        if name == "SELECT":
            data = np.broadcast_to(data, self._shape())
            other = self._requantized(self.scale, self.zero_point)
        else:
            other = self.builder.constant(data, self.scale, zero_point=self.zero_point)
        output = self.builder.tensor(self.dtype, self._shape(), self.scale, self.zero_point)
        operands = self.draw(st.permutations([self.input, other]))
        self.builder.operator(name, [condition, *operands], [output], f"{name.title().replace('_', '')}Options")
        return output

    def _select(self) -> int:
        pair = [self.input, self._requantized(np.float32(self.scale * self._ratio(1)))]
        return self._selected("SELECT", self._condition("GREATER", pair))

    def _select_v2(self) -> int:
        """A condition on fewer values than there are to choose from."""
        means = self.builder.tensor(self.dtype, [1, 1, 1, self.channels], self.scale, self.zero_point)
        axes = self.builder.constant(np.array([1, 2], np.int32))
        self.builder.operator("MEAN", [self.input, axes], [means], "ReducerOptions", keepDims=True)
        maxima = self.builder.tensor(self.dtype, [1, 1, 1, self.channels], self.scale, self.zero_point)
        self.builder.operator("REDUCE_MAX", [self.input, axes], [maxima], "ReducerOptions", keepDims=True)
        condition = self.builder.tensor(np.bool_, [1, 1, 1, self.channels])
        self.builder.operator("LESS", [means, maxima], [condition], "LessOptions")
        return self._selected("SELECT_V2", condition)

    def _fill(self) -> int:
        """As many constants as the input has values, beside it."""
        data = np.array(self.random.integers(*LIMITS[self.precision]), self.dtype)
        value = self.builder.constant(data, self.scale, zero_point=self.zero_point)
        filled = self.builder.tensor(self.dtype, self._shape(), self.scale, self.zero_point)
        self.builder.operator(
            "FILL", [self.builder.shape_of_batch(self.input, self._shape()[1:]), value], [filled], "FillOptions"
        )
        output = self.builder.tensor(self.dtype, [*self._shape()[:3], 2 * self.channels], self.scale, self.zero_point)
        self.builder.operator("CONCATENATION", [self.input, filled], [output], "ConcatenationOptions", axis=3)
        return output

    def _in_float32(self, name: str) -> int:
        reals, results = (self.builder.tensor(np.float32, self._shape()) for _ in range(2))
        self.builder.operator("DEQUANTIZE", [self.input], [reals])
        table = {"NEG": "NegOptions", "SQUARE": "SquareOptions", "POW": "PowOptions"}.get(name)
        exponents = [self.builder.constant(np.array(self.draw(st.sampled_from((2.0, 3.0))), np.float32))]
        self.builder.operator(name, [reals, *(exponents if name == "POW" else [])], [results], table)
        scale, zero_point = np.float32(self.scale * self._ratio(4)), self._zero_point()
        output = self.builder.tensor(self.dtype, self._shape(), scale, zero_point)
        self.builder.operator("QUANTIZE", [results], [output])
        return output

    def _reverse_v2(self) -> int:
        """The converter may give the output another scale, which the kernel ignores."""
        axis = self.draw(st.integers(1, 3))
        axes = self.builder.constant(np.array([self.draw(st.sampled_from((axis, axis - 4)))], np.int32))
        output = self.builder.tensor(self.dtype, self._shape(), self.scale * self._ratio(1), self._zero_point())
        self.builder.operator("REVERSE_V2", [self.input, axes], [output])
        return output

    def _batch_matmul(self) -> int:
        """Matrices of the input with its own, rescaled and transposed, or with constant ones."""
        size, depth = self._shape()[2:]
        other_scale, adjoint = np.float32(self.scale * self._ratio(3)), self.draw(st.booleans())
        if self.draw(st.booleans()):
            other, columns = self._requantized(other_scale, self._zero_point_or_0()), depth if adjoint else size
            flags = {"adjX": adjoint, "adjY": not adjoint}
        else:
            columns, flags = self.draw(st.integers(1, 9)), {"adjX": False, "adjY": adjoint}
            matrix = [columns, depth] if adjoint else [depth, columns]
            shape = [*self.draw(st.sampled_from(([], [1], [1, 1], [1, self.height]))), *matrix]
            data = self.random.integers(*LIMITS[self.precision], shape).astype(self.dtype)
            other = self.builder.constant(data, other_scale, zero_point=self._zero_point_or_0())
        rows, terms = (depth, size) if flags["adjX"] else (size, depth)
        spread = np.float32(np.sqrt(terms) * LIMITS[self.precision][1])
        scale = np.float32(self.scale * other_scale * spread * self._ratio(3))
        output = self.builder.tensor(self.dtype, [1, self.height, rows, columns], scale, self._zero_point())
        self.builder.operator("BATCH_MATMUL", [self.input, other], [output], "BatchMatMulOptions", **flags)
        return output

    def _maximum(self) -> int:
        return self._choice("MAXIMUM")

    def _minimum(self) -> int:
        return self._choice("MINIMUM")

    def _choice(self, name: str) -> int:
        """One of the input and an operand with the same scale: other activations, their maxima, or a constant."""
        kind, codes = self.draw(st.sampled_from(("same", "maxima", "constant"))), (self.scale, self.zero_point)
        if kind == "constant":
            shape = self.draw(st.sampled_from(([self.channels], [1, 1, 1, self.channels], [], self._shape())))
            data = np.asarray(self.random.integers(*LIMITS[self.precision], shape)).astype(self.dtype)
            other = self.builder.constant(data, codes[0], zero_point=codes[1])
        elif kind == "maxima":
            other = self.builder.tensor(self.dtype, [1, 1, 1, self.channels], *codes)
            axes = self.builder.constant(np.array([1, 2], np.int32))
            self.builder.operator("REDUCE_MAX", [self.input, axes], [other], "ReducerOptions", keepDims=True)
        else:
            pads = self.builder.constant(np.array([[0, 0], [1, 0], [0, 0], [0, 0]], np.int32))
            wide = self.builder.tensor(self.dtype, [1, self.height + 1, self.width, self.channels], *codes)
            self.builder.operator("PAD", [self.input, pads], [wide], "PadOptions")
            other = self.builder.tensor(self.dtype, self._shape(), *codes)
            options = {"padding": 1, "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 1}
            self.builder.operator("MAX_POOL_2D", [wide], [other], "Pool2DOptions", **options)
        output = self.builder.tensor(self.dtype, self._shape(), *codes)
        pair = self.draw(st.permutations([self.input, other]))
        self.builder.operator(name, pair, [output], "MaximumMinimumOptions")
        return output

    def _prelu(self) -> int:
        shape = self.draw(st.sampled_from(([self.channels], [1, 1, self.channels], self._shape()[1:])))
        slopes = self.random.integers(-128, 128, shape).astype(np.int8)
        alpha = self.builder.constant(slopes, np.float32(2.0**-7 * self._ratio(3)), zero_point=self._zero_point())
        output = self.builder.tensor(self.dtype, self._shape(), self.scale * self._ratio(3), self._zero_point())
        self.builder.operator("PRELU", [self.input, alpha], [output])
        return output

    def _table(self, name: str) -> int:
        scale, zero_point = np.float32(self.scale * self._ratio(4)), self._zero_point()
        if name in ("LOGISTIC", "TANH"):  # whose output has a fixed scale
            bits = (8 if name == "LOGISTIC" else 7) if self.precision == "int8" else 15
            scale, zero_point = 2.0**-bits, -128 if (name, self.precision) == ("LOGISTIC", "int8") else 0
        output = self.builder.tensor(self.dtype, self._shape(), scale, zero_point)
        source = self._positive() if name in ("RSQRT", "SQRT") else self.input
        options = {
            "GELU": ("GeluOptions", {"approximate": self.draw(st.booleans())}),
            "LEAKY_RELU": ("LeakyReluOptions", {"alpha": self.draw(st.floats(0, 1))}),
        }.get(name, (None, {}))
        self.builder.operator(name, [source], [output], options[0], **options[1])
        return output

    def _positive(self) -> int:
        """The absolute values of the input."""
        zero_point = -128 if self.precision == "int8" else 0
        absolute = self.builder.tensor(self.dtype, self._shape(), self.scale * self._ratio(1), zero_point)
        self.builder.operator("ABS", [self.input], [absolute])
        return absolute

    def _concatenation(self) -> int:
        axis = self.draw(st.integers(1, 3))
        others = self.draw(st.integers(0, 2))
        pooled = self.builder.tensor(self.dtype, self._shape(), self.scale, self.zero_point)
        options = {"padding": 0, "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
        self.builder.operator("MAX_POOL_2D", [self.input], [pooled], "Pool2DOptions", **options)
        shape = self._shape()
        shape[axis] *= 2 + others
        output = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        axis = self.draw(st.sampled_from((axis, axis - 4)))
        inputs = [self.input, pooled] + [self.input] * others
        self.builder.operator("CONCATENATION", inputs, [output], "ConcatenationOptions", axis=axis)
        return output

    def _pool(self, name: str) -> int:
        padding, stride_h, stride_w, kernel_h, kernel_w, out_h, out_w = self._window()
        shape = [1, out_h, out_w, self.channels]
        output = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        options = {"padding": padding, "strideH": stride_h, "strideW": stride_w, "filterHeight": kernel_h}
        options |= {"filterWidth": kernel_w, "fusedActivationFunction": self.activation}
        self.builder.operator(name, [self.input], [output], "Pool2DOptions", **options)
        return output

    def _average_pool_2d(self) -> int:
        return self._pool("AVERAGE_POOL_2D")

    def _max_pool_2d(self) -> int:
        return self._pool("MAX_POOL_2D")

    def _mean(self) -> int:
        return self._reduced("MEAN", np.float32(self.scale * self._ratio(2)), self._zero_point())

    def _sum(self) -> int:
        same = self.draw(st.booleans())
        codes = (self.scale, self.zero_point) if same else (self.scale * self._ratio(6), self._zero_point())
        return self._reduced("SUM", *codes)

    def _reduce_max(self) -> int:
        return self._reduced("REDUCE_MAX", self.scale, self.zero_point)

    def _reduce_min(self) -> int:
        return self._reduced("REDUCE_MIN", self.scale, self.zero_point)

    def _reduced(self, name: str, scale: np.float32, zero_point: int) -> int:
        axes = self.draw(st.sampled_from(([1, 2], [2, 1], [1], [2], [3], [-1], [1, 2, 3])))
        keep = self.draw(st.booleans())
        reduced = {axis % 4 for axis in axes}
        full = [1, self.height, self.width, self.channels]
        shape = [1 if axis in reduced else size for axis, size in enumerate(full) if keep or axis not in reduced]
        output = self.builder.tensor(self.dtype, shape, scale, zero_point)
        constant = self.builder.constant(np.array(axes, np.int32))
        self.builder.operator(name, [self.input, constant], [output], "ReducerOptions", keepDims=keep)
        return output

    def _pad(self) -> int:
        return self._padded("PAD", "PadOptions")

    def _padv2(self) -> int:
        value = self.random.integers(*LIMITS[self.precision]).astype(self.dtype)
        constant = self.builder.constant(np.array(value), self.scale, zero_point=self.zero_point)
        return self._padded("PADV2", "PadV2Options", constant)

    def _padded(self, name: str, table: str, *values: int) -> int:
        pads = self.random.integers(0, 3, (4, 2)).astype(np.int32)
        pads[0] = 0
        shape = np.array([1, self.height, self.width, self.channels]) + pads.sum(1)
        output = self.builder.tensor(self.dtype, shape.tolist(), self.scale, self.zero_point)
        self.builder.operator(name, [self.input, self.builder.constant(pads), *values], [output], table)
        return output

    def _moved(
        self, name: str, constants: list[np.ndarray], shape: list[int], table: str | None, **options: object
    ) -> int:
        output = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        inputs = [self.input, *(self.builder.constant(np.array(constant, np.int32)) for constant in constants)]
        self.builder.operator(name, inputs, [output], table, **options)
        return output

    def _mirror_pad(self) -> int:
        mode = self.draw(st.integers(0, 1))
        pads = [[0, 0], *([self.draw(st.integers(0, size - 1 + mode)) for _ in range(2)] for size in self._shape()[1:])]
        shape = np.add(self._shape(), np.sum(pads, axis=1)).tolist()
        return self._moved("MIRROR_PAD", [pads], shape, "MirrorPadOptions", mode=mode)

    def _transpose(self) -> int:
        order = [0, *self.draw(st.permutations([1, 2, 3]))]
        shape = [self._shape()[axis] for axis in order]
        return self._moved("TRANSPOSE", [order], shape, "TransposeOptions")

    def _resize_bilinear(self) -> int:
        return self._resized("RESIZE_BILINEAR", "ResizeBilinearOptions")

    def _resize_nearest_neighbor(self) -> int:
        return self._resized("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")

    def _resized(self, name: str, table: str) -> int:
        size = [self.draw(st.integers(1, 13) | st.just(2 * n)) for n in (self.height, self.width)]
        align, half = self.draw(st.sampled_from(((False, False), (True, False), (False, True))))
        shape = [1, *size, self.channels]
        return self._moved(name, [size], shape, table, alignCorners=align, halfPixelCenters=half)

    def _expand_dims(self) -> int:
        axis = self.draw(st.integers(1, 4))
        shape = np.expand_dims(np.empty(self._shape()), axis).shape
        return self._moved("EXPAND_DIMS", [self.draw(st.sampled_from((axis, axis - 5)))], list(shape), None)

    def _tile(self) -> int:
        times = [1, *(self.draw(st.integers(1, 3)) for _ in range(3))]
        return self._moved("TILE", [times], np.multiply(self._shape(), times).tolist(), None)

    def _space_to_batch_nd(self) -> int:
        """A dilated pool as the converter writes it: in blocks, and put together again."""
        return self._in_blocks([0, 0])

    def _batch_to_space_nd(self) -> int:
        """Also with some pixels cut."""
        return self._in_blocks([self.draw(st.integers(0, 1)) for _ in range(2)])

    def _in_blocks(self, cuts: list[int]) -> int:
        blocks = [self.draw(st.integers(1, 3)) for _ in range(2)]
        sizes = [-(-(n + 1) // b) for n, b in zip((self.height, self.width), blocks, strict=True)]
        pads = [[1, s * b - n - 1] for s, b, n in zip(sizes, blocks, (self.height, self.width), strict=True)]
        small, pooled = (
            self.builder.tensor(self.dtype, [1, *sizes, self.channels], self.scale, self.zero_point) for _ in range(2)
        )
        block = self.builder.constant(np.array(blocks, np.int32))
        paddings, crops = (
            self.builder.constant(np.array(amounts, np.int32)) for amounts in (pads, [[cut, 0] for cut in cuts])
        )
        self.builder.operator("SPACE_TO_BATCH_ND", [self.input, block, paddings], [small], "SpaceToBatchNDOptions")
        options = {"padding": 0, "strideH": 1, "strideW": 1, "filterHeight": 2, "filterWidth": 2}
        self.builder.operator("MAX_POOL_2D", [small], [pooled], "Pool2DOptions", **options)
        whole = [1, *(s * b - cut for s, b, cut in zip(sizes, blocks, cuts, strict=True)), self.channels]
        output = self.builder.tensor(self.dtype, whole, self.scale, self.zero_point)
        self.builder.operator("BATCH_TO_SPACE_ND", [pooled, block, crops], [output], "BatchToSpaceNDOptions")
        return output

    def _space_to_depth(self) -> int:
        """Blocks of an image that is first padded to whole ones."""
        size = self.draw(st.integers(1, 3))
        sizes = [-(-n // size) for n in (self.height, self.width)]
        pads = [[0, 0], *([0, s * size - n] for s, n in zip(sizes, (self.height, self.width), strict=True)), [0, 0]]
        wide = self._moved("PAD", [pads], [1, *(s * size for s in sizes), self.channels], "PadOptions")
        return self._blocks("SPACE_TO_DEPTH", wide, [1, *sizes, self.channels * size**2], size)

    def _depth_to_space(self) -> int:
        """Pixels of channels that are there once for each of them."""
        size = self.draw(st.integers(1, 3))
        shape = [1, self.height, self.width, self.channels * size**2]
        wide = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        copies = [self.input] * size**2
        self.builder.operator("CONCATENATION", copies, [wide], "ConcatenationOptions", axis=3)
        return self._blocks("DEPTH_TO_SPACE", wide, [1, self.height * size, self.width * size, self.channels], size)

    def _blocks(self, name: str, source: int, shape: list[int], size: int) -> int:
        output = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        table = f"{name.title().replace('_', '')}Options"
        self.builder.operator(name, [source], [output], table, blockSize=size)
        return output

    def _gather(self) -> int:
        """Places along an axis in any order, some of them more than once or not at all."""
        axis, shape = self.draw(st.integers(1, 3)), self._shape()
        places = self.random.integers(0, shape[axis], self.draw(st.integers(1, 5)))
        shape[axis] = len(places)
        return self._moved(
            "GATHER", [places], shape, "GatherOptions", axis=self.draw(st.sampled_from((axis, axis - 4)))
        )

    def _pack(self) -> int:
        axis = self.draw(st.integers(1, 4))
        return self._packed(axis, [self.input] * self.draw(st.integers(1, 3)))

    def _packed(self, axis: int, parts: list[int]) -> int:
        shape = np.insert(self.builder.graph.tensors[parts[0]].shape, axis, len(parts)).tolist()
        output = self.builder.tensor(self.dtype, shape, self.scale, self.zero_point)
        self.builder.operator("PACK", parts, [output], "PackOptions", axis=axis, valuesCount=len(parts))
        return output

    def _unpack(self) -> int:
        """The parts put together in the opposite order."""
        axis, shape = self.draw(st.integers(1, 3)), self._shape()
        number = shape.pop(axis)
        parts = [self.builder.tensor(self.dtype, shape, self.scale, self.zero_point) for _ in range(number)]
        axes = self.draw(st.sampled_from((axis, axis - 4)))
        self.builder.operator("UNPACK", [self.input], parts, "UnpackOptions", axis=axes, num=number)
        return self._packed(axis, parts[::-1])

    def _slice(self) -> int:
        begin = [0, *(self.draw(st.integers(0, size - 1)) for size in self._shape()[1:])]
        rest = [size - first for size, first in zip(self._shape(), begin, strict=True)]
        sizes = [-1, *(self.draw(st.integers(1, size) | st.just(-1)) for size in rest[1:])]
        shape = [size if size > 0 else left for size, left in zip(sizes, rest, strict=True)]
        return self._moved("SLICE", [begin, sizes], shape, "SliceOptions")

    def _strided_slice(self) -> int:
        """Bounds of three axes or fewer; an axis of which nothing would be left is taken whole."""
        begin, end, strides = [0], [0], [1]
        masks, index = {"beginMask": self.draw(st.integers(0, 1)), "endMask": 1, "shrinkAxisMask": 0}, [slice(None)]
        for axis, size in list(enumerate(self._shape()))[1 : self.draw(st.integers(2, 4))]:
            first, last = (self.draw(st.integers(-size - 1, size + 1)) for _ in range(2))
            stride = self.draw(st.sampled_from((1, 1, 2, -1, -2)))
            if self.draw(st.booleans()):
                masks["beginMask"] |= 1 << axis
            if self.draw(st.booleans()) or not range(size)[self._bounds(masks, axis, first, last, stride)]:
                masks["beginMask"] |= 1 << axis
                masks["endMask"] |= 1 << axis
            index.append(self._bounds(masks, axis, first, last, stride))
            if self.draw(st.integers(0, 3)) == 0 and axis != 1:
                first, stride, index[-1] = first % size, 1, 0 if masks["beginMask"] >> axis & 1 else first % size
                masks["shrinkAxisMask"] |= 1 << axis
            begin, end, strides = [*begin, first], [*end, last], [*strides, stride]
        shape = list(np.empty(self._shape())[tuple(index)].shape)
        return self._moved("STRIDED_SLICE", [begin, end, strides], shape, "StridedSliceOptions", **masks)

    @staticmethod
    def _bounds(masks: dict[str, int], axis: int, first: int, last: int, stride: int) -> slice:
        free = [masks[name] >> axis & 1 for name in ("beginMask", "endMask")]
        return slice(None if free[0] else first, None if free[1] else last, stride)

    def _split(self) -> int:
        """The parts side by side in the opposite order."""
        axis, count = self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3))
        shape = self._shape()
        shape[axis] *= count
        wide, output = (self.builder.tensor(self.dtype, shape, self.scale, self.zero_point) for _ in range(2))
        copies = [self.input] * count
        self.builder.operator("CONCATENATION", copies, [wide], "ConcatenationOptions", axis=axis)
        number = self.draw(st.sampled_from([n for n in range(1, shape[axis] + 1) if shape[axis] % n == 0]))
        shape[axis] //= number
        parts = [self.builder.tensor(self.dtype, shape, self.scale, self.zero_point) for _ in range(number)]
        constant = self.builder.constant(np.array(self.draw(st.sampled_from((axis, axis - 4))), np.int32))
        self.builder.operator("SPLIT", [constant, wide], parts, "SplitOptions", numSplits=number)
        self.builder.operator("CONCATENATION", parts[::-1], [output], "ConcatenationOptions", axis=axis)
        return output

    def _quantize(self) -> int:
        scale = np.float32(self.scale * self._ratio(4))
        shape = [1, self.height, self.width, self.channels]
        output = self.builder.tensor(self.dtype, shape, scale, self._zero_point())
        self.builder.operator("QUANTIZE", [self.input], [output], "QuantizeOptions")
        return output

    def _softmax(self) -> int:
        flat, size = self._flat()
        scale, zero_point = (2.0**-8, -128) if self.precision == "int8" else (2.0**-15, 0)
        output = self.builder.tensor(self.dtype, [1, size], scale, zero_point)
        beta = self.draw(st.sampled_from((0.5, 1.0, 2.0)))
        self.builder.operator("SOFTMAX", [flat], [output], "SoftmaxOptions", beta=beta)
        return output


def codes(precision: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Codes of three kinds, a third of the samples each: over the full range, its two ends, near zero."""
    random, (low, high) = np.random.default_rng(seed), LIMITS[precision]
    count = shape[0] // 3
    parts = [
        random.integers(low, high + 1, (shape[0] - 2 * count, *shape[1:])),
        random.choice([low, high], (count, *shape[1:])),
        np.clip(random.normal(0, high / 8, (count, *shape[1:])), low, high),
    ]
    return np.concatenate(parts).astype(precision)
