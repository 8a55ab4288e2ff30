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
  CAST(NULL AS varchar[]) AS _failed,
  md5(CAST(to_json({'order_id': "_judged"."order_id", 'amount': "_judged"."amount"}) AS varchar)) AS _row_hash
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
  "_judged"."photo"
FROM read_parquet('staged.parquet') AS "_judged"
) AS "_judged"
