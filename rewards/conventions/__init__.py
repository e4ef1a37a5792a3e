"""Reward functions of other libraries, called as these call them. A prefix says whose: "trl:my_rewards.py:accuracy".

`bound` makes a `Scoring` of what a reference with a prefix leads to: as a rule (`rewards.rubric`) or, with
`rewards.conventions.verdicts`, as a verifier.
"""
