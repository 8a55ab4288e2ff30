/*---
description: One row per customer.
kind: scd2
key: customer_id
time: country
---*/
SELECT customer_id, lower(trim(email)) AS email, upper(country) AS country
FROM bronze.customers__current
