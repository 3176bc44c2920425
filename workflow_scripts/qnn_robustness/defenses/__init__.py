"""Input defenses (preprocessors), one module each."""
