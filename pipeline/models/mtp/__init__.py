"""Multi-token prediction: the module, what a recipe says of it, and its file beside a model's."""
