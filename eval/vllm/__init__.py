"""vLLM as a rollout engine: a server in an environment of its own, asked over HTTP.

vLLM and this package ask for versions of transformers that exclude each other, so that they do not share a process.
`process.py` starts a server, `server.py` talks to it, `engine.py` draws with it, and `worker/` holds what is loaded
inside of it.
"""
