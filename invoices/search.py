"""The one text that an invoice is searched by."""

import unicodedata


def fold(text: str) -> str:
    """Case-folded, accents stripped, white space collapsed: "  Ünal  GmbH" -> "unal gmbh"."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(unicodedata.normalize("NFKC", bare).split())


def searchable(*parts: str) -> str:
    """The folded parts with one leading blank, so that a word can be anchored to its start."""
    return " " + fold(" ".join(part for part in parts if part))
