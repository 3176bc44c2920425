"""The checks of a configuration before any job starts, by section; each raises UserError, with one line."""
