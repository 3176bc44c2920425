"""Robustness of quantized neural networks for microcontrollers against adversarial examples."""
