/*---
description: Customers with history, as the CRM's own log tells it.
kind: scd2
key: customer_id
time: changed_at
deleted: is_deleted
---*/
SELECT
  customer_id, company_name, city, country,
  _changed_at AS changed_at,
  _op = 'delete' AS is_deleted
FROM bronze.crm_customers
