"""Speculation: tokens are drafted cheaply, and read by the model several at a time; those that it draws itself stand.

`lookup.py` and `mtp.py` draft, `verify.py` counts what stands, `row.py` is what both write in, `reading.py` which
tokens are read by one forward. The engine (`eval/engine/native.py`) draws.
"""
