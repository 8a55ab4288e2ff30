/*---
description: The latest that a carrier said of each order.
key: order_id
order_by: reported_at
checks:
  - {accepted_values: state, values: [picked_up, delivered, lost], on_fail: quarantine}
---*/
SELECT order_id, state, reported_at
FROM bronze.shipments__current
