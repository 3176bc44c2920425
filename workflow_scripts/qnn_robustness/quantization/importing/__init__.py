"""Networks given by files: what the configuration declares about them is checked against file and data.

`float_file` and `integer_file` have `import_file(file, declaration, test, kernels, network_path, sidecar_path)`.
"""


def module_for(precision: str) -> str:
    """Return the dotted name of the module which takes over files of a precision; only float32 needs TensorFlow."""
    return f"{__name__}.{'float_file' if precision == 'float32' else 'integer_file'}"
