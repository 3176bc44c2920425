"""From adversarial samples to records, metrics and tables."""
