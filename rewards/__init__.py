"""What is right, and what it is worth: problems, verdicts, rules and the rubric. Imports nothing heavy."""
