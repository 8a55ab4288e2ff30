"_judged"."customer_id" IS NOT NULL
