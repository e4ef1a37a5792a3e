"""Models of this run served by vLLM: what a recipe says of it, sending weights, and knowing that they have arrived."""
