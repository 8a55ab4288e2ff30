NOT regexp_full_match(CAST("_judged"."order_id" AS varchar), '[0-9]+')
