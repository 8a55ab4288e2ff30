/*---
description: One row per customer.
key: customer_id
---*/
