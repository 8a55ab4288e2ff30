/*---
key: visit_id
---*/
SELECT 1 AS visit_id
