"""Networks given by files: what the configuration declares about them is checked against file and data."""
