WITH this AS (SELECT * FROM read_parquet('staged.parquet'))
SELECT CAST(value AS varchar), value IS NOT DISTINCT FROM 0
FROM (SELECT (
SELECT count(*) FROM this
) AS value)
