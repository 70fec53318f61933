"""The second factor: an app that shows a new code every 30 seconds, and recovery codes on paper.

django-otp keeps the devices, refuses a code that was used, and makes whoever gives wrong ones wait
for longer and longer. Of recovery codes only a digest is kept.
"""

import hashlib
import re
import secrets
from base64 import b32encode
from binascii import unhexlify
from dataclasses import dataclass
from datetime import datetime

import qrcode
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from backoffice import people
from invoices.stepping_up import device_of

RECOVERY_CODES = 10
APP_CODE = re.compile(r"[0-9]{6}")
RECOVERY_CODE = re.compile(r"[a-z2-7]{16}")
OFFER_SALT = "annul.second-factor"
OFFER_SECONDS = 15 * 60


@dataclass(frozen=True)
class Offer:
    """A new secret to be put into an app: as text, and as a QR code's side and SVG path.

    `signed` comes back with the first code, so that nothing is stored until that is right.
    """

    secret: str
    side: int
    path: str
    signed: str


@dataclass(frozen=True)
class Answer:
    """Whether a code was right; `wait_until`: it was not looked at, as too many were wrong."""

    right: bool
    wait_until: datetime | None = None
    codes_left: int | None = None


def offer(user: User, signed: str = "") -> Offer:
    """A new secret, or the one of an offer that was made to this person lately."""
    key = offered_key(user, signed) or secrets.token_hex(20)
    device = TOTPDevice(user=user, key=key)
    side, path = _drawn(str(device.config_url))
    text = b32encode(unhexlify(key)).decode()
    again = signing.dumps([user.pk, key], salt=OFFER_SALT)
    return Offer(" ".join(re.findall("....", text)), side, path, again)


def offered_key(user: User, signed: str) -> str:
    """The secret of an offer; "" if it is none, another person's, or too old."""
    try:
        owner, key = signing.loads(signed, salt=OFFER_SALT, max_age=OFFER_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return str(key) if owner == user.pk else ""


def enable(user: User, key: str, code: str) -> list[str]:
    """Take an offered secret as the second factor if the code belongs to it.

    Returns the recovery codes, which are shown once; none if the code is wrong.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if device_of(user.pk) is not None:
            return []
        device = TOTPDevice.objects.create(user=user, name="app", key=key)
        if not (APP_CODE.fullmatch(_bare(code)) and device.verify_token(_bare(code))):
            device.delete()
            return []
        people.record(user, user, ["second factor set up"])
        return _recovery_codes(user)


def renew_recovery_codes(user: User) -> list[str]:
    """Ten new ones in place of the old, shown once."""
    with transaction.atomic():
        people.record(user, user, ["new recovery codes"])
        return _recovery_codes(user)


def check(user: User, code: str) -> Answer:
    """Whether a code is right now. Each is good for one time."""
    bare = _bare(code)
    if APP_CODE.fullmatch(bare):
        return _verified(TOTPDevice, user, bare)
    if not RECOVERY_CODE.fullmatch(bare):
        return Answer(False)
    with transaction.atomic():
        answer = _verified(StaticDevice, user, _digest(bare))
        if answer.right:
            left = recovery_codes_left(user)
            people.record(user, user, [f"a recovery code was used, {left} left"])
    return Answer(True, codes_left=left) if answer.right else answer


def recovery_codes_left(user: User) -> int:
    """How many are unused."""
    return int(StaticToken.objects.filter(device__user=user).count())


def may_remove(actor: User, person: User) -> bool:
    """Their own, or as an administrator another person's."""
    return actor.is_active and (actor.pk == person.pk or people.may_decide(actor, person))


def remove(actor: User, person: User) -> bool:
    """Forget a person's device and recovery codes; False if there were none.

    Their sessions end. Raises `PermissionDenied`.
    """
    if not may_remove(actor, person):
        raise PermissionDenied("This needs a permission that you do not have.")
    with transaction.atomic():
        removed, _ = TOTPDevice.objects.filter(user=person).delete()
        StaticDevice.objects.filter(user=person).delete()
        if removed:
            people.record(actor, person, ["second factor removed"])
    return bool(removed)


def _verified(model: type[TOTPDevice] | type[StaticDevice], user: User, code: str) -> Answer:
    with transaction.atomic():
        mine = model.objects.select_for_update().filter(user=user, confirmed=True)
        device = mine.order_by("pk").first()
        if device is None:
            return Answer(False)
        allowed, facts = device.verify_is_allowed()
        if not allowed:
            return Answer(False, wait_until=facts["locked_until"])
        return Answer(bool(device.verify_token(code)))


def _recovery_codes(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery codes")
    codes = [b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(
        StaticToken(device=device, token=_digest(code)) for code in codes
    )
    return ["-".join(re.findall("....", code)) for code in codes]


def _digest(code: str) -> str:
    """What is kept of a recovery code; its 80 random bits need no salt."""
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def _bare(code: str) -> str:
    """Without what people type to read it more easily."""
    return re.sub(r"[\s-]", "", code).lower()


def _drawn(text: str) -> tuple[int, str]:
    """A QR code: its side in modules with the margin, and the path of the dark ones."""
    code = qrcode.QRCode(border=4)
    code.add_data(text)
    matrix = code.get_matrix()
    squares = (
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark
    )
    return len(matrix), "".join(squares)
