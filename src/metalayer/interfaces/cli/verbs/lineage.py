"""`metalayer lineage`: where a table or column comes from and where it goes."""
