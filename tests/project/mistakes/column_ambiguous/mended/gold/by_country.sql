/*---
key: customer_id
---*/
SELECT o.customer_id, sum(amount) AS revenue
FROM silver.orders AS o
JOIN silver.customers AS c ON c.customer_id = o.customer_id
GROUP BY ALL
