"""How models write calls and are shown what tools say: a file for each form."""
