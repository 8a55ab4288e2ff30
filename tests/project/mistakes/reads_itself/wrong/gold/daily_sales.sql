/*---
description: Orders and revenue per day.
key: sold_on
fresh: 1d
---*/
SELECT CAST(o.ordered_at AS DATE) AS sold_on, count(*) AS orders, sum(o.amount) AS revenue
FROM (SELECT * FROM silver.orders WHERE ordered_at > (SELECT max(sold_on) FROM gold.daily_sales)) AS o
GROUP BY CAST(o.ordered_at AS DATE)
