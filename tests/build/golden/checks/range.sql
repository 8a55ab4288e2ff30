("_judged"."amount" < CAST('0' AS decimal(12,2)) OR "_judged"."amount" > CAST('1.50' AS decimal(12,2)))
