SELECT
  "_judged"."order_id",
  "_judged"."customer_id",
  "_judged"."say ""hi""",
  "_judged"."amount",
  "_judged"."weight",
  "_judged"."sold_on",
  "_judged"."seen_at",
  "_judged"."tags",
  "_judged"."photo",
  CASE WHEN ("_fails0" OR "_fails1" OR "_fails2") THEN list_filter([CASE WHEN "_fails0" THEN 'accepted_texts' END, CASE WHEN "_fails1" THEN 'references' END, CASE WHEN "_fails2" THEN 'unique' END], lambda name: name IS NOT NULL) END AS _failed,
  md5(CAST(to_json({'order_id': "_judged"."order_id", 'customer_id': "_judged"."customer_id", 'say "hi"': "_judged"."say ""hi""", 'amount': "_judged"."amount", 'weight': "_judged"."weight", 'sold_on': "_judged"."sold_on", 'seen_at': "_judged"."seen_at", 'tags': "_judged"."tags", 'photo': "_judged"."photo"}) AS varchar)) AS _row_hash
FROM (
SELECT
  "_judged"."order_id",
  "_judged"."customer_id",
  "_judged"."say ""hi""",
  "_judged"."amount",
  "_judged"."weight",
  "_judged"."sold_on",
  "_judged"."seen_at",
  "_judged"."tags",
  "_judged"."photo",
  NOT list_contains([CAST('a' AS varchar), CAST('it''s' AS varchar), CAST(('x' || chr(0) || 'y') AS varchar)], "_judged"."say ""hi""") AS "_fails0",
  "_judged"."customer_id" IS NOT NULL AND "_judged"."customer_id" NOT IN (SELECT "id" FROM "lake"."silver"."parents" WHERE "id" IS NOT NULL) AS "_fails1",
  "_judged"."order_id" IS NOT NULL AND "_judged"."say ""hi""" IS NOT NULL AND ("_judged"."order_id", "_judged"."say ""hi""") IN (SELECT "order_id", "say ""hi""" FROM read_parquet('staged.parquet') WHERE "order_id" IS NOT NULL AND "say ""hi""" IS NOT NULL GROUP BY "order_id", "say ""hi""" HAVING count(*) > 1) AS "_fails2"
FROM read_parquet('staged.parquet') AS "_judged"
) AS "_judged"
