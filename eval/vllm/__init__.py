"""vLLM as a rollout engine: a server in an environment of its own, asked over HTTP.

vLLM and this package seldom allow the same version of transformers, so they do not share a process.
`process.py` starts a server, `server.py` talks to it, `engine.py` draws with it, and `worker/` holds what is loaded
inside of it.
"""
