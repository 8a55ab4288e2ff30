length("_judged"."tags") > 3
