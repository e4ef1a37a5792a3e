"""Configs of the hub's models: those that the shipped recipes name come along, since a plan needs no more."""

from pathlib import Path

from pipeline.disk import durable
from pipeline.disk.durable import JsonObject
from pipeline.recipe.inputs import InputError, Source
from rewards.lazy import lazy

with lazy:
    from huggingface_hub import errors, hf_hub_download

    import recipes


def shipped_config(source: Source) -> JsonObject | None:
    """The config.json of a repository of the hub as it comes along; None of one that does not, or of a revision."""
    if "@" in source.place:
        return None
    file = Path(next(iter(recipes.__path__))) / "configs" / f"{source.repository}.json"
    if not file.is_file():
        return None
    found: JsonObject = durable.read_json(file)
    return found


def hub_config(source: Source) -> JsonObject | None:
    """The config.json of a repository of the hub: as it comes along, else from the hub or its cache; None where the
    repository has none, as an adapter's. Raises InputError."""
    shipped = shipped_config(source)
    if shipped is not None:
        return shipped
    revision = source.place.partition("@")[2] or None
    try:
        file = hf_hub_download(source.repository, "config.json", revision=revision)
        found: JsonObject = durable.read_json(Path(file))
    except errors.RemoteEntryNotFoundError:
        return None
    except (errors.HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"model {source.reference!r} has no config that can be had ({reason}); check the name and the "
                         "network, or give the path of a local copy") from error
    return found
