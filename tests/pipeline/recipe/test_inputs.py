import dataclasses
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest

from pipeline.recipe import inputs
from pipeline.recipe.inputs import InputError, Source


def hub(reference: str) -> Source:
    return Source(reference, "model", "hub")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_cached_repository_needs_no_network(cache: Path) -> None:
    repository = cache / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    (repository / "snapshots" / "c0ffee").mkdir(parents=True)
    assert inputs.resolve_hub(hub("org/name")) == "c0ffee"
    assert inputs.resolve_hub(hub("org/name@c0ffee")) == "c0ffee"
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        inputs.resolve_hub(hub("org/name@other"))


def test_an_adapter_of_the_hub_is_another_input_than_its_commit(cache: Path) -> None:
    """It was read with its base's tokenizer once; the commit is the same."""
    for files, adapter in ((["config.json"], False), (["adapter_config.json"], True), ([], False),
                           (["config.json", "model.safetensors"], False),
                           (["config.json", "adapter_config.json", "adapter_model.safetensors"], True)):
        snapshot = cache / "models--org--name" / "snapshots" / "c0ffee"
        snapshot.mkdir(parents=True)
        for file in files:
            (snapshot / file).write_text("{}")
        source = dataclasses.replace(hub("org/name"), commit="c0ffee")
        assert (inputs.fingerprint_of_hub(source) != "c0ffee") == adapter
        shutil.rmtree(snapshot)


