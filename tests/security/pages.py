"""Who may open which page and post to it: the one table that the site is held against.

Each line: an address, for whom it opens (GET), from whom it takes a form (POST), and what is
posted. The letters: o operator, p approver, a auditor, s support, d administrator, r superuser,
n somebody without a role; * all of these, - nobody. Whoever is not named is refused: 403, or 404
or 405 where there is nothing for anybody of that kind.

An address of the site that is missing here fails the matrix test: say for whom it is meant.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from tests.security.world import ROLES

ALL = frozenset(ROLES)

TABLE = """
/                                                           *       *
/healthz                                                    *       -
/readyz                                                     *       -

/admin/                                                     *       *
/admin/login/                                               *       *
/admin/logout/                                              -       *
/admin/password_change/                                     *       *
/admin/password_change/done/                                *       -
/admin/autocomplete/                                        -       -
/admin/autocomplete/?app_label=invoices&model_name=cancellationbatch&field_name=requested_by  adr  -
/admin/jsi18n/                                              *       -
/admin/r/{type}/{user}/                                     -       -
/admin/nowhere/                                             -       -
/admin/invoices/                                            opasdr  opasdr
/admin/providers/                                           oadr    oadr
/admin/auth/                                                adr     adr

/admin/second-factor/                                       *       *       code=123456
/admin/second-factor/code/                                  *       *       code=123456
/admin/second-factor/recovery-codes/                        -       *
/admin/second-factor/remove/                                *       *
/admin/second-factor/{user}/remove/                         dr      dr
/admin/second-factor/{root}/remove/                         r       r

/admin/invoices/invoice/                                    opasdr  or
/admin/invoices/invoice/add/                                -       -       number=1
/admin/invoices/invoice/add/?_popup=1                       -       -       number=1
/admin/invoices/invoice/{invoice}/                          *       *
/admin/invoices/invoice/{invoice}/change/                   opasdr  -       status=cancelled
/admin/invoices/invoice/{invoice}/change/?_popup=1          opasdr  -       _saveasnew=1
/admin/invoices/invoice/{invoice}/history/                  *       *
/admin/invoices/invoice/{invoice}/delete/                   -       -       post=yes
/admin/invoices/invoice/{invoice}/compare/                  ar      -
/admin/invoices/invoice/?selection={list}                   opasdr  or
/admin/invoices/invoice/views/counts/                       opasdr  -
/admin/invoices/invoice/views/save/                         -       opasdr  name=x&query=q%3Dx
/admin/invoices/invoice/views/{own_view}/                   o       o       name=x
/admin/invoices/invoice/views/{foreign_view}/               -       -       name=x
/admin/invoices/invoice/views/{own_view}/delete/            -       o
/admin/invoices/invoice/views/{foreign_view}/delete/        -       -
/admin/invoices/invoice/paste/                              opasdr  opasdr  list=1
/admin/invoices/invoice/paste/{list}/                       opasdr  -

/admin/invoices/cancellationbatch/                          opasdr  -       action=delete_selected
/admin/invoices/cancellationbatch/add/                      -       -       selection=all
/admin/invoices/cancellationbatch/running/                  opasdr  opasdr
/admin/invoices/cancellationbatch/{own}/                    *       *
/admin/invoices/cancellationbatch/{own}/change/             opasdr  -       state=finished
/admin/invoices/cancellationbatch/{foreign}/change/         opasdr  -       state=finished
/admin/invoices/cancellationbatch/{own}/history/            *       *
/admin/invoices/cancellationbatch/{own}/delete/             -       -       post=yes
/admin/invoices/cancellationbatch/{own_draft}/preview/      o       o       reason=duplicate
/admin/invoices/cancellationbatch/{foreign_draft}/preview/  -       -       reason=duplicate
/admin/invoices/cancellationbatch/{own_draft}/discard/      -       o
/admin/invoices/cancellationbatch/{foreign_draft}/discard/  -       -
/admin/invoices/cancellationbatch/{own}/rows/               opasdr  opasdr
/admin/invoices/cancellationbatch/{foreign}/rows/           opasdr  opasdr
/admin/invoices/cancellationbatch/{own}/progress/           opasdr  opasdr
/admin/invoices/cancellationbatch/{foreign}/progress/       opasdr  opasdr
/admin/invoices/cancellationbatch/{own}/control/            -       or      do=pause
/admin/invoices/cancellationbatch/{foreign}/control/        -       r       do=pause
/admin/invoices/cancellationbatch/{paused}/control/         -       or      do=resume
/admin/invoices/cancellationbatch/{own}/control/            -       or      do=stop
/admin/invoices/cancellationbatch/{foreign}/control/        -       r       do=stop
/admin/invoices/cancellationbatch/{finished}/control/       -       or      do=retry

