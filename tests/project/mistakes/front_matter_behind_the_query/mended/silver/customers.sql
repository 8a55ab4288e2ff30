/*---
key: customer_id
---*/
SELECT customer_id, email, country
FROM bronze.customers__current
