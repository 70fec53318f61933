"""What a search marks: the very characters that were meant, however they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.hits import marked
from invoices.search import fold


def shown(text: str, *words: str) -> str:
    return "".join(f"[{part}]" if is_hit else part for part, is_hit in marked(text, words))


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Müller & Söhne", ["muller"], "[Müller] & Söhne"),
        ("Großmann", ["gross"], "[Groß]mann"),
        ("Mu\u0308ller", ["mull"], "[Mu\u0308ll]er"),
        ("ﬁnance", ["fin"], "[ﬁn]ance"),
        ("INV-10-10", ["10"], "INV-10-10"),
        ("10 INV 10", ["10"], "[10] INV [10]"),
        ("abcabc", ["abc", "bca"], "[abcabc]"),
        ("Birch", [], "Birch"),
        ("", ["x"], ""),
    ],
)
def test_what_was_looked_for_is_marked_as_it_is_written(
    text: str, words: list[str], expected: str
) -> None:
    assert shown(text, *words) == expected


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=5), max_size=3))
def test_marking_never_changes_the_text(text: str, words: list[str]) -> None:
    folded = [one for word in words for one in fold(word).split()]
    assert "".join(part for part, _ in marked(text, folded)) == text