/admin/invoices/cancellationbatch/{own_awaiting}/control/   -       opdr    do=recall
/admin/invoices/cancellationbatch/{awaiting}/control/       -       pdr     do=recall

/admin/invoices/awaitingbatch/                              padr    pr      action=delete_selected
/admin/invoices/awaitingbatch/add/                          -       -       selection=all
/admin/invoices/awaitingbatch/{awaiting}/                   *       *
/admin/invoices/awaitingbatch/{awaiting}/change/            padr    -       state=running
/admin/invoices/awaitingbatch/{awaiting}/history/           *       *
/admin/invoices/awaitingbatch/{awaiting}/delete/            -       -       post=yes
/admin/invoices/awaitingbatch/{awaiting}/decide/            -       pr      do=approve
/admin/invoices/awaitingbatch/{own_awaiting}/decide/        -       pr      do=reject
/admin/invoices/awaitingbatch/several/                      -       pr      do=approve

/admin/invoices/approvalrule/                               padr    padr
/admin/invoices/approvalrule/add/                           dr      dr      measure=x
/admin/invoices/approvalrule/{rule}/                        *       *
/admin/invoices/approvalrule/{rule}/change/                 padr    dr      measure=x
/admin/invoices/approvalrule/{rule}/change/?_popup=1        padr    dr      _saveasnew=1
/admin/invoices/approvalrule/{rule}/history/                padr    padr
/admin/invoices/approvalrule/{rule}/delete/                 -       -       post=yes

/admin/invoices/cancellationattempt/                        opar    -       action=decide
/admin/invoices/cancellationattempt/add/                    -       -
/admin/invoices/cancellationattempt/{parked}/               *       *
/admin/invoices/cancellationattempt/{parked}/change/        opar    -       state=cancelled
/admin/invoices/cancellationattempt/{parked}/history/       *       *
/admin/invoices/cancellationattempt/{parked}/delete/        -       -       post=yes
/admin/invoices/cancellationattempt/{parked}/decide/        -       opr     do=propose

/admin/invoices/providerrequest/                            ar      -       action=delete_selected
/admin/invoices/providerrequest/add/                        -       -
/admin/invoices/providerrequest/{call}/                     *       *
/admin/invoices/providerrequest/{call}/change/              ar      -       url=x
/admin/invoices/providerrequest/{call}/history/             *       *
/admin/invoices/providerrequest/{call}/delete/              -       -       post=yes
/admin/invoices/providerrequest/{call}/payload/request/     ar      -
/admin/invoices/providerrequest/{call}/payload/answer/      ar      -
/admin/invoices/providerrequest/{call}/request.txt          ar      -
/admin/invoices/providerrequest/{call}/answer.txt           ar      -
/admin/invoices/providerrequest/{call}/request-head.txt     ar      -
/admin/invoices/providerrequest/{call}/answer-head.txt      ar      -

/admin/invoices/historyevent/                               adr     -       action=delete_selected
/admin/invoices/historyevent/add/                           -       -       kind=signed_in
/admin/invoices/historyevent/{event}/                       *       *
/admin/invoices/historyevent/{event}/change/                adr     -       detail=x
/admin/invoices/historyevent/{event}/history/               *       *
/admin/invoices/historyevent/{event}/delete/                -       -       post=yes

