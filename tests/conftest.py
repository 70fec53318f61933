"""What the whole suite shares. The database comes from DATABASE_URL and nowhere else."""

from hypothesis import HealthCheck, settings

# A slow shared machine is no reason to fail; each run looks at new examples and prints the
# blob that reproduces a failure.
settings.register_profile(
    "suite",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")
