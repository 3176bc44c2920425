"""The tables of the diagnostics, one module a table: `table(rows) -> DataFrame` from the rows of all networks."""
