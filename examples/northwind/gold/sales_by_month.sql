/*---
description: Revenue per month in dollars and euros, against what was planned.
key: month
---*/
WITH sales AS (
  SELECT CAST(date_trunc('month', ordered_on) AS DATE) AS month, count(DISTINCT order_id) AS orders, sum(amount_usd) AS revenue_usd
  FROM silver.order_lines
  GROUP BY CAST(date_trunc('month', ordered_on) AS DATE)
)
SELECT
  s.month,
  s.orders,
  s.revenue_usd,
  CAST(round(s.revenue_usd * r.eur_per_usd, 2) AS DECIMAL(14, 2)) AS revenue_eur,
  t.target_usd
FROM sales AS s
LEFT JOIN bronze.rates__current AS r ON r.month = s.month
LEFT JOIN bronze.targets__current AS t ON t.month = s.month
