SELECT coalesce(sum(copies), 0)::bigint, min(CAST(to_json({'order_id': "order_id", 'say "hi"': "say ""hi"""}) AS varchar), 5)
FROM (SELECT "order_id", "say ""hi""", count(*) AS copies FROM read_parquet('staged.parquet')
WHERE "order_id" IS NOT NULL AND "say ""hi""" IS NOT NULL AND hash("order_id", "say ""hi""") % 4 = 1 GROUP BY "order_id", "say ""hi""" HAVING count(*) > 1)
