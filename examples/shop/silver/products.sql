/*---
description: One row per article, under the name that invoices gave it most often.
key: stock_code
tags: [products]
columns:
  names: {description: how many different names invoices gave it}
checks:
  - {not_null: name}
  - {length: name, min: 2, max: 60, on_fail: warn}
---*/
WITH named AS (
  SELECT stock_code, item, description, count(*) AS lines, min(sold_on) AS first_sold, max(sold_on) AS last_sold
  FROM silver.sales
  WHERE item IN ('goods', 'voucher')
  GROUP BY stock_code, item, description
)
SELECT
  stock_code,
  item,
  first_value(description) OVER (PARTITION BY stock_code ORDER BY lines DESC, description) AS name,
  count(*) OVER (PARTITION BY stock_code) AS names,
  min(first_sold) OVER (PARTITION BY stock_code) AS first_sold,
  max(last_sold) OVER (PARTITION BY stock_code) AS last_sold
FROM named
QUALIFY row_number() OVER (PARTITION BY stock_code ORDER BY lines DESC, description) = 1
