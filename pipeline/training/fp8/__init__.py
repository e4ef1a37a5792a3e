"""Training whose products of matrices are of eight bits, as DeepSeek-V3 was trained."""
