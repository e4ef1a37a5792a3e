"""What is held against each other once a recipe is read and before its first stage runs."""
