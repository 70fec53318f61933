"""The site in Debian's Chromium, driven by playwright. Skipped where there is none."""
