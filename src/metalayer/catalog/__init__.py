"""The catalog: what data is and where it came from, drawn for people and written for programs.

It reads values that others made (the project, lineage, what the metastore remembers) and changes nothing: no rows, no
declarations, no facts. It prints nothing either: texts are returned, and interfaces show them.
"""
