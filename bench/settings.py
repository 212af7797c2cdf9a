"""Settings: config.yaml and what overrides it, checked against the schema.

Snakemake merges configuration files and the command line into one map, so a complaint looks for
the file that said it last and names its line. Needs `jsonschema` and `yaml`, which Snakemake's own
environment holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import jsonschema
import yaml

from bench.tables import ConfigError

COMMAND_LINE = "--config"
Place = tuple[str | int, ...]


def check(config: Mapping[str, object], schema: Path, files: Sequence[Path]) -> None:
    """Raise ConfigError for the first thing in `config` that the schema does not allow.

    `files` are the configuration files in the order they were merged, the last one wins.
    """
    rules = yaml.safe_load(schema.read_text(encoding="utf-8"))
    for file in files:
        _refuse_duplicates(file)
    errors = jsonschema.Draft202012Validator(rules).iter_errors(config)
    for error in sorted(errors, key=lambda error: list(map(str, error.absolute_path))):
        place, found = _at(error)
        path, line = _where(place, found, files)
        raise ConfigError(
            path,
            line,
            ".".join(map(str, place)),
            found=found,
            expected=_expected(error),
            hint=str(error.schema.get("description", "")),
        )


def where(
    config: Mapping[str, object], place: Place, files: Sequence[Path]
) -> tuple[Path | str, int | None]:
    """The file that said a setting last, and the line; the command line where none did."""
    value: object = config
    for step in place:
        value = dict(_items(value))[step]
    return _where(place, value, files)


def _at(error: jsonschema.ValidationError) -> tuple[Place, object]:
    """Place and value that the complaint is about; Snakemake's own map types made plain."""
    place, schema = tuple(error.absolute_path), error.schema
    if error.validator == "required":
        return (
            *place,
            next(name for name in schema["required"] if name not in error.instance),
        ), None
    if error.validator == "additionalProperties":
        name = next(name for name in error.instance if name not in schema["properties"])
        return (*place, name), error.instance[name]
    return place, error.instance


def _expected(error: jsonschema.ValidationError) -> str:
    wanted = error.validator_value
    match error.validator:
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            return " or ".join("map" if kind == "object" else str(kind) for kind in kinds)
        case "enum":
            return f"one of {', '.join('null' if word is None else str(word) for word in wanted)}"
        case "minimum":
            return f"at least {wanted}"
        case "maximum":
            return f"at most {wanted}"
        case "minItems":
            return f"at least {wanted} of them"
        case "uniqueItems":
            return "no value twice"
        case "additionalProperties":
            return f"one of the settings {', '.join(error.schema['properties'])}"
        case "required":
            return "a value"
        case "pattern":
            return f"text that matches {wanted}"
    return str(error.message)


def _where(place: Place, found: object, files: Sequence[Path]) -> tuple[Path | str, int | None]:
    """The last file that says `found` at `place`, and the line."""
    for file in reversed(files):
        said: object = yaml.safe_load(file.read_text(encoding="utf-8"))
        for step in place:
            said = dict(_items(said)).get(step)
        if said is not None and said == found:
            return file, _line(_compose(file), place)
    return (files[0] if found is None and files else COMMAND_LINE), None


def _items(value: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _compose(file: Path) -> yaml.Node | None:
    return yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)


def _line(node: yaml.Node | None, place: Place) -> int | None:
    line = None
    for step in place:
        found = dict(_children(node)).get(step)
        if found is None:
            return None
        line, node = found
    return line


def _children(node: yaml.Node | None) -> Iterator[tuple[str | int, tuple[int, yaml.Node]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, (key.start_mark.line + 1, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, (value.start_mark.line + 1, value)


def _refuse_duplicates(file: Path) -> None:
    waiting = [_compose(file)]
    while waiting:
        node = waiting.pop()
        seen: dict[str | int, int] = {}
        for key, (line, value) in _children(node):
            if key in seen:
                expected = f"a name of its own (line {seen[key]} has it)"
                raise ConfigError(file, line, str(key), found=key, expected=expected)
            seen[key] = line
            waiting.append(value)
