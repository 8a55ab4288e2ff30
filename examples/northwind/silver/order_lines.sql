/*---
description: One row per product of an order; its amount in dollars.
key: [order_id, product_id]
checks:
  - {not_null: ordered_on, on_fail: quarantine}
  - {min: amount_usd, value: 0, on_fail: quarantine}
  - {references: customer_id, to: silver.customers, on_fail: warn}
---*/
SELECT
  d.order_id,
  d.product_id,
  p.product_name,
  o.customer_id,
  o.order_date AS ordered_on,
  o.shipped_date AS shipped_on,
  CAST(
    round(CAST(d.unit_price AS DECIMAL(12, 4)) * d.quantity * (1 - CAST(d.discount AS DECIMAL(6, 4))), 2)
    AS DECIMAL(12, 2)
  ) AS amount_usd
FROM bronze.crm_order_details__current AS d
JOIN bronze.crm_orders__current AS o ON o.order_id = d.order_id
LEFT JOIN bronze.crm_products__current AS p ON p.product_id = d.product_id
