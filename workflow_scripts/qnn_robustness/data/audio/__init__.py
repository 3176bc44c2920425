"""Sound: reading wav files and the features that networks take of them."""
