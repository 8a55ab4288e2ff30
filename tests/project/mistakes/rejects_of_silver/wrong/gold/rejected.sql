/*---
kind: full
---*/
SELECT *
FROM silver.orders__rejects
