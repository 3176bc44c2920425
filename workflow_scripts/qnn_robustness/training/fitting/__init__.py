"""What the training recipes share: batches with augmentation, the fitting loop, checkpoint choice."""
