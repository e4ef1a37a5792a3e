"""What reinforcement minimizes: advantages of rewards, losses of log-probabilities, objectives by name."""
