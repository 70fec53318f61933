"""A worker's sign of life, sent through the queue so that it proves the queue works."""

from django.db import models


class Heartbeat(models.Model):
    """One row: when a worker last took a task from the queue, by the database's clock."""

    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Worker seen at {self.seen_at:%H:%M:%S}"
