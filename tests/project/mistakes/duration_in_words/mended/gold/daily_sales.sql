/*---
description: Orders and revenue per day.
key: sold_on
fresh: 15m
---*/
SELECT CAST(o.ordered_at AS DATE) AS sold_on, count(*) AS orders, sum(o.amount) AS revenue
FROM silver.orders AS o
GROUP BY CAST(o.ordered_at AS DATE)
