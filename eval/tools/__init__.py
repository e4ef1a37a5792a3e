"""Tools that a model may call while it answers: what they are, how they are asked, and what they say.

`calculator`, `search` and `programs` are the built-in ones, `registry` finds all of them and those of other people,
`asking` puts a call to one in bounded time, `formats` are the ways in which models write calls, `box` is what a model
has at hand, and `conversation` draws rollouts in which calls are answered.
"""
