"""Google Speech Commands v0.02 (Warden 2018, arXiv 1804.03209) for keyword spotting with twelve classes.

Ten words, `_silence_` (background noise) and `_unknown_` (other words), in the order of MLPerf Tiny, as MFCC.

The archive of the training data has a folder for each of 35 words, lists of the clips for validation and testing, and a
folder of background noise of a minute or more. The archive of the test data has a folder for each class, balanced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import is_clutter
from qnn_robustness.common.progress import progress
from qnn_robustness.data.archives import list_members, read_members, shown
from qnn_robustness.data.audio.mfcc import COEFFICIENTS, FRAMES, RATE, first_second, mfcc, one_second
from qnn_robustness.data.audio.wav import BadSound, read_wav
from qnn_robustness.data.formats import Pool, Source, require_classes, require_shape

SHAPE = (FRAMES, COEFFICIENTS, 1)
WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
CLASSES = [*WORDS, SILENCE, UNKNOWN]
NOISE = "_background_noise_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}

# Clips of words for training are mixed with noise as MLPerf Tiny does, once and for all.
NOISY_SHARE = 0.8
LOUDEST_NOISE = 0.1  # of the clip's largest value
NOISE_FOR_TRAINING = 0.8  # of each recording of noise; the rest is for validation
WINDOW_STEP = RATE // 2  # between the windows of noise that are samples of silence

_BLOCK = 256
_SHARE, _VOLUME, _PLACE, _CHOICE = range(4)  # random streams


def read(archive: Path | Mapping[str, Path], dataset: dict[str, Any]) -> Source:
    """Return the MFCC of the clips, float32 [N, 49, 10, 1], in canonical order: by file name, then by class.

    With the files `train` and `test`: the pool `test` is the test archive; the training archive gives the pools `train`
    and `validation` by its lists (the clips of its testing list are left out: they are among the test data). In both,
    `_unknown_` has as many clips of other words as a word has on average, drawn by `seed`.

    With the test archive alone, its clips are one pool `all`, or `test` where `calibration_from_test` sets the
    calibration split aside.

    Raises UserError when a file or list is missing, a clip is no whole wav file of 16 kHz, or `image_shape` or
    `classes` of the data set are not those of the commands.
    """
    require_shape(dataset, SHAPE)
    require_classes(dataset, CLASSES)
    if isinstance(archive, Path):
        return Source(CLASSES, {"test" if dataset.get("calibration_from_test") else "all": _test_pool(archive)})
    for pool in ("train", "test"):
        if pool not in archive:
            raise UserError(f"archives: names no file for '{pool}'")
    pools = _training_pools(archive["train"], dataset["seed"])
    return Source(CLASSES, {**pools, "test": _test_pool(archive["test"])})


def _test_pool(archive: Path) -> Pool:
    clips = _clips(archive)
    clips = {name: folder for name, folder in clips.items() if folder in CLASSES}
    for missing in sorted(set(CLASSES) - set(clips.values())):
        raise UserError(f"{archive}: has no clips of '{missing}'; is it the archive of the test data?")
    rows = _in_order(clips)
    features, sound = _features(archive, rows, keep_sound=True)
    return _pool(features, [clips[name] for name in rows], sound)


def _training_pools(archive: Path, seed: int) -> dict[str, Pool]:
    clips = _clips(archive)
    extra = _extra(archive, clips)
    noise = [_sound(archive, name, extra[name]) / 2**15 for name in sorted(extra) if clips.get(name) == NOISE]
    if not noise:
        raise UserError(f"{archive}: has no clips in {NOISE}; is it the archive of the training data?")
    borders = [int(NOISE_FOR_TRAINING * len(sound)) for sound in noise]
    silence = {
        "train": _silence([sound[:border] for sound, border in zip(noise, borders, strict=True)]),
        "validation": _silence([sound[border:] for sound, border in zip(noise, borders, strict=True)]),
    }
    held_out = {pool: _listed(extra[_prefix(clips) + name], _prefix(clips)) for pool, name in LISTS.items()}
    classes: dict[str, dict[str, str]] = {"train": {}, "validation": {}}
    for name, folder in clips.items():
        if folder != NOISE and name.lower() not in held_out["test"]:
            classes["validation" if name.lower() in held_out["validation"] else "train"][name] = folder
    classes = {pool: _balanced(archive, own, seed) for pool, own in classes.items()}
    rows = {pool: _in_order(own) for pool, own in classes.items()}
    count = len(rows["train"])
    mixing = _Mixing([sound[:border] for sound, border in zip(noise, borders, strict=True)], seed, count)
    features, _ = _features(archive, rows["train"] + rows["validation"], mixing)
    parts = {"train": features[:count], "validation": features[count:]}
    return {
        pool: _pool(
            np.concatenate([parts[pool], silence[pool]]),
            [classes[pool][name] for name in rows[pool]] + [SILENCE] * len(silence[pool]),
        )
        for pool in classes
    }


def _extra(archive: Path, clips: Mapping[str, str]) -> dict[str, bytes]:
    """Return the content of the lists and of the recordings of noise."""
    lists = [_prefix(clips) + name for name in LISTS.values()]
    try:
        return dict(read_members(archive, [*lists, *(name for name, folder in clips.items() if folder == NOISE)]))
    except UserError as error:
        raise UserError(f"{error} (expected the archive of the training data)") from None


def _clips(archive: Path) -> dict[str, str]:
    """Return the folder of every wav file of an archive, by its name; a folder around the whole archive is allowed."""
    members = list_members(archive)
    names = [PurePosixPath(member.name) for member in members if not member.is_folder and not is_clutter(member.name)]
    found = [name for name in names if name.suffix.lower() == ".wav" and name.parent.name]
    if not found:
        raise UserError(f"{archive}: has no wav files in folders; expected <class>/<clip>.wav")
    around = sorted({str(name.parent.parent) for name in found})
    if len(around) > 1:
        raise UserError(
            f"{archive}: has folders of clips in several places, {' and '.join(around[:2])}; expected "
            "<class>/<clip>.wav, of one split alone"
        )
    return {str(name): name.parent.name for name in found}


def _prefix(clips: Mapping[str, str]) -> str:
    """Return what stands before the folder in the names of clips."""
    name, folder = next(iter(clips.items()))
    return name[: name.rindex(f"{folder}/")]


def _listed(content: bytes, prefix: str) -> set[str]:
    """Return the names in a list, in lower case: those of clips may be in another than the list has."""
    lines = content.decode("utf-8", "replace").splitlines()
    return {(prefix + line.strip()).lower() for line in lines if line.strip()}


def _balanced(archive: Path, clips: dict[str, str], seed: int) -> dict[str, str]:
    """Return the class of each clip of the ten words, and of as many others as a word has on average."""
    words = {name: folder for name, folder in clips.items() if folder in WORDS}
    for missing in sorted(set(WORDS) - set(words.values())):
        raise UserError(f"{archive}: has no clips of '{missing}'; is it the archive of the training data?")
    others = _in_order({name: folder for name, folder in clips.items() if folder not in WORDS})
    wanted = round(len(words) / len(WORDS))
    chosen = np.argsort(_uniform(seed, _CHOICE, len(others)), kind="stable")[:wanted]
    return {**words, **{others[place]: UNKNOWN for place in chosen}}


def _in_order(clips: Mapping[str, str]) -> list[str]:
    return sorted(clips, key=lambda name: (PurePosixPath(name).name, clips[name], name))


def _features(
    archive: Path, rows: list[str], mixing: _Mixing | None = None, keep_sound: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the MFCC of one second of each of the clips `rows`, and with `keep_sound` these seconds, int16 [N, 16000].

    Those clips which `mixing` covers carry noise.
    """
    places = {name: place for place, name in enumerate(rows)}
    features = np.empty((len(rows), *SHAPE), np.float32)
    kept = np.empty((len(rows), RATE), np.int16) if keep_sound else None

    def waveforms() -> Iterator[tuple[int, np.ndarray]]:
        for name, content in progress(read_members(archive, places), "read clips", len(rows), "clip"):
            place, sound = places[name], first_second(_sound(archive, name, content))
            if keep_sound:
                kept[place] = sound
            clip = one_second(sound)
            yield place, mixing(clip, place) if mixing else clip

    for block in _blocks(waveforms()):
        chosen, sounds = zip(*block, strict=True)
        features[list(chosen)] = mfcc(np.stack(sounds))
    return features, kept


