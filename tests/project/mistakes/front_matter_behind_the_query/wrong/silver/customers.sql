SELECT customer_id, email, country
FROM bronze.customers__current
/*---
key: customer_id
---*/
