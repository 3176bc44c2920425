"""The conversion of a SavedModel to a float32 .tflite file: `python -m` this module, folder, file.

It ends with status 1 and one line on stderr for what is not converted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.lean_keras import hide_extras

hide_extras()

import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # noqa: E402

_REFUSED = re.compile("File(?!name)|PyFunc|Dataset|Iterator|Reader|Summary|Table|Send|Recv|Rpc|CustomCall|HostCompute")
_DEFAULT = "serving_default"
_INITIALIZER = "__saved_model_init_op"  # the signature that is run when a SavedModel is loaded


def _check(folder: str) -> None:
    content = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
    for graph in content.meta_graphs:
        if not graph.HasField("object_graph_def"):
            raise UserError(f"{folder}: was saved by TensorFlow 1; save it with TensorFlow 2")
        kinds = {node.WhichOneof("kind") for node in graph.object_graph_def.nodes}
        names = [output.name for output in graph.signature_def[_INITIALIZER].outputs.values()]
        names += [name for collection in graph.collection_def.values() for name in collection.node_list.value]
        first = {name.split(":")[0] for name in names}
        run = [node for node in graph.graph_def.node if node.name in first and (node.op != "NoOp" or node.input)]
        if kinds & {"resource", "asset"} or run:
            raise UserError(f"{folder}: has tables, files or code that loading it would run; give the .keras file")
        functions = graph.graph_def.library.function
        nodes = [*graph.graph_def.node, *(node for function in functions for node in function.node_def)]
        for node in nodes:
            if _REFUSED.search(node.op):
                raise UserError(f"{folder}: has an operation '{node.op}', which is not run; give the .keras file")


def _convert(folder: str, target: str) -> None:
    _check(folder)
    loaded = tf.saved_model.load(folder)
    # with constants for variables: of networks saved otherwise than by `export` the converter keeps them as such
    frozen = convert_variables_to_constants_v2(_signature(folder, loaded.signatures))
    Path(target).write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())


def _signature(folder: str, signatures: Mapping[str, Any]) -> Any:
    """Return the function that is the network: the default one, or the only one."""
    if _DEFAULT in signatures or len(signatures) == 1:
        return signatures[_DEFAULT] if _DEFAULT in signatures else next(iter(signatures.values()))
    names = ", ".join(signatures) or "none"
    raise UserError(f"{folder}: has the signatures {names}; save it with one, or with one called {_DEFAULT}")


if __name__ == "__main__":
    try:
        _convert(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    except Exception as error:  # protobuf, TensorFlow and MLIR raise whatever they stumble over
        reason = " ".join(str(error).split())[:200]
        sys.exit(f"error: not a convertible SavedModel ({type(error).__name__}: {reason}); give the .keras file")
