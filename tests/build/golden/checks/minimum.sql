"_judged"."sold_on" < CAST('2026-01-01' AS date)
