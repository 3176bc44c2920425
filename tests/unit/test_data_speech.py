"""Speech commands: features against TensorFlow's, splits by the official lists, and one line for damaged sound."""

from __future__ import annotations

import contextlib
import io
import wave

import numpy as np
import pytest
from data_builder import entry, write_archive
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn_robustness.common.errors import UserError
from qnn_robustness.data.audio import mfcc as features
from qnn_robustness.data.audio.wav import BadSound, read_wav
from qnn_robustness.data.formats import speech_commands
from qnn_robustness.data.formats.speech_commands import CLASSES, WORDS
from qnn_robustness.data.prepare import draw, prepare
from qnn_robustness.data.splits import SPLITS, load_sound, load_split, to_unit

SPEECH = entry(format="speech_commands", image_shape=[49, 10, 1])
RATE = features.RATE


def sound_of(number: int, seconds: float = 0.02) -> np.ndarray:
    return np.random.default_rng(number).integers(-3000, 3000, int(seconds * RATE)).astype(np.int16)


def wav_bytes(sound: np.ndarray, channels: int = 1, width: int = 2, rate: int = RATE) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(sound.tobytes())
    return stream.getvalue()


def features_of(*sounds: np.ndarray) -> np.ndarray:
    return features.mfcc(np.stack([features.one_second(sound) for sound in sounds]))


# -- features ------------------------------------------------------------------------------------------------


def test_mfcc_are_those_of_tensorflow():
    import tensorflow as tf

    seconds = np.arange(RATE) / RATE
    sounds = [sound_of(1, 1), sound_of(2, 0.5), (9000 * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)]
    waveforms = np.stack([features.one_second(sound) for sound in sounds])
    spectrograms = tf.abs(tf.signal.stft(waveforms.astype(np.float32), 480, 320, window_fn=tf.signal.hann_window))
    weights = tf.signal.linear_to_mel_weight_matrix(40, 257, 16000, 20.0, 4000.0)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(spectrograms @ weights + 1e-6))[..., :10]
    found = features.mfcc(waveforms)
    assert found.shape == (3, 49, 10, 1)
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 50
    np.testing.assert_allclose(found[..., 0], expected, atol=2e-3)  # TensorFlow's are in float32 throughout


def test_a_clip_is_cut_or_padded_to_one_second_and_its_volume_does_not_matter():
    long = sound_of(0, 1.5)
    np.testing.assert_array_equal(features_of(long), features_of(long[:RATE]))
    short = sound_of(1, 0.3)
    padded = features.one_second(short)
    assert padded.max() == 1
    assert not padded[len(short) :].any()
    np.testing.assert_allclose(features_of(short), features_of(short * 2.0), atol=1e-5)
    silence = features_of(np.zeros(RATE, np.int16))
    assert np.isfinite(silence).all()
    np.testing.assert_allclose(silence[0, :, 1:], 0, atol=1e-4)
    np.testing.assert_allclose(silence[0, :, 0], np.sqrt(2 * 40) * np.log(1e-6), rtol=1e-6)


def test_a_pure_tone_falls_into_the_band_of_its_frequency():
    weights = features.mel_weights()
    for hertz in (200, 1000, 3000):
        tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)[: features.WINDOW] * features.hann_window()
        band = (np.abs(np.fft.rfft(tone, features.FOURIER)) @ weights).argmax()
        edges = 700 * np.expm1(np.linspace(*(1127 * np.log1p(np.array([20, 4000]) / 700)), 42) / 1127)
        assert edges[band] < hertz < edges[band + 2]


