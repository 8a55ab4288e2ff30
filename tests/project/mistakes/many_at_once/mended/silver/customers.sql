/*---
description: One row per customer.
key: customer_id
---*/
SELECT customer_id, lower(trim(email)) AS email, upper(country) AS country
FROM bronze.customers__current
