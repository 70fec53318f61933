"""The bytes that are sealed: different rows never give the same, and both databases give them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from invoices.audit.layouts import EVENT, LAYOUTS, REQUEST, Layout, NotCanonical
from invoices.audit.verify_pack import canonical as rebuilt

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "s": st.text(st.characters(exclude_categories=["Cs"])),
    "u": st.uuids().map(lambda one: one.hex),
    "b": st.booleans(),
    "x": st.binary(max_size=60),
    "t": st.integers(0, 2**53),
}
SHORT = st.text(alphabet="a \n0123s", max_size=5)
"""What could be taken for the format itself."""


def rows(layout: Layout) -> st.SearchStrategy[list[Any]]:
    """Rows of a table, some of them of values that resemble each other."""
    columns = [
        st.none() | VALUES[kind] | (SHORT if kind == "s" else st.nothing())
        for kind in layout.columns.values()
    ]
    return st.tuples(*columns).map(list)


@given(st.data(), st.sampled_from(list(LAYOUTS.values())))
def test_different_rows_give_different_bytes(data: st.DataObject, layout: Layout) -> None:
    one = data.draw(rows(layout))
    other = data.draw(rows(layout))
    place = data.draw(st.integers(0, len(one) - 1))
    almost = [*one[:place], other[place], *one[place + 1 :]]
    assume(almost != one)
    assert layout.canonical(one) != layout.canonical(almost)
    if other != one:
        assert layout.canonical(one) != layout.canonical(other)


@given(st.data(), SHORT, SHORT)
def test_text_that_moves_to_the_next_column_is_another_row(
    data: st.DataObject, one: str, other: str
) -> None:
    row = data.draw(rows(EVENT))
    place = list(EVENT.columns).index("from_state")
    row[place : place + 2] = [one + other, ""]
    moved = [*row[:place], one, other, *row[place + 2 :]]
    assert (EVENT.canonical(row) == EVENT.canonical(moved)) is (not other)


@given(st.data(), st.sampled_from(list(LAYOUTS.values())))
def test_what_is_exported_gives_the_same_bytes_again(data: st.DataObject, layout: Layout) -> None:
    row = data.draw(rows(layout))
    columns = [
        (name, "n", None) if value is None else (name, kind, layout.plain(kind, value))
        for (name, kind), value in zip(layout.columns.items(), row, strict=True)
    ]
    exported = {"number": 1, "table": layout.name, "version": layout.version, "columns": columns}
    assert rebuilt(exported) == layout.canonical(row)


def test_layouts_of_different_tables_and_versions_differ_in_their_first_line() -> None:
    heads = {one.canonical([None] * len(one.columns)).split(b"\n")[0] for one in LAYOUTS.values()}
    assert len(heads) == len(LAYOUTS)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("i", value) for value in ("1", 1.0, True, b"1")),
        *(("s", value) for value in (1, b"a", "\ud800")),
        *(("b", value) for value in (2, -1, "1", b"1")),
        *(("x", value) for value in ("a", 1)),
        *(("t", value) for value in ("yesterday", 1.5, b"", "2026-01-01 00:00:00+00:00")),
    ],
)
def test_a_value_that_its_column_cannot_have_is_refused(kind: str, value: object) -> None:
    layout = Layout(9, "nine", 1, "nine", "id", "", {"id": kind})
    with pytest.raises(NotCanonical):
        layout.canonical([value])


def test_sqlites_times_and_postgresqls_microseconds_give_the_same_bytes() -> None:
    moment = datetime(2026, 11, 20, 14, 3, 7, 120_000, tzinfo=UTC)
    micros = int(moment.timestamp()) * 1_000_000 + 120_000
    place = list(REQUEST.columns).index("created_at")
    row: list[object] = [None] * len(REQUEST.columns)
    told = []
    for value in (micros, "2026-11-20 14:03:07.12", "2026-11-20 14:03:07.120000"):
        row[place] = value
        told.append(REQUEST.canonical(row))
    assert len(set(told)) == 1
