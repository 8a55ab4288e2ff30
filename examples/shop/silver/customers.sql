/*---
description: One row per customer who is known by number, with the country of the latest invoice.
key: customer_id
tags: [customers]
columns:
  customer_id: {tags: [pii]}
  first_seen: {description: day of the first invoice}
  last_seen: {description: day of the latest invoice}
checks:
  - {between: customer_id, min: 10000, max: 99999}
  - {references: country, to: bronze.countries, on_fail: warn}
  - name: first_before_last
    sql: |
      first_seen <= last_seen
---*/
SELECT
  customer_id,
  arg_max(country, ROW(invoiced_at, invoice_no)) AS country,
  min(sold_on) AS first_seen,
  max(sold_on) AS last_seen,
  count(DISTINCT country) AS countries
FROM silver.sales
WHERE customer_id IS NOT NULL
GROUP BY customer_id
