/*---
description: One row per order.
key: order_id
checks:
  - {not_null: customer_id, on_fail: quarantine}
  - {matches: status, pattern: '(?!x).*'}
  - {references: customer_id, to: silver.customers, on_fail: warn}
---*/
SELECT order_id, customer_id, CAST(quantity * unit_price AS DECIMAL(12, 2)) AS amount, paid, status, ordered_at
FROM bronze.orders__current
