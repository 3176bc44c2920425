"""The trained networks and density models that are kept with the project, and when one may stand in for a training.

`reference_models/manifest.json` maps `<model>/<training>` to
    {recipe: {...}, recipe_sha256, data_sha256, code_sha256, quantized: {precision: made_from},
     accuracies: {...}, files: {name: sha256}},
where `made_from` is that of the sidecar of a .tflite file, and `densities/<density>` to the same with
`bits_per_dimension` of the validation split instead of what is said of networks.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import atomic_path, sha256_file

FOLDER, MANIFEST = "reference_models", "manifest.json"


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest of a folder of reference networks; empty when there is none.

    Raises UserError when it is not JSON.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); restore it from version control") from None


def matching(root: Path, name: str, recipe_sha256: str) -> dict[str, Any] | None:
    """Return the entry of `name`, a key of the manifest, if it was made with this recipe, with its `folder`.

    Jobs look it up when they run: a reference network that appears later makes no finished training outdated.
    """
    entry = read_manifest(root / FOLDER).get(name)
    if entry is None or entry["recipe_sha256"] != recipe_sha256:
        return None
    return {**entry, "folder": str(Path(FOLDER) / name)}


def copy(root: Path, entry: dict[str, Any], files: dict[str, str]) -> None:
    """Copy files of a reference network, {name in the manifest: destination}, after checking their hashes.

    Raises UserError when a file is missing or is not the one recorded.
    """
    for name, destination in files.items():
        source = root / entry["folder"] / name
        if not source.exists():
            raise UserError(f"{source}: missing; restore it or set reference_models: ignore")
        if sha256_file(source) != entry["files"][name]:
            raise UserError(
                f"{source}: not the file recorded in the manifest; restore it or set reference_models: ignore"
            )
        with atomic_path(destination) as partial:
            shutil.copyfile(source, partial)
