"""What a recipe says of a model, held against what transformers takes, before anything is loaded."""
