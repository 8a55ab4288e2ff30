-- silver/orders.sql
/*---
description: One row per order, latest version; rows that fail wait in quarantine.
key: order_id
checks:
  - {not_null: customer_id, on_fail: quarantine}
  - {min: amount, value: 0, on_fail: quarantine}
  - {references: customer_id, to: silver.customers, on_fail: warn}
---*/
SELECT order_id, customer_id, CAST(quantity * unit_price AS DECIMAL(12, 2)) AS amount, ordered_at,
       CAST(ordered_at AT TIME ZONE 'Europe/Berlin' AS DATE) AS sold_on
FROM bronze.orders__current
