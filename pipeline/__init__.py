"""Stages, disk, processes: everything between a recipe file and a finished run."""
