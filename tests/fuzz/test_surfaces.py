"""Every input surface keeps its promise: on the saved corpus, and on what Hypothesis makes of it.

``FUZZ_EXAMPLES=20000 pytest tests/fuzz`` looks longer; ``python -m tests.fuzz`` is guided by coverage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.bounds import memory_bounded, time_bounded
from tests.fuzz.strategies import CORPUS, documents, saved
from tests.fuzz.surfaces import SURFACES, saved_state, state_bytes

#: Documents per surface; a run of the suite looks at few, and again at the corpus.
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "60"))
#: CPU seconds and bytes of one input of at most some kilobytes. Most take a millisecond.
SECONDS: Final = 5.0
BYTES: Final = 64 << 20

FILES: Final = [(name, path) for name in SURFACES for path in saved(name)]


@pytest.mark.parametrize(("surface", "path"), FILES, ids=[f"{name}/{path.name}" for name, path in FILES])
def test_the_saved_corpus_keeps_the_promise(surface: str, path: Path) -> None:
    """Each file is ordinary input, or a fault that was found once; in bounded time and memory."""
    content = path.read_bytes()
    with time_bounded(2 * SECONDS), memory_bounded(BYTES):
        SURFACES[surface](content)


@pytest.mark.parametrize("surface", SURFACES)
def test_changed_documents_keep_the_promise(surface: str) -> None:
    """Nearly right input is the most dangerous."""

    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(documents(surface))
    def check(document: bytes) -> None:
        with time_bounded(SECONDS):
            SURFACES[surface](document)

    check()


def test_every_surface_has_a_corpus_and_every_corpus_a_surface() -> None:
    """None is forgotten."""
    assert {path.name for path in CORPUS.iterdir()} == set(SURFACES)


@given(st.data())
@settings(max_examples=max(20, EXAMPLES // 4), database=None)
def test_a_state_that_lacks_or_repeats_entries_is_refused_or_loads(data: st.DataObject) -> None:
    """Entries as a program of ours wrote them, some of them gone, others under a wrong key."""
    entries = saved_state()
    keys = sorted(entries)
    for _ in range(data.draw(st.integers(1, 3))):
        first, second = (data.draw(st.sampled_from(keys)) for _ in range(2))
        if data.draw(st.booleans()):
            entries.pop(first, None)
        else:
            entries[second] = entries.get(first, b"")
    with time_bounded(SECONDS):
        SURFACES["state"](state_bytes(entries))
