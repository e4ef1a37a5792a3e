"""Training a module for multi-token prediction beside a model."""
