"""The web of callers: argv today, HTTP later. The only room that knows either."""
