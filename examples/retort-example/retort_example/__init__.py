"""Sorting, taught and graded: an example of a package with plug-ins for Retort."""
