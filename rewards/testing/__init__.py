"""The kinds of tests that a program can be put to, behind the verifier `code`. Each runs it in the sandbox and
counts."""
