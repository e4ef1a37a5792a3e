"""Drawing and grading the rollouts of a step."""
