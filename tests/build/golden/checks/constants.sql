TRY_CAST('a' AS varchar) IS NOT NULL
TRY_CAST('it''s' AS varchar) IS NOT NULL
TRY_CAST(('x' || chr(0) || 'y') AS varchar) IS NOT NULL
TRY_CAST('1' AS integer) IS NOT NULL
TRY_CAST('2' AS integer) IS NOT NULL
TRY_CAST('0' AS decimal(12,2)) IS NOT NULL
TRY_CAST('1.50' AS decimal(12,2)) IS NOT NULL
TRY_CAST('2026-01-01' AS date) IS NOT NULL AND CAST(TRY_CAST('2026-01-01' AS date) AS timestamp) IS NOT DISTINCT FROM TRY_CAST('2026-01-01' AS timestamp)
TRY_CAST('2027-01-01 00:00:00+00' AS timestamptz) IS NOT NULL
regexp_full_match('', '[a-z'']+') IS NOT NULL
regexp_full_match('', '[0-9]+') IS NOT NULL
