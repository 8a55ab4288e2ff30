"""Changing a table's rows: from a source into bronze, from tables into silver and gold, judged before they are visible.

The room stages files and computes facts; `Lake.commit` makes them visible together. It never decides when or in what
order tables are built.
"""
