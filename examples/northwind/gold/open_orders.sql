/*---
description: Orders that nobody has delivered yet, neither by the CRM nor by what a carrier said.
key: order_id
---*/
SELECT l.order_id, l.customer_id, c.company_name, l.ordered_on, s.state, sum(l.amount_usd) AS amount_usd
FROM silver.order_lines AS l
LEFT JOIN silver.customers AS c ON c.customer_id = l.customer_id AND c.is_current
LEFT JOIN silver.shipments AS s ON s.order_id = l.order_id
WHERE l.shipped_on IS NULL AND coalesce(s.state, '') <> 'delivered'
GROUP BY l.order_id, l.customer_id, c.company_name, l.ordered_on, s.state
