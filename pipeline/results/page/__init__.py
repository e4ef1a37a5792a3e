"""A run as one page that people send to each other: everything is in the file, and nothing is fetched."""
