"""Settings of the cluster that works off one task for each invoice: more workers than cores."""

from backoffice.settings import *  # noqa: F403

Q_CLUSTER = {
    "name": "annul",
    "workers": 4,
    "poll": 0.2,
    "timeout": 60,
    "retry": 120,
    "save_limit": -1,
    "orm": "default",
}
