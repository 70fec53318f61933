"""Monite's tokens, its two headers of its own, and its errors.

Sources: Monite API reference, "Obtain an access token"; the guides on
authentication, versioning, HTTP headers and rate limiting.
"""

from __future__ import annotations

import json
import time
from typing import Any

from providers.sandbox.dialects.base import Call, Dialect, bearer, route
from providers.sandbox.wire import Response, json_response
from providers.sandbox.world import Account

VERSIONS = frozenset(("2023-06-04", "2023-09-01", "2024-01-31", "2024-05-25"))
TOKEN_FIELDS = {
    "client_credentials": {"grant_type", "client_id", "client_secret"},
    "entity_user": {"grant_type", "client_id", "client_secret", "entity_user_id"},
}
MESSAGES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Action is not allowed for your role",
    404: "Object not found",
    405: "Method not allowed",
    409: "Action update for receivable not allowed",
    416: "Requested range not satisfiable",
    429: "Rate limit exceeded",
}


class MoniteAccess(Dialect):
    """The part of the dialect that decides whether a request may be made at all."""

    code = "monite"

    @route("POST", r"/auth/token", "token", auth=False)
    def token(self, call: Call) -> Response:
        """Obtain an access token: JSON, nothing beside the documented properties."""
        body = json_object(call.request.body)
        refusal = self._version_fault(call) or _token_fault(body)
        if refusal:
            return refusal
        if call.account is None or call.account.credentials["client_secret"] != body.get(
            "client_secret"
        ):
            return error_answer(401, "Invalid client credentials")
        token = f"made-up-monite-token-{call.trace}"
        call.account.tokens[token] = time.time() + self.switches.monite_token_life
        life = int(self.switches.monite_token_life)
        return json_response(
            200, {"access_token": token, "expires_in": life, "token_type": "Bearer"}
        )

    @route("POST", r"/auth/revoke", "token", auth=False)
    def revoke(self, call: Call) -> Response:
        """Revoke a token."""
        body = json_object(call.request.body)
        if call.account is None or call.account.credentials["client_secret"] != body.get(
            "client_secret"
        ):
            return error_answer(401, "Invalid client credentials")
        call.account.tokens.pop(str(body.get("token")), None)
        return json_response(200, {"message": "Token revoked"})

    def account_of(self, call: Call) -> Account | None:
        """By the client id in a token request, else by the bearer token (and its entity)."""
        if call.route and not call.route.needs_auth:
            client_id = json_object(call.request.body).get("client_id")
            return self.world.with_credential(self.code, "client_id", str(client_id))
        issued_to = self.world.with_token(self.code, bearer(call.request) or "")
        return self._account_of_entity(call, issued_to) or issued_to

    def _account_of_entity(self, call: Call, issued_to: Account | None) -> Account | None:
        """A partner's token serves all entities of that partner."""
        entity = call.request.headers.get("x-monite-entity-id")
        for account in self.world.of_provider(self.code):
            client = issued_to.credentials["client_id"] if issued_to else None
            wanted = {"client_id": client, "entity_id": entity}
            if wanted.items() <= account.credentials.items():
                return account
        return None

    def authenticate(self, call: Call) -> Response | None:
        """The version header comes first: without it 400, not 401."""
        refusal = self._version_fault(call)
        if refusal:
            return refusal
        token = bearer(call.request) or ""
        issued_to = self.world.with_token(self.code, token)
        if issued_to is None or issued_to.tokens[token] <= time.time():
            return self.problem(call, 401)
        return None

    def precheck(self, call: Call) -> Response | None:
        """The entity header: missing 400 or 422, another's 404."""
        entity = call.request.headers.get("x-monite-entity-id")
        if entity is None:
            message = "x-monite-entity-id is required"
            if self.switches.monite_missing_entity == 400:
                return error_answer(400, message)
            return unprocessable(["header", "x-monite-entity-id"], message)
        return None if call.owner.credentials["entity_id"] == entity else self.problem(call, 404)

    @staticmethod
    def _version_fault(call: Call) -> Response | None:
        version = call.request.headers.get("x-monite-version")
        if version in VERSIONS:
            return None
        kind = "invalid_api_version" if version else "missing_api_version"
        message = "Header x-monite-version is missing or names no version"
        return json_response(400, {"error": {"type": kind, "message": message}})

    def problem(self, call: Call, status: int) -> Response:
        """The error object; 422 names the place instead."""
        if status == 422:
            return unprocessable(["path", "receivable_id"], "value is not valid")
        response = error_answer(status, MESSAGES.get(status, "Internal server error"))
        if status == 429 and call.account and call.account.limit:
            response.headers["Retry-After"] = str(max(1, round(call.account.limit.reset)))
        return response


def _token_fault(body: dict[str, Any]) -> Response | None:
    allowed = TOKEN_FIELDS.get(str(body.get("grant_type")))
    if allowed is None:
        return unprocessable(["body", "grant_type"], "unexpected value")
    for name in sorted(set(body) - allowed):
        return unprocessable(["body", name], "extra fields not permitted")
    for name in sorted(allowed - set(body)):
        return unprocessable(["body", name], "field required")
    return None


def error_answer(status: int, message: str) -> Response:
    """The error object."""
    return json_response(status, {"error": {"message": message}})


def unprocessable(where: list[str], message: str) -> Response:
    """422: a place and what is wrong there."""
    return json_response(422, {"detail": [{"loc": where, "msg": message, "type": "value_error"}]})


def json_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object; empty where it is none."""
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
