NOT regexp_full_match("_judged"."say ""hi""", '[a-z'']+')