# -- wav files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is corrupt or no uncompressed wav file"),
        (b"RIFF....not sound", "is corrupt or no uncompressed wav file"),
        (wav_bytes(sound_of(0), channels=2), "has 2 channels of 16 bits at 16000 Hz"),
        (wav_bytes(sound_of(0), width=1), "has 1 channels of 8 bits"),
        (wav_bytes(sound_of(0), rate=8000), "at 8000 Hz; expected 1 of 16 bits at 16000 Hz"),
        (wav_bytes(sound_of(0)[:0]), "claims 0 samples"),
        (wav_bytes(sound_of(0))[:-10], "is cut off: 315 of 320 samples"),
        (wav_bytes(sound_of(0)).replace(b"\x01\x00\x01\x00", b"\x02\x00\x01\x00", 1), "no uncompressed wav file"),
    ],
)
def test_bad_sound(content, words):
    with pytest.raises(BadSound) as caught:
        read_wav(content, RATE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_gives_sound_or_one_line(data):
    content = bytearray(wav_bytes(sound_of(0)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadSound):
        sound = read_wav(bytes(content[: data.draw(st.integers(0, len(content)))]), RATE)
        assert sound.dtype == np.int16
        assert 0 < len(sound) <= 320


# -- archives --------------------------------------------------------------------------------------------------


def training_files(prefix: str = "./") -> dict[str, bytes]:
    """Clips of each of twelve words by speakers a to g, e and g for validation, f for testing, and two noises."""
    words = [*WORDS, "cat", "dog"]
    files = {
        f"{prefix}{word}/{speaker}_nohash_0.wav": wav_bytes(sound_of(100 * w + s))
        for w, word in enumerate(words)
        for s, speaker in enumerate("abcdefg")
    }
    for name, speakers in (("validation", "eg"), ("testing", "f")):
        lines = "".join(f"{word}/{speaker}_nohash_0.wav\n" for word in words for speaker in speakers)
        files[f"{prefix}{name}_list.txt"] = lines.encode()
    for number in (1, 2):
        files[f"{prefix}_background_noise_/{number}.wav"] = wav_bytes(sound_of(5000 + number, 5 * number))
    return files | {f"{prefix}README.md": b"?"}


def test_files() -> dict[str, bytes]:
    return {f"{c}/{n}.wav": wav_bytes(sound_of(7000 + 10 * n + i)) for i, c in enumerate(CLASSES) for n in range(3)}


test_files.__test__ = False


def both(tmp_path, train=None, test=None) -> dict:
    return {
        "train": write_archive(tmp_path / "train.tar.gz", train or training_files()),
        "test": write_archive(tmp_path / "test.tar.gz", test or test_files()),
    }


@pytest.mark.parametrize("prefix", ["./", "set/"])
def test_training_validation_and_test_clips_are_those_of_the_lists(tmp_path, prefix):
    source = speech_commands.read(both(tmp_path, training_files(prefix)), SPEECH)
    assert source.classes == [
        "down",
        "go",
        "left",
        "no",
        "off",
        "on",
        "right",
        "stop",
        "up",
        "yes",
        "_silence_",
        "_unknown_",
    ]
    counts = {pool: np.bincount(source.pools[pool].labels, minlength=12).tolist() for pool in source.pools}
    # noises of 5 and 10 s: windows every half second in the first 4 and 8 s, and in the last 1 and 2 s
    assert counts == {"train": [4] * 10 + [7 + 15, 4], "validation": [2] * 10 + [1 + 3, 2], "test": [3] * 12}
    validation = source.pools["validation"]
    for w, word in enumerate(WORDS):
        row = np.flatnonzero(validation.labels == CLASSES.index(word))
        np.testing.assert_array_equal(
            validation.samples[row], features_of(sound_of(100 * w + 4), sound_of(100 * w + 6))
        )
    test = source.pools["test"]
    assert test.labels[:12].tolist() == sorted(range(12), key=lambda label: CLASSES[label]), (
        "by file name, then by class"
    )
    np.testing.assert_array_equal(
        test.samples[test.labels == 3], features_of(*(sound_of(7000 + 10 * n + 3) for n in range(3)))
    )


def test_most_training_clips_and_no_others_carry_noise(tmp_path):
    source = speech_commands.read(both(tmp_path), SPEECH)
    train = source.pools["train"]
    clean = {features_of(sound_of(100 * w + s)).tobytes() for w in range(12) for s in range(4)}
    words = train.samples[train.labels != CLASSES.index("_silence_")]
    share = np.mean([sample.tobytes() not in clean for sample in words])
    assert 0.6 < share < 1
    again = speech_commands.read(both(tmp_path), SPEECH).pools["train"]
    np.testing.assert_array_equal(train.samples, again.samples)
    other = speech_commands.read(both(tmp_path), SPEECH | {"seed": 1}).pools["train"]
    assert (other.samples != train.samples).any()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 100), lengths=st.lists(st.integers(1, 3 * RATE), min_size=1, max_size=3))
def test_noise_is_a_second_of_a_recording_at_a_tenth_of_its_volume_at_most(seed, lengths):
    noise = [np.full(length, (-1.0) ** number) for number, length in enumerate(lengths)]
    mixing = speech_commands._Mixing(noise, seed, 5)
    for place in range(5):
        mixed = mixing(np.zeros(RATE), place)
        assert np.abs(mixed).max() <= speech_commands.LOUDEST_NOISE
        assert len(np.unique(mixed[mixed != 0])) <= 1, "from one recording"
    assert not mixing(np.zeros(RATE), 5).any()


def test_the_test_archive_alone(tmp_path):
    path = both(tmp_path)["test"]
    assert set(speech_commands.read(path, SPEECH).pools) == {"all"}
    dataset = SPEECH | {"calibration_from_test": True, "calibration_samples": 12}
    splits = draw(speech_commands.read(path, dataset), dataset)
    assert np.bincount(splits["calibration"].labels).tolist() == [1] * 12
    assert np.bincount(splits["test"].labels).tolist() == [2] * 12


