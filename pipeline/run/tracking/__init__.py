"""Telling trackers (trackio, Weights & Biases, TensorBoard) what a stage logs, each in a process of its own."""
