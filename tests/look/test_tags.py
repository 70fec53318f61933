"""What the template tags write, whatever they are given."""

import html
import itertools
import json
import re
import time

import pytest
from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as st

from backoffice.templatetags.annul import BAR_UNITS, bar, json_html, outcomes
from invoices.payloads import SHOWN_BYTES

XSS = """"><script>alert(1)</script><img src=x onerror=alert(1)>' onload='x"""
COUNTS = [("cancelled", 7), ("refused", 2), ("queued", 0), ("needs_review", 1)]


def render(source: str, **context: object) -> str:
    return Template("{% load annul %}" + source).render(Context(context))


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def test_a_badge_has_state_and_word() -> None:
    assert render("{% badge s w %}", s="needs_review", w="Needs review!") == (
        '<span class="badge" data-state="needs_review">Needs review!</span>'
    )


def test_a_badge_makes_its_word_from_the_state() -> None:
    assert render('{% badge "already_cancelled" %}').endswith(">Already cancelled</span>")


@pytest.mark.parametrize(
    "source",
    [
        "{% badge x %}",
        "{% badge 'open' x %}",
        "{% money 1 x 2 %}",
        "{% bar c x %}",
        "{% outcomes c %}",
        "{{ x|json_html }}",
        "{{ j|json_html }}",
        "{{ x|raw_html }}",
        "{{ x|masks_marked }}",
    ],
)
def test_no_tag_lets_markup_through(source: str) -> None:
    output = render(source, x=XSS, c=[(XSS, 1), ("open", 1, XSS)], j='{"' + XSS + '": "' + XSS)
    assert "<script" not in output
    assert "<img" not in output
    assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', output))


@pytest.mark.parametrize(
    ("minor", "currency", "exponent", "shown"),
    [
        (124000, "USD", 2, "1,240.00 USD"),
        (1240, "JPY", 0, "1,240 JPY"),
        (5, "KWD", 3, "0.005 KWD"),
        (-150, "EUR", 2, "-1.50 EUR"),
        (2**63 - 1, "USD", 2, "92,233,720,368,547,758.07 USD"),
        (None, "USD", 2, "not stated"),
        (100, "USD", None, "not stated"),
    ],
)
def test_money_is_exact(minor: int | None, currency: str, exponent: int | None, shown: str) -> None:
    output = render("{% money m c e %}", m=minor, c=currency, e=exponent)
    assert text_of(output) == shown
    assert output.startswith('<span class="money')


def test_a_bar_says_in_words_what_it_draws() -> None:
    assert 'aria-label="Batch 7: 7 cancelled, 2 refused, 1 needs review"' in bar(COUNTS, "Batch 7")


def test_an_empty_bar_says_so() -> None:
    assert 'aria-label="nothing yet"' in bar([])
    assert "data-state" not in bar([("queued", 0)])


@given(st.lists(st.integers(min_value=1, max_value=10**9), min_size=1, max_size=14))
def test_the_segments_of_a_bar_fill_it_and_none_vanishes(numbers: list[int]) -> None:
    drawn = re.findall(r'x="(\d+)" y="0" width="(\d+)"', bar([("open", n) for n in numbers]))
    spans = [(int(x), int(x) + int(width)) for x, width in drawn]
    assert len(spans) == len(numbers)
    assert spans[0][0] == 0
    assert spans[-1][1] == BAR_UNITS
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))


def test_the_legend_leaves_out_what_does_not_occur() -> None:
    assert text_of(outcomes(COUNTS)) == "7 cancelled2 refused1 needs review"


def test_a_payload_is_indented_and_coloured() -> None:
    shown = json_html(b'{"id":"A","n":1.10,"ok":true,"none":null,"list":[],"o":{"a":[1,2]}}')
    assert text_of(shown) == (
        '{\n  "id": "A",\n  "n": 1.10,\n  "ok": true,\n  "none": null,\n  "list": [],\n'
        '  "o": {\n    "a": [\n      1,\n      2\n    ]\n  }\n}'
    )
    assert '<span class="k">&quot;id&quot;</span>' in shown
    assert '<span class="s">&quot;A&quot;</span>' in shown
    assert '<span class="n">1.10</span>' in shown
    assert '<span class="l">null</span>' in shown


def test_a_masked_value_is_marked_as_masked() -> None:
    shown = json_html(b'{"token":"[masked 32 chars sha256:1f0c22d9]"}')
    assert ">[masked 32 chars sha256:1f0c22d9]</span>" in shown
    assert 'class="masked"' in shown
    assert 'class="masked"' in json_html("a=[masked 32 chars sha256:1f0c22d9]&b=1")


def test_repeated_keys_and_long_numbers_are_shown_as_sent() -> None:
    shown = text_of(json_html(b'{"a":1,"a":2,"n":123456789012345678901234567890.10}'))
    assert shown.count('"a"') == 2
    assert "123456789012345678901234567890.10" in shown


def test_control_and_direction_characters_become_visible() -> None:
    shown = text_of(json_html("A\x00B\u202eC".encode()))
    assert shown == "A‹U+0000›B‹U+202E›C"


def test_a_long_payload_is_cut_and_says_by_how_much() -> None:
    shown = json_html(b'["' + b"x" * SHOWN_BYTES)
    assert text_of(shown).endswith("2 more bytes are not shown here. The download has all of them.")


@pytest.mark.parametrize("body", [None, b"", b"  \n", "", memoryview(b"")])
def test_nothing_is_called_empty(body: bytes | None) -> None:
    assert text_of(json_html(body)) == "empty"


@pytest.mark.parametrize(
    "body", [b"[" * SHOWN_BYTES, b'{"a":' * 20000, b'"\\' * 40000, b"{,}" * 30000, b"-" * 90000]
)
def test_hostile_payloads_stay_small_and_quick(body: bytes) -> None:
    started = time.process_time()
    shown = json_html(body)
    assert len(shown) < 6_000_000
    assert time.process_time() - started < 5


@given(st.binary(max_size=400))
def test_any_bytes_are_shown_without_loss_or_markup(body: bytes) -> None:
    shown = json_html(body)
    assert set(re.findall(r"</?(\w+)", shown)) <= {"span"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_what_is_shown_of_json_is_the_same_json(value: object) -> None:
    sent = json.dumps(value)
    if sent[0] in '{["':
        assert json.loads(text_of(json_html(sent))) == value
