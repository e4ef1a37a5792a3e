"""Suites name sets that there are, and options that `retort eval` has."""

import argparse

from eval.problems import PROBLEMS, resolve
from eval.suites import SUITES
from pipeline.commands import eval as command


def test_every_suite_can_be_asked():
    parser = argparse.ArgumentParser()
    command.configure(parser)
    options = vars(parser.parse_args(["some", "--suite", "r1"]))
    for suite in SUITES.values():
        for reference in suite.problems:
            assert reference.partition(":")[0] in PROBLEMS
            assert resolve(reference)[1] == "test"
        assert set(suite.options) <= set(options)


def test_what_a_person_gives_goes_before_the_suite():
    parser = argparse.ArgumentParser()
    command.configure(parser)
    args = parser.parse_args(["some", "--suite", "r1", "--rollouts", "4"])
    command._settle(args)
    assert (args.rollouts, args.temperature, args.top_p, args.max_tokens) == (4, 0.6, 0.95, 32768)
