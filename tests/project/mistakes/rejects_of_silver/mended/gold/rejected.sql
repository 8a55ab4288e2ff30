/*---
kind: full
---*/
SELECT *
FROM silver.orders__quarantine
