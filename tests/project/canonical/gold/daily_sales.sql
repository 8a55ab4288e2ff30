-- gold/daily_sales.sql
/*---
description: Orders and revenue per day and country where the customer then lived.
owner: sales-data
key: [sold_on, country]
fresh: 15m
---*/
SELECT o.sold_on, coalesce(c.country, 'unknown') AS country, count(*) AS orders, sum(o.amount) AS revenue
FROM silver.orders AS o
LEFT JOIN silver.customers AS c
  ON c.customer_id = o.customer_id AND o.ordered_at >= c.valid_from AND (o.ordered_at < c.valid_to OR c.valid_to IS NULL)
GROUP BY o.sold_on, coalesce(c.country, 'unknown')
