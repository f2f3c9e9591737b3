"""How settings are read, checked, shown and described. Which settings exist is in :mod:`correlator.config`.

A TOML file gives tables of keys; ``CORRELATOR_<SECTION>__<KEY>`` in the environment overrides one key each. Lists and
tables in the environment are JSON; everything else, and a list of names with commas, is plain text. Every problem
becomes one line, and all lines are reported together: a broken key is set aside so that the rest is still checked.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from correlator.errors import SettingsError

__all__ = [
    "MASK",
    "MAX_BYTES",
    "Check",
    "Kind",
    "allowed",
    "duration_text",
    "load",
    "plain",
    "seconds",
    "toml_text",
    "toml_value",
]

MASK: Final = "***"
#: Largest settings file, in bytes.
MAX_BYTES: Final = 1_000_000
#: Longest line about a problem, in characters.
_LINE: Final = 1_000
_PREFIX: Final = "CORRELATOR_"
#: ``user:password@`` in front of a host.
_CREDENTIALS: Final = re.compile(r"[^\s/@,\"]{0,256}:[^\s/@,\"]{0,256}@")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


@dataclass(frozen=True)
class Kind:
    """What a key holds, for people: ``name`` in tables, ``hint`` after it in errors. Goes into ``Annotated``."""

    name: str
    hint: str = ""


class Check(NamedTuple):
    """A rule between keys that is broken: ``keys`` in dotted form, the first is the one to blame."""

    keys: Sequence[str]
    text: str


M = TypeVar("M", bound=BaseModel)
Data = dict[str, Any]


def seconds(value: object) -> float:
    """Seconds from a number, or from text such as ``"90d"``, ``"1h30m"``, ``"250ms"`` or ``"60"``.

    >>> seconds("1h30m"), seconds(0.2), seconds("250ms")
    (5400.0, 0.2, 0.25)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a duration")
    if isinstance(value, str):
        text = value.strip().lower()
        if _DURATION.fullmatch(text):
            factors = _UNITS | {"ms": 0.001, "w": 604_800}
            return math.fsum(float(number) * factors[unit] for number, unit in _PART.findall(text))
        value = float(text) if re.fullmatch(r"\d+(\.\d*)?|\.\d+", text) else math.nan
    if not math.isfinite(value):
        raise ValueError("not a duration")
    return float(value)


def duration_text(value: float) -> str:
    """The shortest text that :func:`seconds` reads back to the same value.

    >>> duration_text(16_200), duration_text(0), duration_text(0.2)
    ('4h30m', '0s', '0.2s')
    """
    if not float(value).is_integer():
        return f"{Decimal(repr(value)):f}s"
    rest, text = int(value), ""
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def kind_of(field: FieldInfo) -> Kind | None:
    """The :class:`Kind` in the annotation of ``field``, or None."""
    return next((item for item in field.metadata if isinstance(item, Kind)), None)


def allowed(field: FieldInfo, *, hint: bool = False) -> str:
    """What ``field`` accepts, in words, bounds included; ``hint`` adds how to write it."""
    kind = kind_of(field) or Kind("true or false" if field.annotation is bool else "text")
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    text = "one of " + ", ".join(map(str, choices)) if choices else kind.name
    if hint and kind.hint:
        text += f" ({kind.hint})"
    show = duration_text if kind.name == "duration" else str
    low = [bound for bound in (getattr(item, "ge", None) for item in field.metadata) if bound is not None]
    high = [bound for bound in (getattr(item, "le", None) for item in field.metadata) if bound is not None]
    if low and high:
        return f"{text}, {show(max(low))} to {show(min(high))}"
    return f"{text}, at least {show(max(low))}" if low else text


def plain(model: BaseModel, *, mask: bool = True, human: bool = False) -> dict[str, Any]:
    """The values of ``model`` as JSON types: None is ``""``; ``mask`` hides secrets, ``human`` writes ``"5m"``."""
    out = {}
    for name, field in type(model).model_fields.items():
        kind = kind_of(field)
        value = getattr(model, name)
        out[name] = duration_text(value) if human and kind and kind.name == "duration" else _plain(value, mask, human)
    return out


