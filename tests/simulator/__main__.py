"""`python -m tests.simulator --scenarios N --seed SEED`; needs no server."""

import os
import sys
from importlib import import_module

import django

if __name__ == "__main__":
    os.environ["DATABASE_URL"] = "sqlite://:memory:"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    sys.exit(import_module("tests.simulator.command").main(sys.argv[1:]))
