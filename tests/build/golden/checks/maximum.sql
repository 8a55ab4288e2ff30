"_judged"."seen_at" > CAST('2027-01-01 00:00:00+00' AS timestamptz)
