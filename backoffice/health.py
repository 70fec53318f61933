"""What probes ask: is this process up, and can the whole do its work?"""

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from invoices.progress import worker_is_alive


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while this web process answers; asks nothing else, so that a probe cannot load it."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and a worker was seen lately, else 503 and which it is."""
    database = database_answers()
    parts = {"database": database, "worker": database and worker_was_seen()}
    return JsonResponse(
        {name: "ok" if good else "down" for name, good in parts.items()},
        status=200 if all(parts.values()) else 503,
    )


def database_answers() -> bool:
    """Whether one trivial query succeeds."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def worker_was_seen() -> bool:
    """Whether a worker is alive, by the same rule as on the pages."""
    try:
        return worker_is_alive()
    except DatabaseError:
        # Not migrated yet: the database answers, but nobody can work.
        return False