def _blocks(items: Iterable) -> Iterator[list]:
    block = []
    for item in items:
        block.append(item)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _sound(archive: Path, name: str, content: bytes) -> np.ndarray:
    try:
        return read_wav(content, RATE)
    except BadSound as reason:
        raise UserError(
            f"{archive}: clip {shown(name)} {reason}; get the archive again from a source you trust"
        ) from None


def _silence(noise: list[np.ndarray]) -> np.ndarray:
    """Return the MFCC of windows of noise, one second each."""
    windows = [
        one_second(sound[start : start + RATE])
        for sound in noise
        for start in range(0, max(1, len(sound) - RATE + 1), WINDOW_STEP)
    ]
    return np.concatenate([mfcc(np.stack(windows[i : i + _BLOCK])) for i in range(0, len(windows), _BLOCK)])


class _Mixing:
    """Background noise for the first `count` clips: most get a random second of it at a random volume."""

    def __init__(self, noise: list[np.ndarray], seed: int, count: int):
        self.noise = [np.pad(sound, (0, max(0, RATE - len(sound)))) for sound in noise]
        self.starts = np.cumsum([0, *(len(sound) - RATE + 1 for sound in self.noise)])
        self.count = count
        self.share, self.volume, self.where = (_uniform(seed, stream, count) for stream in (_SHARE, _VOLUME, _PLACE))

    def __call__(self, clip: np.ndarray, place: int) -> np.ndarray:
        """Return the clip [16000] at `place` with its noise, in [-1, 1]."""
        if place >= self.count or self.share[place] >= NOISY_SHARE:
            return clip
        start = int(self.where[place] * self.starts[-1])
        which = int(np.searchsorted(self.starts, start, side="right")) - 1
        window = self.noise[which][start - self.starts[which] :][:RATE]
        return np.clip(clip + LOUDEST_NOISE * self.volume[place] * window, -1, 1)


def _uniform(seed: int, stream: int, count: int) -> np.ndarray:
    """Return numbers in [0, 1) that depend on the seed, the stream and the place only."""
    # raw_random of a bit generator keeps its stream for ever; the draws of numpy's Generator may change
    return (np.random.PCG64([seed, stream]).random_raw(count) >> np.uint64(11)) / 2**53


def _pool(features: np.ndarray, classes: list[str], sound: np.ndarray | None = None) -> Pool:
    labels = np.array([CLASSES.index(name) for name in classes], np.int64)
    return Pool(features, labels, np.full(len(labels), "wav", dtype=object), sound)