def test_the_lists_hold_clips_out_whatever_the_case_of_their_names(tmp_path):
    files = {name.replace("_0.wav", "_0.WAV"): content for name, content in training_files().items()}
    plain, upper = (speech_commands.read(both(tmp_path, train), SPEECH).pools for train in (None, files))
    for pool in ("train", "validation"):
        np.testing.assert_array_equal(upper[pool].samples, plain[pool].samples)


def test_clips_are_found_whatever_a_file_manager_did_to_them(tmp_path):
    plain = speech_commands.read(both(tmp_path)["test"], SPEECH).pools["all"]
    files = {name.replace(".wav", ".WAV"): content for name, content in test_files().items()}
    cluttered = files | {"up/._0.wav": b"Mac OS X", "__MACOSX/up/0.wav": b"Mac OS X"}
    found = speech_commands.read(both(tmp_path, test=cluttered)["test"], SPEECH).pools["all"]
    np.testing.assert_array_equal(found.samples, plain.samples)
    np.testing.assert_array_equal(found.labels, plain.labels)


def without(files: dict[str, bytes], part: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if part not in name}


@pytest.mark.parametrize(
    ("pool", "files", "words"),
    [
        ("train", without(training_files(), "validation_list"), "has no member 'validation_list.txt'"),
        ("train", without(training_files(), "_noise_"), "has no clips in _background_noise_"),
        ("train", without(training_files(), "yes"), "has no clips of 'yes'"),
        ("train", test_files(), "expected the archive of the training data"),
        ("train", {"a.txt": b""}, "has no wav files in folders"),
        ("train", training_files() | {"./up/a_nohash_0.wav": b"RIFF"}, "clip 'up/a_nohash_0.wav' is corrupt"),
        ("test", test_files() | {"train/up/9.wav": wav_bytes(sound_of(0))}, "in several places, . and train; expected"),
        ("test", without(test_files(), "_silence_"), "has no clips of '_silence_'"),
        ("test", test_files() | {"up/0.wav": wav_bytes(sound_of(0), rate=8000)}, "clip 'up/0.wav' has 1 channels"),
    ],
)
def test_bad_archives(tmp_path, pool, files, words):
    with pytest.raises(UserError) as caught:
        speech_commands.read(both(tmp_path, **{pool: files}), SPEECH)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_named(tmp_path):
    with pytest.raises(UserError, match="names no file for 'train'"):
        speech_commands.read({"test": tmp_path / "t.tar.gz"}, SPEECH)


# -- splits --------------------------------------------------------------------------------------------------------


def prepared(tmp_path, **changes) -> tuple[dict, dict]:
    import json

    outputs = {split: tmp_path / f"{split}.npz" for split in SPLITS} | {"summary": tmp_path / "summary.json"}
    dataset = SPEECH | {"validation_samples": 12, "calibration_samples": 6} | changes
    prepare("speech", dataset, both(tmp_path), outputs)
    return {split: load_split(outputs[split]) for split in SPLITS}, json.loads(outputs["summary"].read_text())


def test_features_are_scaled_by_the_range_of_the_calibration_split(tmp_path):
    splits, summary = prepared(tmp_path)
    calibration = splits["calibration"].samples
    assert (calibration.min(), calibration.max(), calibration.dtype) == (0, 1, np.float32)
    low, high = summary["feature_range"]
    raw = speech_commands.read(both(tmp_path), SPEECH).pools["test"].samples
    np.testing.assert_allclose(splits["test"].samples, np.clip((raw - low) / (high - low), 0, 1), atol=1e-6)
    assert to_unit(splits["test"].samples) is splits["test"].samples
    sound = load_sound(tmp_path / "test.npz")
    np.testing.assert_array_equal(features.features_of(sound.clips, sound.feature_range), splits["test"].samples)
    assert sound.feature_range == (low, high)
    with pytest.raises(UserError, match=r"train\.npz: has no sound; an attack on sound needs a data set of sound"):
        load_sound(tmp_path / "train.npz")
    assert summary["samples"] == {"train": 66, "validation": 12, "calibration": 6, "test": 36}
    assert summary["samples_per_class"]["train"]["_silence_"] == 22
    assert set(summary["archives"]) == {"train", "test"}


def test_a_range_that_is_given(tmp_path):
    splits, summary = prepared(tmp_path, feature_range=[-200, 100])
    assert summary["feature_range"] == [-200, 100]
    raw = speech_commands.read(both(tmp_path), SPEECH).pools["test"].samples
    np.testing.assert_allclose(splits["test"].samples, (raw + 200) / 300, atol=1e-6)
    with pytest.raises(UserError, match=r"^dataset 'speech': feature_range: \[1, 1\] is empty"):
        prepared(tmp_path, feature_range=[1, 1])
