"""What preprocessors share: how they are called, and how they are attacked."""
