"""Arithmetic in 8-bit integers for networks on CPUs, by the ranges of a trained network's values."""
