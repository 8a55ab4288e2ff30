/*---
description: How lately, how often and for how much each known customer bought, and the segment that follows from it.
owner: marketing
key: customer_id
tags: [customers]
columns:
  customer_id: {tags: [pii]}
  recency_days: {description: days from the latest invoice to the last day in the data}
  orders: {description: invoices that sell something}
  monetary: {type: "decimal(14,2)", description: "pounds, less what was given back"}
checks:
  - {references: customer_id, to: silver.customers}
  - {min: recency_days, value: 0}
  - {accepted_values: segment, values: [champion, loyal, new, sleeping, occasional, returned]}
---*/
WITH per_customer AS (
  SELECT
    customer_id,
    count(DISTINCT invoice_no) FILTER (WHERE NOT is_cancellation) AS orders,
    sum(amount) AS monetary
  FROM silver.sales
  WHERE customer_id IS NOT NULL AND item <> 'charge'
  GROUP BY customer_id
),
measured AS (
  SELECT
    c.customer_id,
    c.country,
    c.first_seen,
    (SELECT max(sold_on) FROM silver.sales) - c.last_seen AS recency_days,
    coalesce(p.orders, 0) AS orders,
    coalesce(p.monetary, 0) AS monetary
  FROM silver.customers AS c
  LEFT JOIN per_customer AS p ON p.customer_id = c.customer_id
)
SELECT
  *,
  CASE
    WHEN monetary <= 0 THEN 'returned'
    WHEN recency_days > 30 THEN 'sleeping'
    WHEN orders >= 3 AND recency_days <= 14 THEN 'champion'
    WHEN orders >= 2 THEN 'loyal'
    WHEN recency_days <= 14 THEN 'new'
    ELSE 'occasional'
  END AS segment
FROM measured
