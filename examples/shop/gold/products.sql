/*---
description: What each article brought in, how much of it came back, and its place by revenue.
owner: sales
key: stock_code
tags: [products]
columns:
  units_sold: {type: bigint}
  units_returned: {type: bigint}
  returned_share: {type: "decimal(12,4)", description: "units returned for each unit sold; above 1 where earlier sales came back"}
  revenue: {type: "decimal(14,2)", description: "pounds, less what was given back"}
  place: {description: 1 is the article with the highest revenue}
checks:
  - {references: stock_code, to: silver.products}
  - {unique: place}
  - {max: returned_share, value: 1, on_fail: warn, description: more came back than was sold in these days}
---*/
WITH per_product AS (
  SELECT
    stock_code,
    count(DISTINCT invoice_no) FILTER (WHERE NOT is_cancellation) AS orders,
    coalesce(sum(quantity) FILTER (WHERE NOT is_cancellation), 0) AS units_sold,
    -coalesce(sum(quantity) FILTER (WHERE is_cancellation), 0) AS units_returned,
    sum(amount) AS revenue
  FROM silver.sales
  WHERE item IN ('goods', 'voucher')
  GROUP BY stock_code
)
SELECT
  s.stock_code,
  p.name,
  s.orders,
  s.units_sold,
  s.units_returned,
  CAST(s.units_returned AS DECIMAL(18, 0)) / nullif(s.units_sold, 0) AS returned_share,
  s.revenue,
  row_number() OVER (ORDER BY s.revenue DESC, s.stock_code) AS place
FROM per_product AS s
JOIN silver.products AS p ON p.stock_code = s.stock_code
