"""What helps to write recipes and plug-ins: templates of both, and which fields there are, for people and editors."""
