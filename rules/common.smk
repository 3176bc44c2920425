# The validated configuration, and what every rule uses to name its parameters.
import os
import sys

ROOT = Path(workflow.basedir)
SCRIPTS = ROOT / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
)

from qnn_robustness.common.code_hash import code_hash
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.registry import module_name
from qnn_robustness.configuration import configuration as configurations

try:
    C = configurations.load(
        config, ROOT / "schemas" / "config.schema.yaml", ROOT / "reference_models"
    )
except UserError as error:
    raise WorkflowError(f"configuration: {error}") from None


def code(script, *modules):
    """Return the hash of a script, what it imports, and the registry modules a job selects."""
    return code_hash(SCRIPTS / script, *modules)


wildcard_constraints:
    dataset="[a-z][a-z0-9_]*",
    model="[a-z][a-z0-9_]*",
    training="[a-z][a-z0-9_]*",
    source="float32|int16|int8",
    target="float32|int16|int8",
    precision="int16|int8",
    attack="[a-z][a-z0-9_]*",
    preprocessor="[a-z][a-z0-9_]*",