def _plain(value: Any, mask: bool, human: bool) -> Any:
    match value:
        case BaseModel():
            return plain(value, mask=mask, human=human)
        case SecretStr():
            return MASK if mask else value.get_secret_value()
        case tuple():
            return [_plain(item, mask, human) for item in value]
        case dict():
            return {key: _plain(item, mask, human) for key, item in value.items()}
        case Path():
            return str(value)
    return "" if value is None else value


def toml_value(value: Any) -> str:
    """One TOML value from JSON types; tables are inline.

    >>> toml_value([{"match": {"alertname": "Watchdog"}, "interval": 60}])
    '[{ match = { alertname = "Watchdog" }, interval = 60 }]'
    """
    match value:
        case list():
            return "[" + ", ".join(map(toml_value, value)) + "]"
        case dict() if value:
            names = (key if _BARE.fullmatch(key) else toml_value(key) for key in value)
            pairs = (f"{name} = {toml_value(item)}" for name, item in zip(names, value.values(), strict=True))
            return "{ " + ", ".join(pairs) + " }"
        case dict():
            return "{}"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def toml_text(data: Mapping[str, Mapping[str, Any]]) -> str:
    """A TOML document: one table per section, keys in the order given."""
    tables = (
        f"[{name}]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in section.items())
        for name, section in data.items()
    )
    return "\n".join(tables)


def load(model: type[M], path: Path | None, environ: Mapping[str, str], checks: Callable[[M], Iterable[Check]]) -> M:
    """Read, override, validate and cross-check; return the model.

    ``model`` has one field per section, each a model of its own, all with defaults. ``checks`` gives the broken rules
    between keys; the ones that touch an unreadable key are left out, since its value is not known.

    Raises SettingsError with one line per problem.
    """
    data = _read(path)
    origins, problems = _override(model, data, environ)
    settings, broken, lines = _validate(model, data, origins)
    problems += lines
    for check in checks(settings):
        if not broken.intersection(check.keys) and not broken.intersection(key.split(".")[0] for key in check.keys):
            problems.append(_line(check.keys[0], _current(settings, check.keys[0]), check.text, origins))
    if problems:
        raise SettingsError([line if len(line) <= _LINE else f"{line[: _LINE - 3]}..." for line in problems])
    return settings


def _read(path: Path | None) -> Data:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SettingsError([f"{path}: more than {MAX_BYTES} bytes are not read"])
        return tomllib.loads(content.decode())
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 at byte {error.start}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None
    except RecursionError:
        raise SettingsError([f"{path}: nested too deep"]) from None
    except ValueError as error:  # of a number with thousands of digits
        raise SettingsError([f"{path}: not TOML: {error}"]) from None


