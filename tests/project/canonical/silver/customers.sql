-- silver/customers.sql
/*---
description: Customers with history.
kind: scd2
key: customer_id
time: changed_at
deleted: is_deleted
---*/
SELECT customer_id, lower(trim(email)) AS email, upper(country) AS country, _changed_at AS changed_at, _op = 'delete' AS is_deleted
FROM bronze.crm_customers
