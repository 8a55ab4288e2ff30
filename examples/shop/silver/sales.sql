/*---
description: >-
  One row per invoice line, typed and cleaned. Lines that repeat another line of the day in every column are dropped.
  Lines without a price, or with a quantity that contradicts the invoice, are stock corrections: they wait in quarantine.
key: [invoice_no, line_no]
tags: [sales]
columns:
  invoice_no: {description: "the invoice; C before the number says that it cancels something"}
  line_no: {type: integer, description: "counts the invoice's lines, in the order of the file"}
  stock_code: {description: "the article, in capital letters"}
  item: {description: "goods, voucher, shipping, manual (discounts, samples, corrections by hand) or charge (fees)"}
  quantity: {description: negative on cancellations}
  amount: {type: "decimal(14,2)", description: "quantity times unit price, in pounds; negative on cancellations"}
  customer_id: {tags: [pii], description: empty for sales over the counter}
  file: {description: the day file the line stands in}
checks:
  - {min: unit_price, value: 0.001, on_fail: quarantine, description: no price or a negative one is no sale}
  - name: quantity_fits_invoice
    on_fail: quarantine
    dimension: consistency
    description: only cancellations take goods back
    sql: |
      is_cancellation = (quantity < 0)
  - {not_null: [stock_code, invoiced_at, country], on_fail: quarantine}
  - {matches: invoice_no, pattern: "C?[0-9]{6}", on_fail: quarantine}
  - {accepted_values: item, values: [goods, voucher, shipping, manual, charge], on_fail: quarantine}
  - {not_null: customer_id, on_fail: warn, tolerance: 45%, description: about a third is sold over the counter}
  - {references: country, to: bronze.countries, on_fail: warn}
  - {between: quantity, min: -10000, max: 10000, on_fail: warn, description: larger ones were typing errors so far}
---*/
WITH once AS (
  SELECT *
  FROM bronze.retail__current
  QUALIFY row_number() OVER (
    PARTITION BY invoice_no, stock_code, description, quantity, invoiced_at, unit_price, customer_id, country
    ORDER BY _source, _position
  ) = 1
)
SELECT
  invoice_no,
  row_number() OVER (PARTITION BY invoice_no ORDER BY _source, _position) AS line_no,
  upper(trim(stock_code)) AS stock_code,
  regexp_replace(trim(description), '\s+', ' ', 'g') AS description,
  CASE
    WHEN regexp_matches(stock_code, '^([0-9]{5}[A-Za-z]*|DCGS[0-9]+)$') THEN 'goods'
    WHEN stock_code LIKE 'gift%' THEN 'voucher'
    WHEN stock_code IN ('POST', 'DOT', 'C2') THEN 'shipping'
    WHEN upper(stock_code) IN ('M', 'D', 'S') THEN 'manual'
    WHEN upper(stock_code) IN ('AMAZONFEE', 'BANK CHARGES') THEN 'charge'
    ELSE 'unknown'
  END AS item,
  quantity,
  unit_price,
  quantity * unit_price AS amount,
  invoice_no LIKE 'C%' AS is_cancellation,
  invoiced_at,
  CAST(invoiced_at AS DATE) AS sold_on,
  customer_id,
  country,
  _source AS file,
  _position AS file_line
FROM once