/admin/invoices/evidenceexport/                             ar      -       action=delete_selected
/admin/invoices/evidenceexport/add/                         -       -       kind=signed_in
/admin/invoices/evidenceexport/export/  -  ar  what=batch&key={own}
/admin/invoices/evidenceexport/export/  -  ar  what=invoice&key={invoice}
/admin/invoices/evidenceexport/export/  -  ar  what=span&from=2020-01-01&to=2030-12-31
/admin/invoices/evidenceexport/export/  -  ar  what=sample&size=2&seed=x
/admin/invoices/evidenceexport/{export}/                    *       *
/admin/invoices/evidenceexport/{export}/change/             ar      -       detail=x
/admin/invoices/evidenceexport/{export}/history/            *       *
/admin/invoices/evidenceexport/{export}/delete/             -       -       post=yes

/admin/invoices/syncrun/                                    oadr    -       action=delete_selected
/admin/invoices/syncrun/add/                                -       -       account={account}
/admin/invoices/syncrun/{run}/                              *       *
/admin/invoices/syncrun/{run}/change/                       oadr    -       state=finished
/admin/invoices/syncrun/{run}/history/                      *       *
/admin/invoices/syncrun/{run}/delete/                       -       -       post=yes
/admin/invoices/syncrun/{run}/progress/                     oadr    oadr

/admin/providers/provideraccount/                           oadr    odr
/admin/providers/provideraccount/add/                       dr      dr      name=x
/admin/providers/provideraccount/add/?provider=paypal       dr      dr      name=x
/admin/providers/provideraccount/{account}/                 *       *
/admin/providers/provideraccount/{account}/change/          oadr    dr      name=x
/admin/providers/provideraccount/{account}/change/?_popup=1 oadr    -       _saveasnew=1
/admin/providers/provideraccount/{resting}/change/          oadr    dr      name=x
/admin/providers/provideraccount/{account}/history/         oadr    oadr
/admin/providers/provideraccount/{account}/delete/          -       -       post=yes
/admin/providers/provideraccount/{account}/check/           -       dr
/admin/providers/provideraccount/{account}/pause/           dr      dr      reason=test
/admin/providers/provideraccount/{account}/resume/          -       dr
/admin/providers/provideraccount/{account}/import/          -       odr

/admin/auth/user/                                           adr     adr
/admin/auth/user/add/                                       dr      dr      username=x
/admin/auth/user/{user}/                                    *       *
/admin/auth/user/{user}/change/                             adr     dr      username=x
/admin/auth/user/{root}/change/                             adr     r       username=x
/admin/auth/user/{user}/history/                            *       *
/admin/auth/user/{user}/delete/                             -       -       post=yes
/admin/auth/user/{user}/password/                           dr      dr      new_password1=x
/admin/auth/user/{root}/password/                           r       r       new_password1=x
"""

OPEN_TO_ANYBODY = {
    "/": 302,
    "/healthz": 200,
    "/readyz": 200,
    "/admin/login/": 200,
    "/admin/logout/": 302,
}
"""What answers somebody who is not logged in otherwise than by the way to the log-in page."""

ACTIONS = """
invoices.Invoice             cancel_selected     or
invoices.Invoice             refresh_selected    or
invoices.AwaitingBatch       approve_selected    pr
invoices.AwaitingBatch       reject_selected     pr
providers.ProviderAccount    import_invoices     odr
"""
"""Model, action, who may take it."""

ASK_FIRST = {"approve_selected", "reject_selected"}
"""Actions that only show a page: what it posts to stands in the table above."""


@dataclass(frozen=True, eq=False)
class Page:
    """A line of the table."""

    address: str
    opens_for: frozenset[str]
    takes_from: frozenset[str]
    posted: dict[str, str]

    def at(self, ids: dict[str, object]) -> str:
        """The address with the keys of this world."""
        return self.address.format(**ids)


@dataclass(frozen=True)
class Action:
    """A line of the table of actions."""

    model: str
    name: str
    allowed: frozenset[str]


def _letters(word: str) -> frozenset[str]:
    return {"*": ALL, "-": frozenset[str]()}.get(word, frozenset(word))


def _page(line: str) -> Page:
    address, opens, takes, *posted = line.split()
    return Page(address, _letters(opens), _letters(takes), dict(parse_qsl("".join(posted))))


PAGES = [_page(line) for line in TABLE.splitlines() if line]
ALLOWED_ACTIONS = [
    Action(model, name, _letters(letters))
    for model, name, letters in (line.split() for line in ACTIONS.split("\n") if line)
]