@pytest.mark.parametrize("whole", ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_a_whole_model_with_an_adapter_beside_it_is_refused(cache: Path, tmp_path: Path, whole: str) -> None:
    """transformers would add the adapter to it, which trainers merge into their own folder."""
    snapshot = cache / "models--org--name" / "snapshots" / "c0ffee"
    for folder in (tmp_path / "mine", snapshot):
        folder.mkdir(parents=True)
        for file in ("config.json", "adapter_config.json", "adapter_model.safetensors", whole):
            (folder / file).write_text("{}")
    said = f"holds a whole model ({whole}) and an adapter (adapter_config.json)"
    for asked in (lambda: inputs.fingerprint_of_path(tmp_path / "mine"), lambda: inputs.is_adapter(tmp_path / "mine"),
                  lambda: inputs.fingerprint_of_hub(dataclasses.replace(hub("org/name"), commit="c0ffee"))):
        with pytest.raises(InputError) as caught:
            asked()
        assert said in str(caught.value)


def test_an_adapter_names_the_revision_of_its_base(tmp_path: Path) -> None:
    """As peft's AutoPeftModel loads it; checkpoints of one training are revisions of one repository."""
    for base, revision, place in (
        ("org/base", "step1000", "org/base@step1000"), ("org/base", None, "org/base"), ("org/base", "", "org/base"),
        ("org/base@step2", "step1000", "org/base@step2"), (str(tmp_path), "step1000", str(tmp_path)),
    ):
        said = {"base_model_name_or_path": base, "revision": revision}
        (tmp_path / "adapter_config.json").write_text(json.dumps(said))
        source = inputs.base_of_adapter(tmp_path)
        assert source.place == place
        assert source.repository == base.partition("@")[0]


@pytest.mark.usefixtures("cache")
def test_an_adapter_of_the_hub_is_the_same_input_before_it_is_downloaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"id": "org/tuned", "sha": "c0ffee", "siblings": [
                {"rfilename": "adapter_config.json"}, {"rfilename": "tokenizer_config.json"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    from huggingface_hub import constants

    with http.server.HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", place)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", place)
        source = hub("org/tuned")
        source = dataclasses.replace(source, commit=inputs.resolve_hub(source))
        before = inputs.fingerprint_of_hub(source)
        server.shutdown()
    snapshot = cache / "models--org--tuned" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "adapter_config.json").write_text("{}")
    assert inputs.fingerprint_of_hub(source) == before != "c0ffee"


@pytest.mark.usefixtures("cache")
def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be reached") as caught:
        inputs.resolve_hub(hub("org/name"), timeout=1)
    assert "\n" not in str(caught.value)


def test_a_path_goes_before_the_hub_and_a_stage_before_both(tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    found = inputs.find("org/name", "model", earlier={}, later={}, folder=tmp_path)
    assert (found.origin, found.path) == ("path", tmp_path / "org" / "name")
    assert inputs.find("org/else", "model", earlier={}, later={}, folder=tmp_path).origin == "hub"
    assert inputs.find("org", "model", earlier={"org": "model"}, later={}, folder=tmp_path).origin == "stage"


@pytest.mark.parametrize("reference", ["../x", "/x/y", "a/b/c", "data/rows.jsonl", "~/x", ""])
def test_what_looks_like_a_path_is_not_asked_of_the_hub(reference: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        inputs.find(reference, "dataset", earlier={}, later={}, folder=tmp_path)


def test_an_artifact_folder_keeps_its_type_and_fingerprint(tmp_path: Path) -> None:
    made = tmp_path / "base-0123"
    made.mkdir()
    (made / "stage.json").write_text('{"makes": "model", "fingerprint": "f00"}')
    assert inputs.fingerprint_of_path(made) == "f00"
    with pytest.raises(InputError, match="is a model and a dataset belongs here"):
        inputs.find("base-0123", "dataset", earlier={}, later={}, folder=tmp_path)


def test_a_dataset_may_say_which_rows_and_what_its_columns_are_called(tmp_path: Path) -> None:
    def found(reference: str) -> Source:
        return inputs.find(reference, "dataset", earlier={"traces": "dataset"}, later={}, folder=tmp_path)

    (tmp_path / "mine.csv").write_text("a\n1\n")
    (tmp_path / "odd?prompt=1.jsonl").write_text("{}")
    assert found("mine.csv?prompt=a&completion=b").path == tmp_path / "mine.csv"
    assert found("m*.csv").path == tmp_path / "m*.csv"
    hub_set = found("org/name@v2?config=main&split=train")
    assert (hub_set.origin, hub_set.repository, hub_set.place) == ("hub", "org/name", "org/name@v2")
    assert found("org/name?revision=v2").place == "org/name@v2"
    for reference, said in (
        ("mine.csv?question=a", "'question=a' is no column or part; write mine.csv?prompt=question&completion="),
        ("mine.tsv?prompt=a", "there is no file or folder 'mine.tsv'"),
        ("n*.csv", "there is no file or folder 'n*.csv'"),
        ("traces?prompt=a", "the rows of a stage are taken as they are; write traces"),
    ):
        with pytest.raises(InputError) as caught:
            found(reference)
        assert said in str(caught.value)


def test_files_of_a_pattern_are_all_part_of_the_fingerprint(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(name)
    both = inputs.fingerprint_of_path(tmp_path / "*.jsonl")
    assert both != inputs.fingerprint_of_path(tmp_path / "a*.jsonl")
    (tmp_path / "b.jsonl").write_text("c")
    assert inputs.fingerprint_of_path(tmp_path / "*.jsonl") != both


def test_a_dataset_of_the_hub_is_read_from_its_snapshot(cache: Path) -> None:
    from pipeline.contract.dataset import parse, records

    snapshot = cache / "datasets--org--sums" / "snapshots" / "c0ffee"
    (snapshot / "data").mkdir(parents=True)
    (cache / "datasets--org--sums" / "refs").mkdir()
    (cache / "datasets--org--sums" / "refs" / "v2").write_text("c0ffee")
    (snapshot / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: train, path: data/train.jsonl}\n"
        "  - {split: test, path: data/test.jsonl}\n- config_name: other\n  data_files: data/test.jsonl\n---\n"
    )
    for split in ("train", "test"):
        (snapshot / "data" / f"{split}.jsonl").write_text(f'{{"question": "a", "answer": "{split}"}}\n')
    reference = "org/sums?config=main&split=train&revision=v2&prompt=question&completion=answer"
    source = inputs.find(reference, "dataset", earlier={}, later={}, folder=cache)
    assert inputs.resolve_hub(source) == "c0ffee"
    selection = parse(reference).selection
    assert list(records(snapshot, selection)) == [{"prompt": "a", "completion": "train"}]


def test_a_tokenizer_beside_a_gguf_file_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF")
    alone = inputs.fingerprint_of_path(file)
    (tmp_path / "tokenizer_config.json").write_text("{}")  # read only beside a tokenizer.json
    assert inputs.fingerprint_of_path(file) == alone
    (tmp_path / "tokenizer.json").write_text("{}")
    beside = inputs.fingerprint_of_path(file)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert len({alone, beside, inputs.fingerprint_of_path(file)}) == 3


def test_a_link_to_another_folder_is_another_input(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "weights").write_text(version)
        (tmp_path / version / "again").symlink_to(tmp_path / version)  # goes round, and is not followed for ever
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model").symlink_to(tmp_path / "v1")
    first = inputs.fingerprint_of_path(mine)
    assert inputs.fingerprint_of_path(mine) == first
    (mine / "model").unlink()
    (mine / "model").symlink_to(tmp_path / "v2")
    assert inputs.fingerprint_of_path(mine) != first
