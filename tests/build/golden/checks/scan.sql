SELECT
  count(*),
  count(*) FILTER (WHERE "_judged"."say ""hi""" IS NULL),
  count(*) FILTER (WHERE "_judged"."customer_id" IS NOT NULL AND "_judged"."customer_id" NOT IN (SELECT "id" FROM "lake"."silver"."parents" WHERE "id" IS NOT NULL)),
  CAST(max("_judged"."seen_at") AS varchar),
  max("_judged"."seen_at") >= CAST('2026-03-02 06:00:00+00' AS timestamptz)
FROM t AS "_judged"
