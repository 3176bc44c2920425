"""What the questions share: the precisions of a network, losses, finite differences, random streams."""
