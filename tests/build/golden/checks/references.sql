"_judged"."customer_id" IS NOT NULL AND "_judged"."customer_id" NOT IN (SELECT "id" FROM "lake"."silver"."parents" WHERE "id" IS NOT NULL)
