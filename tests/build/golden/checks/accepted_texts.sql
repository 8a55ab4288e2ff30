NOT list_contains([CAST('a' AS varchar), CAST('it''s' AS varchar), CAST(('x' || chr(0) || 'y') AS varchar)], "_judged"."say ""hi""")
