"""Documents that are nearly right: the saved corpus, changed in a few places as senders, editors and networks do it.

JSON is changed as a tree (values of another type or size, keys taken out, doubled or renamed, nesting), other text by
lines and words. Then bytes may be cut, spliced, repeated, or turned into another encoding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["CORPUS", "documents", "saved"]

CORPUS: Final = Path(__file__).parent / "corpus"

_NUMBERS: Final = (0, -1, 1e308, 2**53, 2**63, -(2**63), 2**64 - 1, 10**30, 1e-320, 253_402_300_800, float("nan"))
_TEXTS: Final = (
    "", " ", "\0", "\n", "\ud800", "\u202e", "\x1f", "@", "a" * 300, "0", "-1", "nan", "1e999", "true", "null", "{",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30", "24:00", "99999999999999999999w", "(a+)+$", "(", "*",
    "web", "db", "__class__", "é", "\U0001f525",
)  # fmt: skip
_BYTES: Final = (
    b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"\r", b"\n\n", b"[" * 1_100, b'{"a":' * 1_100, b"]",
    b"1e400", b"-", b'"', b"\\ud800", b"NaN", b"Infinity", b"\x1f\x8b", b"&a *a", b"<<: *a", b"!!python/tuple x",
    b"9" * 5_000, b",,", b"\t", b"[[x]]", b"RRULE:FREQ=SECONDLY", b"= ",
)  # fmt: skip

scalars: Final = st.one_of(st.none(), st.booleans(), st.sampled_from(_NUMBERS), st.sampled_from(_TEXTS))
values: Final = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(_TEXTS), scalars, max_size=3),
    st.integers(1, 60).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)


def saved(surface: str) -> list[Path]:
    """The files of the corpus of a surface, by name."""
    return sorted((CORPUS / surface).iterdir())


def documents(surface: str) -> st.SearchStrategy[bytes]:
    """Bytes for a surface: mostly its corpus with a few changes, sometimes nothing but bytes."""
    seeds = [path.read_bytes() for path in saved(surface)]
    return st.one_of(
        _changed(seeds).flatmap(_broken),
        _changed(seeds),
        st.sampled_from(seeds).flatmap(_broken),
        st.binary(max_size=200),
    )


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    seed = draw(st.sampled_from(seeds))
    try:
        tree = json.loads(seed)
    except (ValueError, RecursionError):
        return _lines(draw, seed)
    box = [tree]
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(_TREES))(draw, *_somewhere(draw, box))
    return json.dumps(box[0], ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


Change = Callable[[st.DrawFn, Any, Any], None]


def _somewhere(draw: st.DrawFn, box: list[Any]) -> tuple[Any, Any]:
    """An object or list of the tree and one of its keys, the deeper ones as often as the others."""
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [box]
    while waiting and len(places) < 2_000:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        places += [(here, key) for key in keys]
        waiting += [here[key] for key in keys if isinstance(here[key], dict | list)]
    return places[draw(st.integers(0, len(places) - 1))]


def _replace(draw: st.DrawFn, holder: Any, key: Any) -> None:
    holder[key] = draw(values)


def _swap(draw: st.DrawFn, holder: Any, key: Any) -> None:
    other = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
    holder[key], holder[other] = holder[other], holder[key]


def _retype(draw: st.DrawFn, holder: Any, key: Any) -> None:
    """The same as another type: a number as text, text as a number of its length, a value as a list of it."""
    value = holder[key]
    ways = (str(value), [value], {"value": value}, len(str(value)), [value] * 3)
    holder[key] = draw(st.sampled_from(ways))


def _take_out(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = None


def _rename(draw: st.DrawFn, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(st.sampled_from(_TEXTS))] = holder[key]


def _nest(draw: st.DrawFn, holder: Any, key: Any) -> None:
    for _ in range(draw(st.sampled_from((1, 5, 40)))):
        holder[key] = {"a": holder[key]}


_TREES: Final[tuple[Change, ...]] = (_replace, _swap, _retype, _take_out, _rename, _nest, _replace)


def _lines(draw: st.DrawFn, seed: bytes) -> bytes:
    """Lines doubled, left out or swapped, and words replaced by odd ones."""
    lines = seed.split(b"\n")
    for _ in range(draw(st.integers(1, 4))):
        at, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        way = draw(st.sampled_from(("word", "word", "word", "double", "swap", "drop", "odd")))
        if way == "double":
            lines.insert(other, lines[at])
        elif way == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif way == "drop":
            lines[at] = b""
        elif way == "odd":
            lines.insert(at, draw(st.sampled_from(_BYTES)))
        else:
            lines[at] = _word(draw, lines[at])
    return b"\n".join(lines)


def _word(draw: st.DrawFn, line: bytes) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+", line))
    if not words:
        return line
    word = draw(st.sampled_from(words))
    odd = draw(st.one_of(st.sampled_from(_TEXTS), st.sampled_from(_NUMBERS).map(str)))
    return line[: word.start()] + odd.encode(errors="surrogatepass") + line[word.end() :]


def _broken(document: bytes) -> st.SearchStrategy[bytes]:
    """The document with a byte-level fault."""
    place = st.integers(0, len(document))
    return st.one_of(
        place.map(lambda at: document[:at]),
        st.tuples(place, st.sampled_from(_BYTES)).map(lambda cut: document[: cut[0]] + cut[1] + document[cut[0] :]),
        st.tuples(place, place).map(lambda cut: document[: cut[0]] + document[cut[1] :]),
        st.sampled_from(("utf-16", "utf-16-be", "utf-8-sig")).map(
            lambda name: document.decode(errors="replace").encode(name, errors="replace")
        ),
    )
