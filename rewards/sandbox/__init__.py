"""Running programs that a model wrote, in a child process that can only state answers.

`processes` is the side of the grader; `zygote` is the process that programs are forked from, and with it goes
everything else here: what takes rights away (`limits`, `seccomp`, `landlock`, `namespaces`) and what a child does
(`programs`). SECURITY.md says what is covered at which level.
"""
