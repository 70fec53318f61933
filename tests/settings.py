"""The project's own settings under an environment that is the same on every machine.

Only DATABASE_URL is taken from outside: the suite runs on SQLite and on PostgreSQL.
"""

import os
import tempfile
from pathlib import Path

TEST_DATABASE = Path(tempfile.gettempdir()) / f"annul-test-{os.getpid()}.sqlite3"

os.environ.setdefault("DATABASE_URL", f"sqlite:///{TEST_DATABASE}")
os.environ.update(
    {
        "ENV_FILE": os.devnull,
        "DEBUG": "False",
        "DEMO": "False",
        "SECRET_KEY": "only-for-tests-" * 5,
        "CREDENTIAL_KEYS": "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
        "AUDIT_SEAL_KEY": "c2VhbC1rZXktb25seS1mb3ItdGVzdHMtb25seS10ZXM=",
        "AUDIT_SIGNING_KEY": "c2lnbmluZy1rZXktb25seS1mb3ItdGVzdHMtb25seS0=",
        "AUDIT_CHECKPOINTS": f"{TEST_DATABASE}-checkpoints.jsonl",
        "AUDIT_FORMER_PUBLIC_KEYS": "",
        "AUDIT_MAIL": "",
        "EMAIL_URL": "",
        "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
        "CSRF_TRUSTED_ORIGINS": "",
        "PROVIDER_EXTRA_ORIGINS": "",
        "PROVIDER_CA_BUNDLE": "",
        "REDIS_URL": "",
        "TRUSTED_PROXIES": "",
        "SECURE_SSL": "False",
        "PACE": "",
        "TIME_ZONE": "UTC",
        "LOG_LEVEL": "WARNING",
    }
)

from backoffice.settings import *  # noqa: E402, F403
from backoffice.settings import DATABASES, STORAGES  # noqa: E402

# Hashing on purpose slowly would be most of the suite's time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Tests speak to the sandbox on loopback; those that test the refusal switch it off. All else
# stays as in production.
DEMO = True

# No collectstatic before a test run.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: other processes and threads take part. Nothing in it must survive.
    DATABASES["default"]["TEST"] = {"NAME": str(TEST_DATABASE)}
    DATABASES["default"]["OPTIONS"] |= {
        "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF"
    }
