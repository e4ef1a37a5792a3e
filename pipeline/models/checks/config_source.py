"""What transformers' config classes accept, read from their source: importing transformers takes seconds, and a recipe
is read in tenths of one.

A config class of transformers is an annotated dataclass, so that its fields, their types and their defaults stand in
its source. Of each file the wanted class alone is parsed. What is not found as expected (another version may keep it
elsewhere) is answered with None, which means that nothing is known, never that something is wrong.
"""

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from pipeline.disk.durable import JsonMapping, JsonObject

BASE = "configuration_utils.py"
UNKNOWN = object()


@dataclass(frozen=True)
class ConfigField:
    """The annotation of a field and its default, which is UNKNOWN where there is none, or one that is no literal."""

    annotation: ast.expr
    default: object


@dataclass(frozen=True)
class ConfigClass:
    """Fields by name, standard names of own ones (`attribute_map`), names that are taken besides (older spellings), the
    config classes of nested blocks, the text of the class with those of its bases, and the files of its models."""

    fields: Mapping[str, ConfigField] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    legacy: frozenset[str] = frozenset()
    inner: Mapping[str, "ConfigClass"] = field(default_factory=dict)
    source: str = ""
    modeling: tuple[Path, ...] = ()

    def own(self, name: str) -> str:
        """What the class itself calls the field that is `name` by the standard or by itself."""
        return name if name in self.fields else self.aliases.get(name, name)

    def knows(self, name: str) -> bool:
        """Whether a config takes this name for anything; a model may ask for names that its config does not declare."""
        return self.own(name) in self.fields or name in self.legacy or self._read_by_models(name)

    def takes_null(self, name: str) -> bool:
        """Whether null says something: it is the default, or is asked for by the config or the model."""
        own = self.own(name)
        given = self.fields.get(own)
        asked = rf"\b{own} is (?:not )?None"
        return (given is not None and given.default is None) or re.search(asked, self._all()) is not None

    def says(self, text: str) -> bool:
        """Whether the config or the model has this text in its source."""
        return text in self._all()

    def choices(self, name: str) -> list[str]:
        """What a field of text is compared with, by config or model, and its default; [] where nothing is compared."""
        field = self.fields.get(name)
        text = self._all()
        asked = re.findall(rf'\b{name} [!=]= "([\w-]+)"', text)
        for several in re.findall(rf'\b{name} (?:not )?in [\[(\{{]([^\])}}]*)', text):
            asked += re.findall(r'"([\w-]+)"', several)
        usual = [field.default] if field and isinstance(field.default, str) else []
        return sorted({*asked, *usual}) if asked else []

    def _read_by_models(self, name: str) -> bool:
        return re.search(rf"config\.{name}\b|getattr\([\w.]*config, \"{name}\"", self._all()) is not None

    def _all(self) -> str:
        return self.source + "".join(_text(file) for file in self.modeling)


@cache
def folder() -> Path | None:
    """Where transformers is installed. The package is looked for and not imported."""
    spec = importlib.util.find_spec("transformers")
    return Path(spec.origin).parent if spec and spec.origin else None


@cache
def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""


@cache
def model_types() -> Mapping[str, str]:
    """The config class of every model type; {} where nothing is known."""
    home = folder()
    if home is None:
        return {}
    auto = _block(home / "models/auto/auto_mappings.py", "CONFIG_MAPPING_NAMES")
    text = _text(home / "models/auto/configuration_auto.py")
    added = "".join(re.findall(r"CONFIG_MAPPING_NAMES\.update\((.*?)\n\)", text, re.DOTALL))
    return {**_pairs(auto), **_pairs(added)}


@cache
def causal_types() -> frozenset[str]:
    """Model types that have a causal language model; empty where nothing is known."""
    home = folder()
    if home is None:
        return frozenset()
    return frozenset(_pairs(_block(home / "models/auto/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")))


