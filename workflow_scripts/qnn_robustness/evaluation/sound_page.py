"""A page on which adversarial sound can be heard."""

from __future__ import annotations

import base64
import html

import numpy as np

from qnn_robustness.common import notebooks
from qnn_robustness.data.audio.mfcc import RATE
from qnn_robustness.data.audio.wav import wav_of
from qnn_robustness.data.splits import Sound
from qnn_robustness.evaluation.sound import checked_ratio

EXAMPLES = 3  # for each budget


def page(sections: dict[str, str]) -> str:
    """Return a page that needs nothing but itself, of `sections` by their titles."""
    body = (
        "<h1>Adversarial sound</h1>\n<p>The first clips that the attacked network misclassifies because of the noise, "
    )
    body += "for each signal-to-noise ratio allowed.</p>\n"
    body += "\n".join(f"<h2>{html.escape(title)}</h2>\n{section}" for title, section in sections.items())
    return notebooks.PAGE.format(title="Adversarial sound", style=notebooks.STYLE, body=body)


def section(
    crafted: dict[str, np.ndarray], sound: Sound, labels: np.ndarray, classes: list[str], clean_correct: np.ndarray
) -> str:
    """Return a table of examples of one crafting job: what is said, the ratio reached, and both clips to be heard.

    `labels` and `clean_correct` (whether the source is right about the clean clip) are those of the attacked samples.
    """
    ratios, rows = checked_ratio(crafted, sound), []
    for e, budget in enumerate(crafted["budgets"]):
        places = np.flatnonzero(crafted["found"][0, e] & clean_correct)[:EXAMPLES]
        for place in places:
            clips = sound.clips[crafted["samples"][place]], crafted["sound"][0, e, place]
            cells = [f"{budget:g} dB", f"{ratios[0, e, place]:.1f} dB", html.escape(classes[labels[place]])]
            rows.append("".join(f"<td>{cell}</td>" for cell in [*cells, *map(_player, clips)]))
        if not len(places):
            rows.append(f"<td>{budget:g} dB</td><td></td><td>none was found</td><td></td><td></td>")
    head = "".join(f"<th>{name}</th>" for name in ("allowed", "reached", "label", "clean", "adversarial"))
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _player(clip: np.ndarray) -> str:
    content = base64.b64encode(wav_of(clip, RATE)).decode()
    return f'<audio controls preload="none" src="data:audio/wav;base64,{content}"></audio>'
