"""`metalayer source`: places outside that rows come from."""
