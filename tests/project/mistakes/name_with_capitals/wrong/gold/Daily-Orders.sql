/*---
kind: full
---*/
SELECT 1 AS one
