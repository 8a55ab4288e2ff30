/*---
description: One row per customer.
kind: scd2
key: customer_id
time: changed_at
---*/
SELECT customer_id, lower(trim(email)) AS email, upper(country) AS country, _ingested_at AS changed_at
FROM bronze.customers__current
