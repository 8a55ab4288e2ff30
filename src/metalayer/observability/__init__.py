"""Watching the system: the report of a run, notices of failures, the doctor. Nothing here changes a table."""
