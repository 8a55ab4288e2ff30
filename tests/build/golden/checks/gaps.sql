SELECT 10 - coalesce(bit_count(bitstring_agg(CAST("id" AS bigint), 0, 9)), 0) FROM parents WHERE "id" BETWEEN 0 AND 9 AND "id" = TRY_CAST("id" AS bigint)
