"""What figures share: look, panels, files."""
