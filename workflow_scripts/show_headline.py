"""Print the headline table and where the report is: `show_headline.py TABLE.csv REPORT.html`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from qnn_robustness.common.errors import UserError

DECIMALS = 4


def aligned(rows: list[list[str]]) -> str:
    """Return rows (the first is the header) as text in columns; numbers to the right, rounded alike."""
    columns = [_column(list(cells)) for cells in zip(*rows, strict=True)]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def _column(cells: list[str]) -> list[str]:
    values = cells[1:]
    numeric = any(values) and all(_is_number(value) for value in values if value)
    if numeric:
        places = min(DECIMALS, max(len(value.partition(".")[2]) for value in values))
        cells = [cells[0], *(f"{float(value):.{places}f}" if value else "" for value in values)]
    width = max(map(len, cells))
    return [cell.rjust(width) if numeric else cell.ljust(width) for cell in cells]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def main(table: str, report: str) -> None:
    """Print the table in `table` (CSV with a header) and the absolute path of `report`.

    Raises UserError when either file is missing or the table is empty.
    """
    for path in (table, report):
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; `make quickstart` makes it")
    with open(table, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row]
    if len(rows) < 2:
        raise UserError(f"{table}: the table has no rows")
    print(f"\n{aligned(rows)}\n\nReport: {Path(report).resolve()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: show_headline.py TABLE.csv REPORT.html")
    sys.stdout.reconfigure(errors="replace")  # terminals without arrows
    try:
        main(sys.argv[1], sys.argv[2])
    except UserError as error:
        sys.exit(f"error: {error}")
