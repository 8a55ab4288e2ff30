/*---
description: Orders, sales, refunds and revenue per day and country. Fees that the shop pays are left out.
owner: sales
key: [sold_on, country]
tags: [sales]
columns:
  orders: {description: invoices that sell something}
  units: {description: pieces of goods and vouchers sold}
  sales: {type: "decimal(14,2)", description: "pounds invoiced"}
  refunds: {type: "decimal(14,2)", description: "pounds given back by cancellations"}
  revenue: {type: "decimal(14,2)", description: "sales less refunds"}
checks:
  - {min: sales, value: 0}
  - {min: refunds, value: 0}
  - name: revenue_adds_up
    sql: |
      revenue = sales - refunds
  - name: no_missing_weeks
    on_fail: warn
    dimension: completeness
    description: the longest holiday is shorter than a fortnight, so a longer gap is a missing file
    expect: true
    sql: |
      SELECT coalesce(max(gap), 0) < 14
      FROM (SELECT sold_on - lag(sold_on) OVER (ORDER BY sold_on) AS gap FROM (SELECT DISTINCT sold_on FROM this))
---*/
SELECT
  s.sold_on,
  s.country,
  coalesce(c.region, 'unknown') AS region,
  count(DISTINCT s.invoice_no) FILTER (WHERE NOT s.is_cancellation) AS orders,
  coalesce(sum(s.quantity) FILTER (WHERE NOT s.is_cancellation AND s.item IN ('goods', 'voucher')), 0) AS units,
  coalesce(sum(s.amount) FILTER (WHERE NOT s.is_cancellation), 0) AS sales,
  -coalesce(sum(s.amount) FILTER (WHERE s.is_cancellation), 0) AS refunds,
  sum(s.amount) AS revenue
FROM silver.sales AS s
LEFT JOIN bronze.countries__current AS c ON c.country = s.country
WHERE s.item <> 'charge'
GROUP BY s.sold_on, s.country, coalesce(c.region, 'unknown')
