"_judged"."customer_id" NOT IN (CAST('1' AS integer), CAST('2' AS integer))
