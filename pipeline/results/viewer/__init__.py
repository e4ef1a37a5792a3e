"""Reading rollouts in a browser: what a run kept, in one shape, and the page parts that show it."""
