"""Tables of the reports: numbers as text, and frames as HTML."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from IPython.display import HTML

HEADINGS = {
    "borne_out": "settings borne out",
    "open": "settings open",
    "contradicted": "settings contradicted",
}


def as_table(table: pd.DataFrame) -> HTML:
    """Return a table for a notebook: headings without underscores, three digits, missing numbers empty."""
    table = table.rename(columns=lambda name: name.replace("_", " "))
    return HTML(table.to_html(index=False, float_format=_number, na_rep="", border=0))


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def accuracy_text(table: pd.DataFrame) -> list[str]:
    """Return `accuracy [ci_low, ci_high]` of each row in per cent."""
    values = table[["accuracy", "ci_low", "ci_high"]].to_numpy() * 100
    return [f"{accuracy:.1f} [{low:.1f}, {high:.1f}]" for accuracy, low, high in values]


def budget_text(table: pd.DataFrame) -> list[str]:
    """Return the budget of each row: in 255ths for Linf, nothing for attacks without one."""
    pairs = table[["budget", "norm"]].itertuples(index=False)
    return [_budget(budget, norm) for budget, norm in pairs]


def _budget(budget: float, norm: str) -> str:
    if pd.isna(budget):
        return ""
    return f"{budget * 255:.3g}/255" if norm == "linf" else f"{budget:.3g}"


def spread(clean: pd.DataFrame, keys: list[str]) -> str:
    """Return the largest difference of accuracies within a group, in percentage points, and where it is."""
    accuracies = clean.groupby(keys, sort=False)["accuracy"]
    differences = accuracies.max() - accuracies.min()
    return f"{100 * differences.max():.2f} ({', '.join(differences.idxmax())})"


def findings_table(findings: pd.DataFrame, names: Sequence[str] = ()) -> HTML:
    """Return the rows of the table findings, or those called `names`, with their verdicts."""
    shown = findings[findings["finding"].isin(names)] if names else findings
    return as_table(shown.rename(columns=HEADINGS))
