count("_judged"."order_id") - coalesce(bit_count(bitstring_agg(CAST("_judged"."order_id" AS bigint), -3, 9)), 0)
