"""A seeded simulator of the engine: real models and decisions, a made-up provider and clock.

One thread, no sockets. A scheduler with a seed chooses who goes next: a drain takes a turn, a call
takes a step, a process dies or stands still, a person acts, the world changes an invoice, time
passes. After each step what must never happen is looked for; in the end everything must end.
"""
