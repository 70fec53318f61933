"""All settings, read from the environment and from the file `.env` beside manage.py.

`.env.example` lists every variable with its meaning. Without DEBUG and DEMO the site refuses
to start while something that production needs is missing.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ

from backoffice import environment

# Django's generic classes take their parameter in the type stubs only; this lets them at run time.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
# What the environment says wins over the file.
environ.Env.read_env(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
# Keys that were made here, and all of the demo's data.
VAR_DIR = BASE_DIR / (env.str("VAR_DIR", default="") or "var")


def whole_number(variable: str, default: int, *, least: int) -> int:
    """A number from the environment; a sentence instead of a traceback if it is none."""
    return environment.whole_number(env.str(variable, default=""), default, least, variable)


# --- What kind of place this is ---------------------------------------------------------------

DEBUG: bool = env.bool("DEBUG", default=False)
DEMO: bool = env.bool("DEMO", default=False)
# A place on one person's machine: missing keys are made, plain http is fine.
LOCAL = DEBUG or DEMO

SECRET_KEY = environment.secret_key(
    env.str("SECRET_KEY", default=""), VAR_DIR / "secret_key" if LOCAL else None
)
CREDENTIAL_KEYS = environment.credential_keys(
    env.list("CREDENTIAL_KEYS", default=[]), VAR_DIR / "credential_key" if LOCAL else None
)
ALLOWED_HOSTS = environment.allowed_hosts(env.list("ALLOWED_HOSTS", default=[]), LOCAL)
CSRF_TRUSTED_ORIGINS = environment.origins(
    env.list("CSRF_TRUSTED_ORIGINS", default=[]), "CSRF_TRUSTED_ORIGINS"
)

# --- The parts --------------------------------------------------------------------------------

INSTALLED_APPS = [
    "backoffice.apps.BackofficeAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "django_q",
    "providers",
    "invoices",
    # By its full name: the module also holds the admin's.
    "backoffice.apps.BackofficeConfig",
]

MIDDLEWARE = [
    # Outermost, so that every response carries the headers, errors too.
    "backoffice.middleware.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "backoffice.middleware.RefuseNul",
    "backoffice.middleware.FromWhere",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "backoffice.query_limit.LimitQueries",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "backoffice.sessions.EndSession",
    "backoffice.sessions.AskForCode",
    "backoffice.middleware.RenewSession",
    "django.contrib.messages.middleware.MessageMiddleware",
    # Innermost: it puts the page of a locked name in place of the log-in form's.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "backoffice.urls"
WSGI_APPLICATION = "backoffice.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database ---------------------------------------------------------------------------------

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, dict[str, Any]] = {
    "default": environment.database(
        env.str("DATABASE_URL", default="") or "sqlite:///var/annul.sqlite3", BASE_DIR
    )
}

# Seconds for each query of a page; workers and commands have no such limit.
WEB_QUERY_SECONDS = whole_number("WEB_QUERY_SECONDS", 15, least=0)

# --- Work in the background -------------------------------------------------------------------

WORKER_ACCOUNTS_IN_PARALLEL = whole_number("WORKER_ACCOUNTS_IN_PARALLEL", 2, least=1)
DRAIN_SECONDS = whole_number("DRAIN_SECONDS", 25, least=1)
# A lease that ends before its drain would let a second one start beside it.
DRAIN_LEASE_SECONDS = whole_number("DRAIN_LEASE_SECONDS", 120, least=DRAIN_SECONDS + 1)
WORKER_WEDGED_SECONDS = whole_number("WORKER_WEDGED_SECONDS", 60, least=10)
# Multiplies every waiting time of the engine; only for tests and demonstrations.
PACE = environment.pace(env.str("PACE", default=""), LOCAL)

REDIS_URL = env.str("REDIS_URL", default="")

# A task only means "wake up", so losing or repeating one is harmless; what must not happen is
# that a cluster keeps tasks for itself (queue_limit), repeats a failing one (max_attempts) or
# stores its result (save_limit), which would be an unsigned pickle.
Q_CLUSTER: dict[str, Any] = {
    "name": "annul",
    "workers": WORKER_ACCOUNTS_IN_PARALLEL,
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.5,
    # A backstop only: a drain ends by itself long before. The hard kill needs
    # timeout + 3 to be a multiple of guard_cycle.
    "timeout": 117,
    "retry": 300,
    "guard_cycle": 0.5,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": -1,
    "catch_up": False,
    "recycle": 500,
    "ALT_CLUSTERS": {},
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}

# --- Providers --------------------------------------------------------------------------------

# Origins beyond the providers' own that an account may use: a proxy, a test server.
PROVIDER_EXTRA_ORIGINS = environment.origins(
    env.list("PROVIDER_EXTRA_ORIGINS", default=[]), "PROVIDER_EXTRA_ORIGINS"
)
# Whom to believe who a server is. There is no switch to believe everybody.
PROVIDER_CA_BUNDLE = environment.readable_file(
    env.str("PROVIDER_CA_BUNDLE", default=""), "PROVIDER_CA_BUNDLE"
)

# --- Proof for auditors -----------------------------------------------------------------------

AUDIT_SEAL_KEY: str = environment.audit_key(
    env.str("AUDIT_SEAL_KEY", default=""),
    "AUDIT_SEAL_KEY",
    VAR_DIR / "audit_seal_key" if LOCAL else None,
)
AUDIT_SIGNING_KEY: str = environment.audit_key(
    env.str("AUDIT_SIGNING_KEY", default=""),
    "AUDIT_SIGNING_KEY",
    VAR_DIR / "audit_signing_key" if LOCAL else None,
)
AUDIT_FORMER_PUBLIC_KEYS: list[str] = environment.public_keys(
    env.list("AUDIT_FORMER_PUBLIC_KEYS", default=[]), "AUDIT_FORMER_PUBLIC_KEYS"
)
AUDIT_CHECKPOINTS: str = str(
    BASE_DIR / (env.str("AUDIT_CHECKPOINTS", default="") or VAR_DIR / "checkpoints.jsonl")
)
AUDIT_MAIL: list[str] = env.list("AUDIT_MAIL", default=[])

# --- Mail -------------------------------------------------------------------------------------

globals().update(environment.mail(env.str("EMAIL_URL", default=""), AUDIT_MAIL))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="") or "annul@localhost"

# --- Who is here ------------------------------------------------------------------------------

LOGIN_URL = "admin:login"
AUTHENTICATION_BACKENDS = [
    # First: it turns away whoever is locked, before any password is looked at.
    "axes.backends.AxesStandaloneBackend",
    "backoffice.sessions.Backend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=30)
# Trying on while locked does not prolong it, and is not written down.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "backoffice.lockout.address"
AXES_USERNAME_CALLABLE = "backoffice.lockout.name_of"
AXES_LOCKOUT_CALLABLE = "backoffice.lockout.locked_page"
# Who logged in stands in our own record.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

SECOND_FACTOR = environment.choice(
    env.str("SECOND_FACTOR", default="") or ("off" if LOCAL else "optional"),
    ("off", "optional", "required"),
    "SECOND_FACTOR",
)
OTP_TOTP_ISSUER = "Annul"

# --- Between browser and site -----------------------------------------------------------------

# Whose word to take on who the visitor is.
TRUSTED_PROXIES = environment.networks(env.list("TRUSTED_PROXIES", default=[]), "TRUSTED_PROXIES")

SECURE_SSL = env.bool("SECURE_SSL", default=not LOCAL)
SECURE_SSL_REDIRECT = SECURE_SSL
# Probes come from inside, by plain http.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE_SSL else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_SSL
SECURE_HSTS_PRELOAD = SECURE_SSL
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# A browser sends a __Host- cookie back only to this very host and only over TLS.
COOKIE_PREFIX = "__Host-" if SECURE_SSL else ""
SESSION_COOKIE_NAME = f"{COOKIE_PREFIX}annul_session"
SESSION_COOKIE_SECURE = SECURE_SSL
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 60 * whole_number("SESSION_IDLE_MINUTES", 15, least=1)
SESSION_HOURS = whole_number("SESSION_HOURS", 8, least=1)
CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}annul_csrf"
CSRF_COOKIE_SECURE = SECURE_SSL
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"

# A page of 100 ticked rows with its filters is far below; "all matching" posts no ids.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# --- Static files -----------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / (env.str("STATIC_ROOT", default="") or "staticfiles")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if LOCAL
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
WHITENOISE_USE_FINDERS = LOCAL
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False

# --- Language and time ------------------------------------------------------------------------

LANGUAGE_CODE = "en-gb"
USE_I18N = True
USE_TZ = True
TIME_ZONE = environment.time_zone(env.str("TIME_ZONE", default="UTC"))

# --- Log --------------------------------------------------------------------------------------

DEFAULT_EXCEPTION_REPORTER = "backoffice.error_reports.CleansingReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "backoffice.error_reports.CleansingFilter"

LOG_LEVEL = environment.log_level(env.str("LOG_LEVEL", default="INFO"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "backoffice.json_log.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # Django's defaults would print the same record a second time, unformatted.
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django.server": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        # Its DEBUG has every statement with its values: session keys, password hashes.
        "django.db.backends": {"handlers": [], "level": "INFO", "propagate": True},
        # It reports every wake-up and heartbeat, twice.
        "django-q": {
            "handlers": [],
            "level": LOG_LEVEL if LOG_LEVEL in ("DEBUG", "ERROR", "CRITICAL") else "WARNING",
            "propagate": True,
        },
    },
}
