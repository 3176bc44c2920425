"""Reading wav files that may be damaged or hostile."""

from __future__ import annotations

import io
import wave

import numpy as np

MAX_SECONDS = 300


class BadSound(Exception):
    """Why a file cannot be used, in words that follow its name."""


def read_wav(content: bytes, rate: int) -> np.ndarray:
    """Return the sound of a wav file, int16 [N].

    Raises BadSound unless it is whole, uncompressed, of one channel, 16 bits and `rate` samples a second, and no longer
    than MAX_SECONDS.
    """
    try:
        with wave.open(io.BytesIO(content)) as sound:
            found = (sound.getnchannels(), 8 * sound.getsampwidth(), sound.getframerate())
            count = sound.getnframes()
            if found != (1, 16, rate):
                raise BadSound(
                    "has {} channels of {} bits at {} Hz; expected 1 of 16 bits at {rate} Hz".format(*found, rate=rate)
                )
            if not 0 < count <= MAX_SECONDS * rate:
                raise BadSound(f"claims {count:,} samples; expected 1 to {MAX_SECONDS * rate:,}")
            frames = sound.readframes(count)
    except BadSound:
        raise
    except Exception as error:  # the module wave raises whatever it stumbles over
        raise BadSound(f"is corrupt or no uncompressed wav file ({type(error).__name__}: {error})") from error
    if len(frames) != 2 * count:
        raise BadSound(f"is cut off: {len(frames) // 2:,} of {count:,} samples are there")
    return np.frombuffer(frames, "<i2").astype(np.int16)


def wav_of(sound: np.ndarray, rate: int) -> bytes:
    """Return sound (int16 [N]) as the content of a wav file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.astype("<i2").tobytes())
    return stream.getvalue()
