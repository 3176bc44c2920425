"""Official sources of the data sets: addresses, checksums and licences."""

from __future__ import annotations

from typing import Any

from qnn_robustness.common.errors import UserError, did_you_mean

_FILE = ("archive", "urls", "checksum")
_SPEECH_COMMANDS = {
    "archive": "speech_commands_v0.02.tar.gz",
    "urls": ["http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"],
    "checksum": "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
}
_SPEECH_COMMANDS_TEST = {
    "archive": "speech_commands_test_set_v0.02.tar.gz",
    "urls": ["http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz"],
    "checksum": "sha256:cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
}
SOURCES: dict[str, dict[str, Any]] = {
    # Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009
    "cifar10_binary": {
        "archive": "cifar-10-binary.tar.gz",
        "urls": ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
        "checksum": "md5:c32a1d4ab5d03f1284b67883e8d87530",
        "licence": "none stated; cite Krizhevsky 2009",
        "classes": 10,
    },
    "cifar10_python": {
        "archive": "cifar-10-python.tar.gz",
        "urls": ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"],
        "checksum": "md5:c58f30108f718f92721af3b95e74349a",
        "licence": "none stated; cite Krizhevsky 2009",
        "classes": 10,
    },
    # Chowdhery et al., Visual Wake Words Dataset, 2019, as MLPerf Tiny prepares it
    "vww": {
        "archive": "vw_coco2014_96.tar.gz",
        "urls": [
            "https://www.silabs.com/public/files/github/machine_learning/benchmarks/datasets/vw_coco2014_96.tar.gz"
        ],
        "checksum": "sha256:f8746b9e44f8a7a4293f73be9ba6e8da9239fe69798d42364aae62b915cfab58",
        "licence": "annotations CC BY 4.0 (COCO); images under the terms of Flickr",
        "classes": 2,
    },
    # Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, 2018
    "speech_commands": {
        "archives": {"train": _SPEECH_COMMANDS, "test": _SPEECH_COMMANDS_TEST},
        "licence": "CC BY 4.0",
        "classes": 12,
    },
    "speech_commands_test": {**_SPEECH_COMMANDS_TEST, "licence": "CC BY 4.0", "classes": 12},
    # Esgario, Krohling and Ventura, Deep learning for classification and severity estimation of coffee leaf
    # biotic stress, 2020. The labels are in a table beside the images: sort these into class folders first.
    "coffee_leaf": {
        "archive": "lara2018.tar.gz",
        "urls": ["https://github.com/esgario/lara2018/archive/6817af9b800deccd42f9cfac0af83484e412f4e5.tar.gz"],
        "checksum": None,  # none is published
        "licence": "none stated; cite Esgario et al. 2020",
    },
    # Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011
    "svhn": {
        "archives": {
            "train": {
                "archive": "train_32x32.mat",
                "urls": ["http://ufldl.stanford.edu/housenumbers/train_32x32.mat"],
                "checksum": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
            },
            "test": {
                "archive": "test_32x32.mat",
                "urls": ["http://ufldl.stanford.edu/housenumbers/test_32x32.mat"],
                "checksum": "md5:eb5a983be6a315427106f1b164d9cef3",
            },
        },
        "licence": "non-commercial use only",
        "classes": 10,
    },
}

# Classes of the formats that know them without their archive.
CLASSES_OF_FORMATS = {"digits": 10, "cifar10_binary": 10, "speech_commands": 12, "svhn_mat": 10}


def number_of_classes(entry: dict[str, Any]) -> int | None:
    """Return how many classes a data set has; None where only its archive tells.

    An archive that stands in for that of a `source` has the classes of the source.
    """
    if entry.get("classes"):
        return len(entry["classes"])
    official = SOURCES.get(entry.get("source") or "", {})
    return official.get("classes") or CLASSES_OF_FORMATS.get(entry["format"])


def resolve(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a data set's entry with what it lacks filled in from its `source`: files, addresses, checksums, licence.

    What the entry says itself wins. A file is `archive`, `urls` and `checksum`, either at the top of the entry or, for
    formats that read several, under `archives` by the pool it holds. An entry that names a file of its own takes
    neither the addresses nor the checksum of the official one. Without `source` the entry comes back as it is, but
    complete.

    Raises UserError when the registry has no such source.
    """
    name = entry.get("source")
    if name is not None and name not in SOURCES:
        raise UserError(f"source: '{name}' is not in the registry; {did_you_mean(name, SOURCES)}")
    official = SOURCES[name] if name else {}
    several, own = official.get("archives") or {}, entry.get("archives") or {}
    if own or (several and not entry.get("archive")):
        archives = {pool: _file(own.get(pool, {}), several.get(pool, {})) for pool in {**several, **own}}
        return {**entry, "archives": archives, "licence": entry.get("licence") or official.get("licence")}
    file = _file(entry, official)
    if file["archive"] != official.get("archive"):
        official = {}
    return {**entry, **file, "licence": entry.get("licence") or official.get("licence")}


def files(resolved: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the files of a resolved entry, {pool: {archive, urls, checksum}}; the pool of a sole file is `archive`."""
    if resolved.get("archives"):
        return resolved["archives"]
    return {"archive": {key: resolved[key] for key in _FILE}} if resolved["archive"] else {}


def addresses(entry: dict[str, Any], archive: str) -> list[str]:
    """Return where one of the files of a data set's entry can be fetched from, in order."""
    return next(file["urls"] for file in files(resolve(entry)).values() if file["archive"] == archive)


def _file(own: dict[str, Any], official: dict[str, Any]) -> dict[str, Any]:
    archive = own.get("archive") or official.get("archive")
    if archive != official.get("archive"):
        official = {}
    return {
        "archive": archive,
        "urls": list(own.get("urls") or official.get("urls", [])),
        "checksum": own.get("checksum") or official.get("checksum"),
    }