@cache
def names_of_activations() -> frozenset[str]:
    """What `hidden_act` may be; empty where nothing is known."""
    home = folder()
    text = _text(home / "activations.py") if home else ""
    table = re.search(r"^ACT2CLS = \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    return frozenset(re.findall(r'^    "(\w+)":', table.group(1), re.MULTILINE)) if table else frozenset()


@cache
def rope_types() -> frozenset[str]:
    """What `rope_type` may be; empty where nothing is known."""
    home = folder()
    found = re.findall(r'^    "(\w+)": _compute_', _text(home / "modeling_rope_utils.py"), re.MULTILINE) if home else []
    return frozenset({"default", *found}) if found else frozenset()


@cache
def config_class(model_type: str) -> ConfigClass | None:
    """The config class of a model type, or None where nothing is known of it."""
    home, name = folder(), model_types().get(model_type)
    if home is None or name is None:
        return None
    special = _pairs(_block(home / "models/auto/auto_mappings.py", "SPECIAL_MODEL_TYPE_TO_MODULE_NAME"))
    models = home / "models" / special.get(model_type, model_type.replace("-", "_"))
    for file in sorted(models.glob("configuration_*.py")):
        if found := _class(file, name):
            return replace(found, modeling=tuple(sorted(models.glob("modeling_*.py"))))
    return None


def settled(fields: JsonMapping) -> JsonObject:
    """Fields of an architecture without those that stand there once more by the family's own name, as GPT-2's
    `n_positions` beside the `max_position_embeddings` of the standard: transformers would take the standard's."""
    known = config_class(str(fields.get("model_type")))
    own = {name: known.own(name) if known else name for name in fields}
    return {name: value for name, value in fields.items() if own[name] == name or own[name] not in fields}


def _block(file: Path, name: str) -> str:
    """The text of a table in a module, without parsing the module."""
    found = re.search(rf"^{name} = OrderedDict\((.*?)^\)", _text(file), re.DOTALL | re.MULTILINE)
    return found.group(1) if found else ""


def _pairs(table: str) -> dict[str, str]:
    return dict(re.findall(r'"([\w.-]+)"\s*[:,]\s*\(?"(\w+)"', table))


@cache
def _class(file: Path, name: str) -> ConfigClass | None:
    text = _text(file)
    begun = re.search(rf"^class {name}\b", text, re.MULTILINE)
    if begun is None:
        return None
    # To the next line that begins at the margin; a comment or a bracket may stand there inside a class.
    ended = re.compile(r"^[^\s#)]", re.MULTILINE).search(text, begun.end())
    body = text[begun.start() : ended.start() if ended else len(text)]
    # Methods are long and hold no fields.
    head = re.split(r"^    (?:def |@)", body, maxsplit=1, flags=re.MULTILINE)[0]
    try:
        [node] = ast.parse(head if head.rstrip() != body.split("\n", 1)[0] else f"{head}    pass\n").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(node, ast.ClassDef):
        return None
    base = _base(file, text, node)
    fields = {**base.fields, **_fields(node)}
    aliases = {**base.aliases, **_strings(_assigned(node, "attribute_map"))}
    inner = {**base.inner, **_inner(file, node)}
    # What `__post_init__` takes out of the names that are no fields are older spellings.
    begins = "".join(re.findall(r"^    def __(?:post_)?init__\(.*?(?=^    \S|\Z)", body, re.DOTALL | re.MULTILINE))
    taken = {*re.findall(r"kwargs\.(?:pop|get)\(\s*\"(\w+)\"", begins), *re.findall(r"@(\w+)\.setter", body)}
    legacy = {name for name in taken if not name.startswith("_")}
    if "rope_parameters" in fields:
        legacy |= {"rope_theta", "rope_scaling", "partial_rotary_factor"}
    return ConfigClass(fields, aliases, base.legacy | legacy, inner, base.source + body)


def _base(file: Path, text: str, node: ast.ClassDef) -> ConfigClass:
    """Everything that the bases of a class say; nothing of those that are not found."""
    found = ConfigClass()
    for base in reversed(node.bases):
        if not isinstance(base, ast.Name):
            continue
        inherited = _named(file, text, base.id)
        if inherited:
            found = ConfigClass({**found.fields, **inherited.fields}, {**found.aliases, **inherited.aliases},
                                found.legacy | inherited.legacy, {**found.inner, **inherited.inner},
                                found.source + inherited.source)
    return found


def _named(file: Path, text: str, name: str) -> ConfigClass | None:
    """The class that a file calls `name`: its own, or one that it imports from transformers."""
    home = folder()
    if name in ("PreTrainedConfig", "PretrainedConfig"):
        return _class(home / BASE, "PreTrainedConfig") if home else None
    imported = re.search(rf"^from (\.+)([\w.]+) import [^\n]*\b{name}\b", text, re.MULTILINE)
    if imported is None:
        return _class(file, name)
    start = file
    for _ in imported.group(1):
        start = start.parent
    return _class(start.joinpath(*imported.group(2).split(".")).with_suffix(".py"), name)


def _fields(node: ast.ClassDef) -> dict[str, ConfigField]:
    found = {}
    for line in node.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        if "ClassVar" not in ast.unparse(line.annotation):
            found[line.target.id] = ConfigField(line.annotation, _literal(line.value))
    return found


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node else UNKNOWN
    except ValueError:
        return UNKNOWN


def _assigned(node: ast.ClassDef, name: str) -> ast.expr | None:
    for line in node.body:
        if not isinstance(line, ast.Assign | ast.AnnAssign):
            continue
        targets = line.targets if isinstance(line, ast.Assign) else [line.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return line.value
    return None


def _strings(node: ast.expr | None) -> dict[str, str]:
    found = _literal(node)
    return found if isinstance(found, dict) else {}


def _inner(file: Path, node: ast.ClassDef) -> dict[str, ConfigClass]:
    """Config classes of nested blocks, where the class names them; which one `AutoConfig` means is not known here."""
    found = {}
    for table in (_assigned(node, "sub_configs"), _assigned(node, "sub_configs_defaults")):
        for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else []:
            if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                one = _named(file, _text(file), value.id)
                if one:
                    found[str(key.value)] = one
    return found