def _override(model: type[BaseModel], data: Data, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Write the environment into ``data``. Returns the variable behind each overridden key, and problems."""
    origins: dict[str, str] = {}
    problems: list[str] = []
    for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
        text = environ[variable]
        section, mark, name = variable.removeprefix(_PREFIX).lower().partition("__")
        if not mark:
            problems += _lone_underscore(model, variable, text)
            continue
        field = _field(model, (section, name))
        if field is None:
            problems.append(f"{variable}: {_unknown(model, (section, name), _variable)}")
            continue
        if _HALF_PAIR.search(text):  # how Python has bytes of the environment that are not UTF-8
            problems.append(f"{section}.{name} ({variable}): not UTF-8")
            continue
        try:
            value = _parsed(field, text)
        except (ValueError, RecursionError) as error:
            reason = f"not JSON ({error}); allowed is {allowed(field, hint=True)}"
            problems.append(_line(f"{section}.{name}", text, reason, {f"{section}.{name}": variable}))
            continue
        if isinstance(table := data.setdefault(section, {}), dict):
            table[name] = value
            origins[f"{section}.{name}"] = variable
    return origins, problems


def _lone_underscore(model: type[BaseModel], variable: str, text: str) -> Iterator[str]:
    """``CORRELATOR_HTTP_PORT`` is a typing error, unless Kubernetes set it for a service called correlator-http."""
    rest = variable.removeprefix(_PREFIX).lower()
    for section in model.model_fields:
        key = (section, rest.removeprefix(f"{section}_"))
        if rest.startswith(f"{section}_") and _field(model, key) and not re.match("(tcp|udp|sctp)://", text):
            yield f"{variable}: no such variable; did you mean {_variable(key)}?"


def _parsed(field: FieldInfo, text: str) -> Any:
    table = get_origin(field.annotation) in (tuple, dict)
    return json.loads(text) if table and text.lstrip()[:1] in ("[", "{") else text


def _validate(model: type[M], data: Data, origins: Mapping[str, str]) -> tuple[M, set[str], list[str]]:
    """The model with broken keys at their defaults, the broken keys, and a line for each problem."""
    try:
        return model.model_validate(data), set(), []
    except ValidationError as error:
        broken = set()
        lines = []
        for item in error.errors(include_url=False):
            lines.append(_explained(model, item["loc"], item, origins))
            section, *rest = map(str, item["loc"])
            broken.add(".".join([section, *rest[:1]]))
            (data.get(section, {}) if rest else data).pop(rest[0] if rest else section, None)
        return model.model_validate(data), broken, lines


def _explained(
    model: type[BaseModel], loc: tuple[int | str, ...], error: Mapping[str, Any], origins: Mapping[str, str]
) -> str:
    key = _dotted(loc)
    if error["type"] == "extra_forbidden":
        return f"{key}: {_unknown(model, loc, _dotted)}"
    if len(loc) == 1:
        return f"{key} = {_shown(error['input'])}: allowed is a table of keys, [{key}]"
    field = _field(model, loc)
    text = str(error.get("ctx", {}).get("error", "")) + "; " if error["type"] == "value_error" else ""
    text += f"allowed is {allowed(field, hint=True)}" if field else error["msg"]
    if error["type"] == "missing":
        return f"{key}: missing; {text}"
    secret = field is not None and "SecretStr" in str(field.annotation)
    return _line(key, MASK if secret else error["input"], text, origins)


def _line(key: str, value: Any, text: str, origins: Mapping[str, str]) -> str:
    variable = origins.get(".".join(re.split(r"[.\[]", key)[:2]))
    return f"{key} = {_shown(value)}{f' ({variable})' if variable else ''}: {text}"


def _shown(value: Any) -> str:
    """A value in an error: short, and without the credentials of an address in it."""
    text = json.dumps(value, default=str, ensure_ascii=False)[:4_000]
    text = _CREDENTIALS.sub(f"{MASK}@", text)
    return text if len(text) <= 80 else text[:77] + "..."


def _current(settings: BaseModel, key: str) -> Any:
    section, name = key.split(".")
    return plain(getattr(settings, section), human=True)[name]


def _dotted(loc: Sequence[int | str]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".").removesuffix(".[key]")


def _variable(loc: Sequence[int | str]) -> str:
    return _PREFIX + "__".join(str(part).upper() for part in loc)


def _model_at(model: type[BaseModel], names: Sequence[str]) -> type[BaseModel] | None:
    """The model that ``names`` leads to, or None when that is a value."""
    here: type[BaseModel] | None = model
    for name in names:
        field = here.model_fields.get(name) if here else None
        types = (field.annotation, *get_args(field.annotation)) if field else ()
        here = next((item for item in types if isinstance(item, type) and issubclass(item, BaseModel)), None)
    return here


def _field(model: type[BaseModel], loc: Sequence[int | str]) -> FieldInfo | None:
    """The deepest field on the way to ``loc``; None when there is no such key."""
    names = [part for part in loc if isinstance(part, str)]
    for end in range(len(names) - 1, 0, -1):
        owner = _model_at(model, names[:end])
        if owner is not None:
            return owner.model_fields.get(names[end])
    return None


def _unknown(model: type[BaseModel], loc: Sequence[int | str], write: Callable[[Sequence[int | str]], str]) -> str:
    """What to do about a key that does not exist. Its value is not shown: it may be a secret, misspelt."""
    names = [part for part in loc if isinstance(part, str)]
    at = len(names) - 1 if names[0] in model.model_fields else 0
    owner = _model_at(model, names[:at])
    known = list(owner.model_fields) if owner else []
    near: list[tuple[int | str, ...]]
    near = [(*loc[:-1], hit) if at else (hit, *loc[1:]) for hit in get_close_matches(names[at], known, 1)]
    if at == 1:
        near += [(section, names[1]) for section in model.model_fields if _field(model, (section, names[1]))]
    if near:
        return f"no such key; did you mean {write(near[0])}?"
    return f"no such key; known here: {', '.join(known)}"
