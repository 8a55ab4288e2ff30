("_judged"."order_id" IS NULL OR "_judged"."amount" IS NULL)
