(SELECT 0, left(CAST(to_json({'order_id': "_judged"."order_id"}) AS varchar), 300) FROM read_parquet('staged.parquet') AS "_judged" WHERE "_judged"."say ""hi""" IS NULL LIMIT 5)
UNION ALL
(SELECT 1, left(CAST(to_json({'order_id': "_judged"."order_id"}) AS varchar), 300) FROM read_parquet('staged.parquet') AS "_judged" WHERE "_judged"."customer_id" IS NOT NULL AND "_judged"."customer_id" NOT IN (SELECT "id" FROM "lake"."silver"."parents" WHERE "id" IS NOT NULL) ORDER BY 2 LIMIT 5)
