"""Cancel invoices from the shell, by the same rules and with the same records as the admin."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep
from typing import Any, NoReturn

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoices import access, batches, tasks
from invoices.models import CancellationBatch
from invoices.models.attempt import State
from invoices.naming import Named, resolve
from invoices.preview import Choices, Preview, preview
from invoices.progress import (
    NOT_OVER,
    Progress,
    progress,
    standing,
    troubles,
    worker_is_alive,
)
from invoices.terminal import ProgressLine, bar
from providers.models import ProviderAccount
from providers.money import format_minor

LISTED = 10
LOOK_SECONDS = 1.0
LARGEST_FILE = 32 * 1024 * 1024
DONE = (State.CANCELLED, State.ALREADY_CANCELLED)


class Command(BaseCommand):
    """Prints what will and what will not be cancelled, starts the batch, and may follow it."""

    help = (
        "Cancel invoices of one account, named by invoice number or provider id. Exit status 0"
        " with --wait only if every selected invoice ended cancelled."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NUMBER_OR_ID")
        parser.add_argument(
            "--file", metavar="FILE|-", help="Numbers or ids, one on each line; may be large."
        )
        parser.add_argument("--account", required=True, metavar="NAME")
        parser.add_argument(
            "--reason",
            required=True,
            metavar="CODE",
            choices=CancellationBatch.Reason.values,
            help=", ".join(CancellationBatch.Reason.values),
        )
        parser.add_argument("--note", default="", help="Needed for the reason 'other'.")
        parser.add_argument("--user", required=True, metavar="NAME", help="Who asks for it.")
        parser.add_argument(
            "--option",
            action="append",
            default=[],
            metavar="PROVIDER.NAME",
            help="Choose an option of the provider, such as paypal.notify_payer.",
        )
        parser.add_argument(
            "--skip-unmatched",
            action="store_true",
            help="Go on without names that fit no invoice, or several.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print what would be done.")
        parser.add_argument("--wait", action="store_true", help="Follow the batch to its end.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = _user(options["user"])
        account = _account(options["account"], user)
        chosen = _choices(account, options["option"])
        named = self._named(account, options)
        how = f" from {options['file']}" if options["file"] else ""
        selection = f"{len(named.ids):,} invoices of {account}, named in the shell{how}"
        try:
            batch = batches.freeze(user, named.invoices(), selection)
        except (PermissionDenied, batches.BatchRefused) as refusal:
            _refuse(str(refusal))
        facts = preview(batch, chosen, user)
        self._print_preview(batch, facts)
        if options["dry_run"] or not facts.eligible:
            batches.discard(batch, user)
            if facts.eligible:
                self.stdout.write("This was a dry run. Nothing was sent.")
                return
            raise CommandError("None of these invoices can be cancelled. Nothing was sent.")
        given = batches.Confirmation(
            batch.confirm_key,
            batch.digest,
            options["reason"],
            options["note"],
            chosen,
            asks=bool(facts.need),
        )
        batch = self._start(batch, user, given)
        if batch.state == batch.State.AWAITING_APPROVAL:
            self.stdout.write(f"{batch} waits for another person's approval. Nothing was sent.")
        else:
            tasks.wake(account.pk)
            self.stdout.write(f"{batch} started: {facts.eligible:,} invoices.")
        if options["wait"]:
            self._follow(batch)

    def _named(self, account: ProviderAccount, options: dict[str, Any]) -> Named:
        names = [*options["names"], *_lines(options["file"])]
        if not names:
            _refuse("Name the invoices, or give a --file.")
        named = resolve(account, names)
        for title, some in (
            (f"No invoice of {account} has this number or id", named.unmatched),
            ("This stands for several invoices; use the provider's id", named.ambiguous),
        ):
            self._list(title, some)
        if (named.unmatched or named.ambiguous) and not options["skip_unmatched"]:
            _refuse("Correct the names above, or leave them out by --skip-unmatched.")
        if not named.ids:
            _refuse("No invoice is selected.")
        return named

    def _list(self, title: str, names: Sequence[str]) -> None:
        for name in names[:LISTED]:
            self.stdout.write(f"{title}: {name[:80]!r}")
        if len(names) > LISTED:
            self.stdout.write(f"... and {len(names) - LISTED:,} more.")

    def _print_preview(self, batch: CancellationBatch, facts: Preview) -> None:
        self.stdout.write(
            f"Of {batch.selected_count:,} invoices {facts.eligible:,} will be cancelled, "
            f"{facts.ineligible:,} will not."
        )
        for total in facts.sums:
            amount = "amounts not stated"
            if total.minor is not None:
                amount = f"{format_minor(total.minor, total.exponent)} {total.currency}"
            self.stdout.write(f"  {total.count:,} of {total.account}: {amount}")
        for left_out in facts.ruled_out:
            some = ", ".join(str(one.invoice) for one in left_out.sample)
            self.stdout.write(f"  {left_out.count:,} not: {left_out.rule.sentence} ({some})")
        for effect in facts.effects:
            for sentence in effect.sentences:
                self.stdout.write(f"  {effect.provider}: {sentence}")
        for account in facts.paused:
            self.stdout.write(f"  {account} is paused: nothing is sent until it is resumed.")
        for sentence in facts.need.reasons:
            self.stdout.write(f"  Another person has to approve it: {sentence}")

    def _start(
        self, batch: CancellationBatch, user: User, given: batches.Confirmation
    ) -> CancellationBatch:
        try:
            return batches.confirm(batch, user, given)
        except batches.SelectionChanged as change:
            batches.discard(change.fresh, user)
            raise CommandError(f"{change} Run the command again.") from None
        except (PermissionDenied, batches.BatchRefused) as refusal:
            # Nobody's, if it is no longer theirs.
            batches.discard(batch, user if access.sees(user, batch) else None)
            _refuse(str(refusal))

    def _follow(self, batch: CancellationBatch) -> None:
        line = ProgressLine(self.stdout)
        waits = batch.state == batch.State.AWAITING_APPROVAL
        if not waits and not worker_is_alive():
            self.stdout.write("No worker seems to run. Nothing is sent until one does.")
        try:
            while batch.state in NOT_OVER:
                seen = progress(batch)
                state, word = standing(batch)
                word = "" if state == batch.State.RUNNING else f", {word.lower()}"
                line.show(f"{bar(seen.done, seen.total)}{word}")
                sleep(LOOK_SECONDS)
                batch.refresh_from_db()
        except KeyboardInterrupt:
            line.clear()
            raise CommandError(
                f"{batch} goes on without being watched; it can be paused or stopped in the admin.",
                returncode=130,
            ) from None
        line.clear()
        self._summarise(batch, progress(batch))

    def _summarise(self, batch: CancellationBatch, seen: Progress) -> None:
        self.stdout.write(f"{batch} is {batch.get_state_display().lower()}:")
        for outcome in seen.outcomes:
            self.stdout.write(f"  {outcome.count:>9,} {outcome.word}")
        self.stdout.write(f"  {seen.total:>9,} selected")
        for trouble in troubles(batch):
            self.stdout.write(f"  {trouble.state.label}, {trouble.count:,}: {trouble.sentence}")
        if seen.unverified:
            self.stdout.write(
                f"{seen.unverified:,} of the cancelled are still to be verified by reading them."
            )
        missed = seen.total - sum(one.count for one in seen.outcomes if one.state in DONE)
        if missed or seen.total != batch.selected_count:
            raise CommandError(f"{missed:,} of {batch.selected_count:,} did not end cancelled.")


def _refuse(problem: str) -> NoReturn:
    end = "" if problem.endswith("Nothing was sent.") else " Nothing was sent."
    raise CommandError(problem + end)


def _account(name: str, user: User) -> ProviderAccount:
    theirs = access.narrow(user, ProviderAccount.objects.all())
    account = theirs.filter(name=name.replace("\0", "")).first()
    if account is None:
        _refuse(f"There is no account named {name!r}.")
    return account


def _user(name: str) -> User:
    user = access.people().filter(username=name.replace("\0", ""), is_active=True).first()
    if user is None:
        _refuse(f"There is no active user named {name!r}.")
    return user


def _choices(account: ProviderAccount, given: Sequence[str]) -> Choices:
    """The options that were chosen, of this account's provider."""
    known = {
        f"{account.provider}.{option.name}": option.name for option in account.adapter_class.options
    }
    for one in given:
        if one not in known:
            there = ", ".join(known) or "none"
            _refuse(f"{account.adapter_class.label} has no option {one!r}; there are: {there}.")
    return {account.provider: {known[one]: True for one in given}}


def _lines(source: str | None) -> Iterator[str]:
    """The names in a file, one on each line, without blanks around them."""
    if source is None:
        return
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        _refuse(f"{source}: {error.strerror}.")
    except ValueError:
        _refuse(f"{source} is not UTF-8 text.")
    if len(raw) > LARGEST_FILE:
        _refuse(f"{source} is larger than 32 MiB.")
    yield from (name for line in text.splitlines() if (name := line.strip()))
