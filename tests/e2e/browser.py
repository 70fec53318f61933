"""A browser without a screen: follows links and redirects, and sends forms as they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

Fields = dict[str, str | Sequence[str]]


@dataclass
class Form:
    """A form with what is filled in already."""

    action: str
    method: str
    id: str
    fields: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Page:
    """What came back in the end."""

    url: str
    status: int
    text: str
    headers: requests.structures.CaseInsensitiveDict[str]

    @property
    def forms(self) -> list[Form]:
        """All forms of the page."""
        return FormParser(self.text).forms

    def form_with(self, name: str) -> Form:
        """The only form that has a field of this name, or this id."""
        [found] = [
            form
            for form in self.forms
            if form.id == name or any(name == one for one, _ in form.fields)
        ]
        return found

    def values(self, name: str) -> list[str]:
        """What the fields of this name hold."""
        return [value for form in self.forms for one, value in form.fields if one == name]


class Browser:
    """One person at one site."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, path: str, **query: str) -> Page:
        """Open a page."""
        return self._page(self._session.get(urljoin(self._origin, path), params=query, timeout=30))

    def submit(self, page: Page, form: Form, **changes: str | Sequence[str]) -> Page:
        """Send a form of a page, with these fields filled in or replaced."""
        kept = [(name, value) for name, value in form.fields if name not in changes]
        for name, value in changes.items():
            kept += [(name, one) for one in ([value] if isinstance(value, str) else value)]
        url = urljoin(page.url, form.action)
        answer = self._session.request(
            form.method, url, data=kept, headers={"Referer": page.url}, timeout=30
        )
        return self._page(answer)

    def log_in(self, username: str, password: str) -> Page:
        """Log in; the page that comes first."""
        page = self.get("/admin/login/?next=/admin/")
        form = page.form_with("password")
        return self.submit(page, form, username=username, password=password)

    def _page(self, answer: requests.Response) -> Page:
        return Page(answer.url, answer.status_code, answer.text, answer.headers)


class FormParser(HTMLParser):
    """Forms and what a browser would send of them; buttons are left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._select = ""
        self._textarea: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            method = given.get("method", "get").upper()
            self._open = Form(given.get("action", ""), method, given.get("id", ""))
            self.forms.append(self._open)
        elif self._owner(given) is not None:
            self._field(tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag in ("select", "textarea"):
            self._select, self._textarea = "", None

    def handle_data(self, data: str) -> None:
        if self._textarea is not None and self._open is not None:
            self._open.fields.append((self._textarea, data))

    def _owner(self, given: dict[str, str]) -> Form | None:
        named = [form for form in self.forms if form.id and form.id == given.get("form")]
        return named[0] if named else self._open

    def _field(self, tag: str, given: dict[str, str]) -> None:
        owner, name = self._owner(given), given.get("name", "")
        assert owner is not None
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            owner.fields.append((self._select, given.get("value", "")))
        elif tag == "textarea":
            self._textarea = name
        elif tag == "input" and name and _is_sent(given):
            owner.fields.append((name, given.get("value", "on")))


def _is_sent(given: dict[str, str]) -> bool:
    kind = given.get("type", "text")
    if kind in ("checkbox", "radio"):
        return "checked" in given
    return kind not in ("submit", "button", "image", "reset", "file")
