/*---
kind: full
---*/
SELECT *
FROM bronze.crm_visits__current
