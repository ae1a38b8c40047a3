"""8-bit arithmetic for networks on CPUs: convolutions of integers, made from the ranges of a trained network's values."""
