/*---
key: customer_id
---*/
SELECT DISTINCT customer_id
FROM silver.customers
